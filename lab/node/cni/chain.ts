// Runs the plug-ins that stand behind the lab's own in a node's network configuration, as a container runtime does: all of them
// before any process of the pod is there, and in reverse at its end.
import { spawn } from 'node:child_process'
import { lstat, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type HostFiles, hostBinds, placeOnNode } from '../host-files.ts'
import { NETNS_FOLDER } from '../network.ts'
import { mountScript } from '../pod/mounts.ts'
import type { ToolResult } from '../run.ts'
import {
  type Attachment,
  type Json,
  type NetworkList,
  OWN_FILE,
  environmentOf,
  failureOf,
  firstFile,
  inputOf,
  ownNetwork,
  ownResult,
  parseNetwork,
  parseResult,
} from './configuration.ts'

/** Folders of a node, where runtimes look unless told otherwise. */
export const CONF_FOLDER = '/etc/cni/net.d'
export const BIN_FOLDER = '/opt/cni/bin'
/** A plug-in that has not ended after this long is killed, and has failed. */
export const PLUGIN_TIMEOUT_MS = 30_000
/** Output kept of a plug-in; what is beyond is dropped. */
const OUTPUT_CHARS = 1 << 20
/** How often the end of an attachment is tried, and the pause between. */
export const DEL_TRIES = 3
const DEL_PAUSE_MS = 1_000

/** What is attached and by what, as it was at the time: its end is told to the same plug-ins. */
export interface Attached {
  readonly attachment: Attachment
  readonly list: NetworkList
  /** What the plug-in printed that ran last. */
  result: Json
  /** How many of the list's plug-ins were begun. */
  begun: number
}

export interface Chain {
  readonly host: HostFiles
  /** A folder for mounts, this pod's own. */
  readonly scratch: string
  readonly log: (sentence: string) => void
  readonly timeoutMs?: number
}

/** Writes what a node's network is before anybody adds to it. */
export async function writeOwnNetwork(host: HostFiles): Promise<void> {
  const folder = placeOnNode(host, CONF_FOLDER)
  await mkdir(folder, { recursive: true })
  await mkdir(placeOnNode(host, BIN_FOLDER), { recursive: true })
  await writeFile(join(folder, OWN_FILE), ownNetwork())
}

/**
 * What the node's configuration says now about a pod whose network the lab has made. Throws where there is none, or none that
 * can be carried out. Pure but for the reading.
 */
export async function readChain(
  host: HostFiles,
  attachment: Attachment,
  made: { readonly link: string; readonly address: string; readonly gateway: string },
): Promise<Attached> {
  const folder = placeOnNode(host, CONF_FOLDER)
  const file = firstFile(await readdir(folder).catch(() => []))
  if (file === undefined) throw new Error(`no network configuration found in ${CONF_FOLDER}`)
  const list = parseNetwork(file, await readFile(join(folder, file), 'utf8'))
  return { attachment, list, begun: 0, result: ownResult(list, { ...made, netns: attachment.netns }) }
}

/** Runs the plug-ins one after the other. Throws with the words of the one that failed; what was begun is to be detached. */
export async function attach(chain: Chain, attached: Attached): Promise<void> {
  for (const plugin of attached.list.chained) {
    attached.begun += 1
    const ran = await runPlugin(chain, attached, { command: 'ADD', plugin })
    if (ran.code !== 0) throw failed('add', attached, plugin.type, failureOf(ran))
    try {
      attached.result = parseResult(ran.stdout)
    } catch (error) {
      throw failed('add', attached, plugin.type, (error as Error).message)
    }
  }
}

/** Tells the plug-ins that were begun, the last one first, that the pod ends. Never rejects: what does not work is logged. */
export async function detach(chain: Chain, attached: Attached): Promise<void> {
  for (const plugin of attached.list.chained.slice(0, attached.begun).toReversed()) {
    for (let tries = 1; tries <= DEL_TRIES; tries += 1) {
      // An uninstalled plug-in has nothing left to undo; there is no sense in asking for it again.
      const isThere = await lstat(placeOnNode(chain.host, join(BIN_FOLDER, plugin.type))).catch(() => undefined)
      const ran = await runPlugin(chain, attached, { command: 'DEL', plugin }).catch(asResult)
      if (ran.code === 0) break
      chain.log(failed('delete', attached, plugin.type, failureOf(ran)).message)
      if (!isThere) break
      if (tries < DEL_TRIES) await sleep(DEL_PAUSE_MS)
    }
  }
  attached.begun = 0
}

const asResult = (error: unknown): ToolResult => ({ code: -1, stdout: '', stderr: (error as Error).message })

function failed(verb: string, { list }: Attached, type: string, why: string): Error {
  return new Error(`plugin type="${type}" name="${list.name}" failed (${verb}): ${why}`)
}

/** One call, where the node's own files are at their places. In the network namespace of whoever calls: the node's. */
async function runPlugin(
  { host, scratch, timeoutMs = PLUGIN_TIMEOUT_MS }: Chain,
  { attachment, list, result }: Attached,
  { command, plugin }: { readonly command: 'ADD' | 'DEL'; readonly plugin: Json & { readonly type: string } },
): Promise<ToolResult> {
  const file = join(BIN_FOLDER, plugin.type)
  if (!(await lstat(placeOnNode(host, file)).catch(() => undefined))) {
    return { code: -1, stdout: '', stderr: `failed to find plugin "${plugin.type}" in path [${BIN_FOLDER}]` }
  }
  const folder = `${scratch}/${command}-${plugin.type}`
  await mkdir(scratch, { recursive: true })
  const kept = [NETNS_FOLDER, host.files, host.bpf, scratch]
  const mounts = mountScript({ binds: hostBinds(host), scratch: folder, kept, readOnlyRoot: false })
  const start = `if [ -n "$ROOT" ]; then exec chroot "$ROOT" "$0"; fi; exec "$0"`
  const script = ['set -e', mounts, start].join('\n')
  const words = ['--mount', '--propagation', 'slave', '/bin/sh', '-c', script, file]
  const env = { PATH: process.env['PATH'] ?? '', ...environmentOf(command, BIN_FOLDER, attachment) }
  const ran = await runBounded(words, { env, input: inputOf(list, plugin, result), timeoutMs })
  await rm(folder, { recursive: true, force: true })
  return ran
}

/** Like runTool, with an environment, and with the end of whatever the plug-in has started when its time is over. */
function runBounded(
  words: readonly string[],
  { env, input, timeoutMs }: { env: Record<string, string>; input: string; timeoutMs: number },
): Promise<ToolResult> {
  return new Promise((resolve, reject) => {
    const child = spawn('unshare', words, { env, detached: true, stdio: ['pipe', 'pipe', 'pipe'], cwd: '/' })
    const out = { stdout: '', stderr: '' }
    let late = ''
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        if (out[name].length < OUTPUT_CHARS) out[name] += text
      })
    }
    const timer = setTimeout(() => {
      late = `it did not end within ${String(timeoutMs / 1000)} s`
      killGroup(child.pid)
    }, timeoutMs)
    child.on('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    child.on('close', (code) => {
      clearTimeout(timer)
      resolve(late === '' ? { code: code ?? -1, ...out } : { code: -1, stdout: '', stderr: late })
    })
    child.stdin.on('error', () => undefined)
    child.stdin.end(input)
  })
}

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // gone already
  }
}
