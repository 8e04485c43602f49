// Starts one container of an unpacked image by an OCI runtime (crun): what a node's container runtime does, by the same interface
// as launch.ts. The image's files lie below a layer in memory, so that containers of one image do not see each other's writes.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { killCgroup, makeCgroup } from '../cgroup.ts'
import { LogFile } from '../logs.ts'
import { NETNS_FOLDER } from '../network.ts'
import { quote } from '../run.ts'
import { type ContainerRecord, type Exit, type Launch, type Process, SETUP_FAILED } from './launch.ts'
import { runtimeConfig, type Rights } from './oci-config.ts'

/** The runtime has to have started the container within this time. */
const START_TIMEOUT_MS = 10_000
const START_POLL_MS = 5
/** How long output may still come after the last process of a container is gone. */
const DRAIN_TIMEOUT_MS = 1_000

export interface OciLaunch extends Omit<Launch, 'kept' | 'security'> {
  /** The root file system of the image. It is only read. */
  readonly rootfs: string
  readonly rights: Rights
}

/** Starts the container. Its exit code is SETUP_FAILED where the runtime could not; then the log says why. */
export async function launchOci(wish: OciLaunch): Promise<Process> {
  await makeCgroup(wish.cgroup)
  const bundle = `${wish.scratch}-bundle`
  await mkdir(bundle, { recursive: true })
  await rm(join(bundle, 'pid'), { force: true })
  const config = runtimeConfig({
    ...{ argv: wish.argv, env: wish.env, workingDir: wish.workingDir, hostname: wish.hostname, binds: wish.binds },
    ...{ rootfs: join(wish.scratch, 'root'), network: join(NETNS_FOLDER, wish.netns), rights: wish.rights },
  })
  // what its environment holds may be a secret
  await writeFile(join(bundle, 'config.json'), JSON.stringify(config), { mode: 0o600 })
  const log = new LogFile(wish.logPath)
  const args = ['--mount', '--propagation', 'slave', '/bin/sh', '-c', script(wish, bundle)]
  const child = spawn('unshare', args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true, cwd: '/' })
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => log.write(name, text))
    child[name].on('error', () => undefined)
  }
  const closed = once(child, 'close').catch(() => undefined)
  let isOver = false
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => resolve(code ?? KILLED))
  }).finally(() => (isOver = true))
  const started = pidOf(bundle, () => isOver)
  const exited = ended.then(async (code): Promise<Exit> => {
    await killCgroup(wish.cgroup).catch(() => undefined)
    await Promise.race([closed, sleep(DRAIN_TIMEOUT_MS, undefined, { ref: false })])
    log.close()
    const hasRun = (await started) !== undefined
    await rm(bundle, { recursive: true, force: true })
    // a runtime says by 128 and more that a signal ended the container
    const signal = code > 128 ? code - 128 : undefined
    return hasRun ? { code, signal } : { code: SETUP_FAILED, signal: undefined }
  })
  exited.catch(() => undefined)
  const pid = (await started) ?? child.pid
  if (pid === undefined) {
    await exited
    throw new Error('the runtime did not start')
  }
  const { cgroup, env, workingDir } = wish
  // an image has no program that would take rights away
  const record: ContainerRecord = { pid, cgroup, env, workingDir, rights: [] }
  await writeFile(wish.recordPath, JSON.stringify(record), { mode: 0o600 })
  return { pid, exited, record }
}

const HYBRID = '/sys/fs/cgroup/unified/cgroup.controllers'
/** The exit code of what was killed. */
const KILLED = 137

/** The process id that the runtime writes as it starts the container; undefined where it ends without, or is too late. */
async function pidOf(bundle: string, isOver: () => boolean): Promise<number | undefined> {
  const deadline = Date.now() + START_TIMEOUT_MS
  for (;;) {
    const wasOver = isOver() // what it wrote before its end is still found
    const pid = Number(await readFile(join(bundle, 'pid'), 'utf8').catch(() => ''))
    if (pid > 0) return pid
    if (wasOver || Date.now() > deadline) return undefined
    await sleep(START_POLL_MS)
  }
}

/** Runs in a mount namespace of its own, with which all its mounts go. The cgroup is joined here: the runtime leaves it as it is. */
function script({ cgroup, scratch, rootfs }: OciLaunch, bundle: string): string {
  const [up, work, root, state] = ['up', 'work', 'root', 'state'].map((name) => quote(join(scratch, name)))
  const options = quote(`lowerdir=${rootfs},upperdir=${join(scratch, 'up')},workdir=${join(scratch, 'work')}`)
  const runtime = [
    'crun',
    '--root',
    state,
    '--cgroup-manager=disabled',
    'run',
    '--pid-file',
    quote(join(bundle, 'pid')),
  ]
  return [
    'set -e',
    `echo $$ >${quote(join(cgroup, 'cgroup.procs'))}`,
    `mkdir -p ${quote(scratch)}`,
    `mount -t tmpfs tmpfs ${quote(scratch)}`,
    `mkdir ${[up, work, root, state].join(' ')}`,
    // crun refuses a machine where cgroup2 is beside version 1 and has controllers; it is to do nothing with either
    `if [ -e ${HYBRID} ]; then mount --bind /dev/null ${HYBRID}; fi`,
    `mount -t overlay overlay -o ${options} ${root}`,
    `exec ${runtime.join(' ')} --bundle ${quote(bundle)} main`,
  ].join('\n')
}
