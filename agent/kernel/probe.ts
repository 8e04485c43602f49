// Says in one sentence what this machine lacks to capture pods. Found by trying, not by version numbers: a version only
// explains a failure.
import { release } from 'node:os'
import { rehearse } from './bpf.ts'
import { type Capability, lacking, ownCapabilities } from './capabilities.ts'
import { findCgroupRoot, HOST_CGROUP } from './cgroup-mounts.ts'
import { KernelError } from './kernel.ts'

/** The oldest kernel line with everything that is used (bpf_set_retval at connect hooks). */
export const KERNEL_FLOOR = '6.1'

const NO_CGROUP2 =
  'capturing pods needs cgroup2, and none is mounted: mount -t cgroup2 none /sys/fs/cgroup/unified; in a container ' +
  `mount the node's /sys/fs/cgroup at ${HOST_CGROUP}`

export type Ability =
  | { readonly able: 'yes'; readonly cgroupRoot: string }
  | { readonly able: 'no'; readonly needs: string }
  | { readonly able: 'unknown'; readonly why: string }

/** What the machine is asked; a test gives its own answers. */
export interface Machine {
  readonly euid: number
  /** Effective capabilities, a bit each (capabilities.ts). */
  readonly capabilities: bigint
  readonly release: string
  readonly cgroupRoot: string | null
  /** Loads and attaches everything at a cgroup root and takes it away again. Throws what went wrong. */
  readonly attempt: (cgroupRoot: string) => void
}

export function thisMachine(cgroupRoot: string | null = findCgroupRoot()): Machine {
  const capabilities = ownCapabilities()
  return { euid: process.geteuid?.() ?? -1, capabilities, release: release(), cgroupRoot, attempt: rehearse }
}

/** Whether pods can be captured here. Takes some 30 ms and leaves nothing behind. */
export function probe(machine: Machine = thisMachine()): Ability {
  const { euid, capabilities, cgroupRoot } = machine
  if (euid !== 0) return { able: 'no', needs: `capturing pods needs root (this is user ${euid}): run it with sudo` }
  const lacks = lacking(capabilities)
  if (lacks.length > 0) return { able: 'no', needs: lackOf(lacks) }
  if (cgroupRoot === null) return { able: 'no', needs: NO_CGROUP2 }
  try {
    machine.attempt(cgroupRoot)
    return { able: 'yes', cgroupRoot }
  } catch (error) {
    return explain(error, machine)
  }
}

/** Looked for ahead of trying: some are missed only once there is a pod, and then as an error of that pod. */
function lackOf(lacks: readonly Capability[]): string {
  const [first, ...others] = lacks.map(({ name, why }) => `${name} (to ${why})`)
  const names = others.length === 0 ? first : `${[first, ...others.slice(0, -1)].join(', ')} and ${others.at(-1)}`
  return `capturing pods needs ${names}, which this process was not given: add it to its container's capabilities`
}

/** Whether a release such as `5.10.0-30-amd64` is older than the floor. */
export function belowFloor(kernel: string): boolean {
  const [major = 0, minor = 0] = kernel.split(/[.-]/).map(Number)
  const [floorMajor = 0, floorMinor = 0] = KERNEL_FLOOR.split('.').map(Number)
  return major < floorMajor || (major === floorMajor && minor < floorMinor)
}

function explain(error: unknown, machine: Machine): Ability {
  const { message } = error as Error
  if (belowFloor(machine.release)) {
    return { able: 'no', needs: `capturing pods needs Linux ${KERNEL_FLOOR} or later (this is ${machine.release})` }
  }
  if (!(error instanceof KernelError)) return { able: 'unknown', why: message }
  switch (error.code) {
    case 'ENOENT':
      return { able: 'no', needs: `the addon is not there: ${message}` }
    case 'EPERM':
    case 'EACCES':
      return {
        able: 'no',
        needs: `the kernel refused BPF (${message}): a seccomp or AppArmor profile or the kernel's lockdown may do that`,
      }
    case 'ENOSYS':
      return { able: 'no', needs: `this kernel was built without BPF (${message})` }
    default:
      return { able: 'unknown', why: message }
  }
}
