// Runs containers as a kubelet has them run, by the runtimes that a CRI calls (crun, runc) and by Podman: in a cgroup of the
// kubelet's naming, with a network namespace of their own. A runtime sees the cgroup mounts that a test wants it to see.
import { spawnSync, type SpawnSyncReturns } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** What the runtime finds at /sys/fs/cgroup: all the machine has, version 1 without cgroup2, or cgroup2 alone. */
export type Sight = 'as it is' | 'version 1' | 'cgroup2'

const SIGHTS: Readonly<Record<Sight, string>> = {
  'as it is': ':',
  'version 1': 'umount /sys/fs/cgroup/unified',
  cgroup2: 'mount -t cgroup2 none /sys/fs/cgroup',
}

/** How long a runtime may take for one order. */
const RUNTIME_WITHIN_MS = 20_000

/** Parts of the machine that a container sees read-only, so that programs run in it. */
const SHARED = ['/usr', '/bin', '/lib', '/lib64']

export interface Bundle {
  readonly folder: string
  readonly cgroupsPath: string
  readonly args: readonly string[]
  /** Namespaces of its own beside its mounts. */
  readonly namespaces: readonly string[]
  /** Folders of the machine, each seen where it is, or where the second word says. */
  readonly binds: readonly (readonly [source: string, destination: string])[]
  readonly capabilities: readonly string[]
}

/** Writes an OCI bundle (runtime-spec, config.md) whose root is the machine's programs and what is bound. */
export function writeBundle(bundle: Bundle): void {
  const root = join(bundle.folder, 'root')
  const bind = ([source, destination]: readonly [string, string]): object => {
    return { destination, source, type: 'none', options: ['rbind', 'ro'] }
  }
  const shared = SHARED.map((path) => [path, path] as const)
  const capabilities = { bounding: bundle.capabilities, effective: bundle.capabilities, permitted: bundle.capabilities }
  mkdirSync(join(root, 'dev'), { recursive: true })
  const config = {
    ociVersion: '1.0.2',
    process: {
      ...{ terminal: false, user: { uid: 0, gid: 0 }, cwd: '/', args: bundle.args, capabilities },
      env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'],
    },
    root: { path: 'root', readonly: false },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['ro'] },
      { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['ro'] },
      ...[...shared, ...bundle.binds].map(bind),
    ],
    linux: { cgroupsPath: bundle.cgroupsPath, namespaces: ['mount', ...bundle.namespaces].map((type) => ({ type })) },
  }
  writeFileSync(join(bundle.folder, 'config.json'), JSON.stringify(config))
}

/** Whether a program is on this machine. */
export function isThere(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0
}

/** Runs a program that finds `sight` at /sys/fs/cgroup. Throws with what it said where it fails. */
export function runIn(sight: Sight, command: readonly string[], prepare = ':'): string {
  const script = `${prepare} && ${SIGHTS[sight]} && exec "$@"`
  const args = ['-m', '--propagation', 'private', 'sh', '-c', script, 'sh', ...command]
  const run = spawnSync('unshare', args, { encoding: 'utf8', timeout: RUNTIME_WITHIN_MS })
  if (run.status !== 0) throw new Error(`${command.join(' ')}: ${said(run)}`)
  return run.stdout
}

function said({ status, signal, stdout, stderr }: SpawnSyncReturns<string>): string {
  return `${status ?? signal ?? 'not started'} ${stdout}${stderr}`.trim()
}

/** Starts the container of a bundle in the background; its process. */
export function start(runtime: readonly string[], sight: Sight, id: string, folder: string): number {
  const pidFile = join(folder, 'pid')
  // what it starts keeps its outputs for as long as it lives
  const run = ['sh', '-c', 'exec "$@" </dev/null >"$0" 2>&1', join(folder, 'output'), ...runtime, 'run', '--detach']
  try {
    runIn(sight, [...run, '--bundle', folder, '--pid-file', pidFile, id])
  } catch (error) {
    throw new Error(`${(error as Error).message} ${readFileSync(join(folder, 'output'), 'utf8')}`)
  }
  return Number(readFileSync(pidFile, 'utf8'))
}
