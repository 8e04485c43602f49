// The plug-in as a container runtime calls it: variables, a configuration on standard input, a result on standard output.
import { execFileSync, spawn } from 'node:child_process'
import { join } from 'node:path'
import type { PluginEntry } from '../../agent/cni/conflist.ts'
import { builtFile } from '../../agent/kernel/native.ts'

export const ROOT = join(import.meta.dirname, '../..')
/** The program as it is shipped. */
export const PROGRAM = builtFile('weft-cni') ?? join(ROOT, 'build/Release/weft-cni')
const RUN_MS = 40_000

/** What a runtime has said of the pod. */
export interface Call {
  readonly command: string
  readonly netns?: string
  readonly pod?: { readonly namespace: string; readonly name: string; readonly uid: string }
  /** The configuration's text. */
  readonly input: string
  readonly program?: string
  /** Over the variables that follow from the others; undefined: not set. */
  readonly env?: Readonly<Record<string, string | undefined>>
}

export interface Result {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
  readonly ms: number
}

export function call({
  command,
  netns = '/proc/self/ns/net',
  pod,
  input,
  program = PROGRAM,
  env,
}: Call): Promise<Result> {
  const args =
    pod && `IgnoreUnknown=1;K8S_POD_NAMESPACE=${pod.namespace};K8S_POD_NAME=${pod.name};K8S_POD_UID=${pod.uid}`
  const variables = {
    ...{ CNI_COMMAND: command, CNI_CONTAINERID: 'c1', CNI_NETNS: netns, CNI_IFNAME: 'eth0', CNI_PATH: '/opt/cni/bin' },
    ...{ CNI_ARGS: args, ...env },
  }
  const beganMs = performance.now()
  const child = spawn(program, [], { env: variables, stdio: ['pipe', 'pipe', 'pipe'], timeout: RUN_MS })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (text: Buffer) => (stdout += text.toString()))
  child.stderr.on('data', (text: Buffer) => (stderr += text.toString()))
  child.stdin.on('error', () => undefined).end(input)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({ code: code ?? -1, stdout, stderr, ms: performance.now() - beganMs }))
  })
}

/** A configuration as libcni gives it to a chained plug-in; `result` is the text of prevResult. */
export function configuration(entry: PluginEntry, result: string | null, cniVersion = '1.0.0'): string {
  const own = JSON.stringify({ cniVersion, name: 'net', type: 'weft-cni', ...entry })
  return result === null ? own : `${own.slice(0, -1)},"prevResult":${result}}`
}

/** The program's sources, built to watch their own memory and arithmetic. */
export function buildWatched(to: string): void {
  const sources = ['weft-cni.c', 'ask.c', 'scan.c'].map((name) => join(ROOT, 'native/cni', name))
  const flags = ['-std=c17', '-D_GNU_SOURCE', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-g', '-O1']
  execFileSync('gcc', [...flags, '-o', to, ...sources], { timeout: RUN_MS })
}
