// Lays out the files of the image, one folder a layer: `node image/layout.ts FOLDER`. What an image is made of is decided here
// alone, whoever makes it: the Dockerfile's build stage and image/main.ts both run this.
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { bundleAgent } from './bundle.ts'

const PROJECT = dirname(import.meta.dirname)
/** Where the project is in the image; the `weft` command is a link to it. */
const HOME = 'opt/weft'
const COMMAND = 'agent/main.js'

/** A step that cannot be done, in a sentence. */
export class LayoutError extends Error {}

/** The layers, in the order of the Dockerfile: what changes least comes first. */
export const LAYERS = ['runtime', 'weft'] as const

/** Makes the layers in `folder`, which must not exist. Rejects with a LayoutError where something that belongs in is missing. */
export async function layOut(folder: string): Promise<void> {
  if (existsSync(folder)) throw new LayoutError(`${folder} exists already`)
  layRuntime(join(folder, 'runtime'))
  await layProject(join(folder, 'weft'))
  datedAll(folder, sourceDate())
}

/** Seconds since 1970 that all files are dated at: SOURCE_DATE_EPOCH, else the commit's, else 0. */
export function sourceDate(): number {
  const given = Number(process.env['SOURCE_DATE_EPOCH'])
  if (Number.isInteger(given) && given > 0) return given
  return Number(spawnSync('git', ['log', '-1', '--format=%ct'], { cwd: PROJECT, encoding: 'utf8' }).stdout?.trim() || 0)
}

/** Node, without its symbols for debuggers, and the one library it needs that a slim base does not have. */
function layRuntime(folder: string): void {
  const node = join(folder, 'usr/bin/node')
  put(process.execPath, node, 0o755)
  stripped(node)
  const atomic = /libatomic\.so\.1 => (\/\S+)/.exec(said('ldd', [process.execPath]))?.[1]
  if (atomic !== undefined) put(atomic, join(folder, 'usr/lib/libatomic.so.1'), 0o644)
  const licences = [
    [join(dirname(dirname(process.execPath)), 'LICENSE'), 'nodejs'],
    [join(PROJECT, `node_modules/node/node_modules/node-linux-${process.arch}/LICENSE`), 'nodejs'],
    ['/usr/share/doc/libatomic1/copyright', 'libatomic1'],
  ] as const
  for (const [licence, name] of licences) {
    if (existsSync(licence)) put(licence, join(folder, 'usr/share/doc', name, 'copyright'), 0o644)
  }
}

/** The agent as plain JavaScript, its addon and CNI plug-in, and the command's name. The lab stays out. */
async function layProject(folder: string): Promise<void> {
  const home = join(folder, HOME)
  await bundleAgent(PROJECT, home).catch((error: Error) => {
    throw new LayoutError(`the agent cannot be bundled: ${error.message}`)
  })
  for (const path of filesOf(join(PROJECT, 'agent'))) {
    if (/\.(yaml|json)$/.test(path)) put(join(PROJECT, 'agent', path), join(home, 'agent', path), 0o644)
  }
  const main = join(home, COMMAND)
  writeFileSync(main, readFileSync(main, 'utf8').replace(/^#!.*/, '#!/usr/bin/node'))
  chmodSync(main, 0o755)
  mkdirSync(join(folder, 'usr/bin'), { recursive: true })
  symlinkSync(`../../${HOME}/${COMMAND}`, join(folder, 'usr/bin/weft'))
  const addon = 'build/Release/weft.node'
  if (!existsSync(join(PROJECT, addon))) throw new LayoutError(`${addon} is missing: node native/build.mjs makes it`)
  for (const binary of [addon, 'build/Release/weft-cni']) {
    if (!existsSync(join(PROJECT, binary))) continue
    put(join(PROJECT, binary), join(home, binary), 0o755)
    stripped(join(home, binary))
  }
  for (const name of ['package.json', 'LICENSE']) put(join(PROJECT, name), join(home, name), 0o644)
}

function put(from: string, to: string, mode: number): void {
  mkdirSync(dirname(to), { recursive: true })
  copyFileSync(from, to)
  chmodSync(to, mode)
}

/** Takes symbols that only a debugger reads out of a program; those that others link against stay. */
function stripped(file: string): void {
  said('strip', ['--strip-all', file])
}

/** Paths of all files below a folder, relative to it. */
function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .toSorted()
}

/** The same date for all files and folders, and rights that do not depend on who made them. */
function datedAll(folder: string, seconds: number): void {
  for (const path of [...readdirSync(folder, { recursive: true }).map(String), '.']) {
    const file = join(folder, path)
    if (lstatSync(file).isDirectory()) chmodSync(file, 0o755)
    lutimesSync(file, seconds, seconds)
  }
}

/** Standard output of a program that ends well. Throws a LayoutError with what it said where it does not. */
function said(command: string, args: readonly string[]): string {
  const { status, error, stdout, stderr } = spawnSync(command, args, { cwd: PROJECT, encoding: 'utf8' })
  if (status === 0) return stdout
  throw new LayoutError(`${command} failed: ${error?.message ?? `${stdout}${stderr}`.trim()}`)
}

if (import.meta.main) {
  const [folder] = process.argv.slice(2)
  try {
    if (folder === undefined) throw new LayoutError('say where to: node image/layout.ts FOLDER')
    await layOut(folder)
  } catch (error) {
    if (!(error instanceof LayoutError)) throw error
    process.stderr.write(`layout: ${error.message}\n`)
    process.exitCode = 1
  }
}
