// Starts one container: a process in its pod's network namespace and cgroup, with mounts and rights of its own. No process id
// namespace: containers of the lab run on the machine's own files.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { NETNS_FOLDER } from '../network.ts'
import { LogFile } from '../logs.ts'
import { killCgroup, makeCgroup } from '../cgroup.ts'
import { quote } from '../run.ts'
import { type Bind, mountScript } from './mounts.ts'
import type { Security } from './security.ts'

/** Exit code of a container whose mounts could not be made; its log says why. */
export const SETUP_FAILED = 125
/** How long output may still come after the last process of a container is gone. */
const DRAIN_TIMEOUT_MS = 1_000

export interface Launch {
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly workingDir: string
  readonly netns: string
  readonly hostname: string
  readonly cgroup: string
  readonly binds: readonly Bind[]
  readonly security: Security
  /** Folders that stay in sight whatever the binds cover: the programs', and the lab's own. */
  readonly kept: readonly string[]
  /** A folder for the mounts' own use, inside the pod's folder. */
  readonly scratch: string
  readonly logPath: string
  /** Where to leave the record by which `weft lab exec` enters the container. */
  readonly recordPath: string
}

export interface Exit {
  readonly code: number
  readonly signal: number | undefined
}

export interface Process {
  readonly pid: number
  readonly record: ContainerRecord
  readonly exited: Promise<Exit>
}

/** What `weft lab exec` needs to enter a container. */
export interface ContainerRecord {
  readonly pid: number
  readonly cgroup: string
  readonly env: Readonly<Record<string, string>>
  readonly workingDir: string
  /** Words ahead of a command that leave it the container's rights. */
  readonly rights: readonly string[]
}

const SIGNALS: Record<string, number> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGTERM: 15,
}

/** Starts the container. Rejects when the process cannot be started at all. */
export async function launch(wish: Launch): Promise<Process> {
  await makeCgroup(wish.cgroup)
  const log = new LogFile(wish.logPath)
  const args = [
    `--net=${NETNS_FOLDER}/${wish.netns}`,
    ...['unshare', '--mount', '--uts', '--propagation', 'slave', '/bin/sh', '-c'],
    ...[containerScript(wish), 'sh', ...wish.argv],
  ]
  // The tools of the setup are found by the machine's own PATH; the container's environment comes into force at its exec.
  const child = spawn('nsenter', args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true, cwd: '/' })
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8')
    child[name].on('data', (text: string) => {
      log.write(name, text)
    })
    child[name].on('error', () => undefined)
  }
  const closed = once(child, 'close').catch(() => undefined)
  const exited = new Promise<Exit>((resolve, reject) => {
    child.once('error', reject)
    // Not 'close': a grandchild may hold the pipes; the container is over when its main process is.
    child.once('exit', (code, signal) => {
      const number = signal === null ? undefined : (SIGNALS[signal] ?? 0)
      void buryRest(wish, log, closed).finally(() => {
        resolve({ code: code ?? 128 + (number ?? 0), signal: number })
      })
    })
  })
  const { pid } = child
  if (pid === undefined) {
    log.close()
    await exited
    throw new Error('the process did not start')
  }
  exited.catch(() => undefined)
  const { cgroup, env, workingDir, security } = wish
  const record: ContainerRecord = { pid, cgroup, env, workingDir, rights: security.words }
  await writeFile(wish.recordPath, JSON.stringify(record), { mode: 0o600 })
  return { pid, exited, record }
}

/** Processes that the main process left behind end with it, as they do where it is process 1 of a namespace. */
async function buryRest(wish: Launch, log: LogFile, closed: Promise<unknown>): Promise<void> {
  await killCgroup(wish.cgroup).catch(() => undefined)
  // With every writer dead the pipes end soon; what is in them is still to be read.
  await Promise.race([closed, sleep(DRAIN_TIMEOUT_MS, undefined, { ref: false })])
  log.close()
}

function containerScript(wish: Launch): string {
  const env = environmentWords(wish.env).map(quote).join(' ')
  const workingDir = quote(wish.workingDir)
  // Last, and inside the container's root: what comes before needs all that root may do.
  const command = `${wish.security.words.map(quote).join(' ')} env -i -C ${workingDir} ${env} "$@"`
  const { binds, scratch, kept, security } = wish
  return [
    `trap 'echo "weft lab: cannot set the container up" >&2; exit ${String(SETUP_FAILED)}' EXIT`,
    'set -e',
    // Already in the pod's network namespace here, so the cgroup never holds a process of another one.
    `echo $$ >${quote(join(wish.cgroup, 'cgroup.procs'))}`,
    `echo ${quote(wish.hostname)} >/proc/sys/kernel/hostname`,
    mountScript({ binds, scratch, kept, readOnlyRoot: security.readOnlyRoot }),
    `[ -d "$ROOT"${workingDir} ] || mkdir -p "$ROOT"${workingDir}`,
    `if [ -n "$ROOT" ]; then exec chroot "$ROOT" ${command}; fi`,
    `exec ${command}`,
  ].join('\n')
}

/** Variables as words for env(1); a name that env cannot take is left out. */
export const environmentWords = (env: Readonly<Record<string, string>>): string[] =>
  Object.entries(env)
    .filter(([name]) => /^[^=\0-][^=\0]*$/.test(name))
    .map(([name, value]) => `${name}=${value}`)
