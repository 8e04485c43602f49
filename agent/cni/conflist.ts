// A node's CNI configuration with our plug-in in it, and without: which file runtimes read, and its text. Pure.

import { extname } from 'node:path'

/** The plug-in's program, and the `type` of its entry. */
export const PLUGIN = 'weft-cni'

/** A file of the configuration folder. */
export interface ConfFile {
  readonly name: string
  readonly text: string
}

/** What the plug-in is told: its entry in `plugins`, without `type`. */
export interface PluginEntry {
  /** Where it finds the agent. */
  readonly socket: string
  /** Folder of the list of fail-closed namespaces. */
  readonly closed: string
  readonly agentNamespace: string
  /** How long it waits for an answer … */
  readonly timeoutSeconds: number
  /** … and how long for the agent's word that one is coming. */
  readonly heardSeconds: number
}

/** What is to be done to the folder. `write` null: it is as it should be, or cannot be, and then `lack` says why. */
export interface Plan {
  readonly write: ConfFile | null
  readonly lack: string | null
}

const EXTENSIONS = ['.conf', '.conflist', '.json']
/** Names of a list made of a single configuration: it must come before that, and nearly everybody begins with a digit. */
const OWN_NAMES = ['00-weft.conflist', '0-weft.conflist', '-weft.conflist']

type Json = Record<string, unknown>

interface NetworkList extends Json {
  readonly plugins: readonly Json[]
}

/** The configuration that runtimes use: the first by name that can be read (libcni's ConfFiles: bytes are compared). */
function firstUsable(files: readonly ConfFile[]): { readonly file: ConfFile; readonly list: NetworkList } | null {
  const byName = files.filter(({ name }) => EXTENSIONS.includes(extname(name)))
  byName.sort((one, other) => Buffer.compare(Buffer.from(one.name), Buffer.from(other.name)))
  for (const file of byName) {
    const list = listOf(file)
    if (list !== null) return { file, list }
  }
  return null
}

/** A file as a list of plug-ins, a single configuration as a list of one; null where it is neither. */
function listOf({ name, text }: ConfFile): NetworkList | null {
  const json = parsed(text)
  if (json === null) return null
  if (extname(name) === '.conflist') {
    const { plugins } = json
    return Array.isArray(plugins) && plugins.length > 0 && plugins.every(isPlugin) ? { ...json, plugins } : null
  }
  if (!isPlugin(json)) return null
  const { cniVersion, name: network, ...rest } = json
  const version = cniVersion === undefined ? {} : { cniVersion }
  return { ...version, name: network ?? 'weft', plugins: [rest] }
}

function parsed(text: string): Json | null {
  try {
    const json: unknown = JSON.parse(text)
    return isObject(json) ? json : null
  } catch {
    return null
  }
}

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)
const isPlugin = (value: unknown): value is Json => isObject(value) && typeof value['type'] === 'string'

/** What to write so that the plug-in stands last in the chain that runtimes use. */
export function planInstalled(files: readonly ConfFile[], entry: PluginEntry): Plan {
  const first = firstUsable(files.filter(({ name }) => !OWN_NAMES.includes(name)))
  if (first === null) return { write: null, lack: 'no CNI has written its configuration yet' }
  const { file, list } = first
  if (!takesChains(list)) {
    return {
      write: null,
      lack: `${file.name}: cniVersion ${String(list['cniVersion'])} is older than 0.3.0, so nothing can be chained`,
    }
  }
  const wanted = textOf({ ...list, plugins: [...list.plugins.filter(isStrange), { type: PLUGIN, ...entry }] })
  if (extname(file.name) === '.conflist')
    return { write: unlessThere(files, { name: file.name, text: wanted }), lack: null }
  // a single configuration stays as it is: whoever made it renews it
  const name = OWN_NAMES.find((own) => Buffer.compare(Buffer.from(own), Buffer.from(file.name)) < 0)
  if (name === undefined) return { write: null, lack: `${file.name}: no list can have a name that comes before it` }
  return { write: unlessThere(files, { name, text: wanted }), lack: null }
}

/** What to write and what to delete so that nothing of the plug-in is left. */
export function planRemoved(files: readonly ConfFile[]): {
  readonly write: readonly ConfFile[]
  readonly remove: readonly string[]
} {
  const remove = files.filter(({ name }) => OWN_NAMES.includes(name)).map(({ name }) => name)
  const write = files.flatMap((file) => {
    const list = remove.includes(file.name) || extname(file.name) !== '.conflist' ? null : listOf(file)
    if (list === null || list.plugins.every(isStrange)) return []
    return [{ name: file.name, text: textOf({ ...list, plugins: list.plugins.filter(isStrange) }) }]
  })
  return { write, remove }
}

/** Whether it is another's plug-in. */
const isStrange = (plugin: Json): boolean => plugin['type'] !== PLUGIN

/** Chains hand results on since 0.3.0; a configuration without a version is 0.1.0. */
function takesChains({ cniVersion }: NetworkList): boolean {
  const [, major, minor] = /^(\d+)\.(\d+)\./.exec(typeof cniVersion === 'string' ? cniVersion : '0.1.0') ?? []
  return Number(major) > 0 || Number(minor) >= 3
}

/** Null where the file says the same already, however it is laid out. */
function unlessThere(files: readonly ConfFile[], wanted: ConfFile): ConfFile | null {
  const there = files.find(({ name }) => name === wanted.name)
  const isSame = there !== undefined && JSON.stringify(parsed(there.text)) === JSON.stringify(parsed(wanted.text))
  return isSame ? null : wanted
}

const textOf = (list: NetworkList): string => `${JSON.stringify(list, null, 2)}\n`
