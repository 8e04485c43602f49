// The configuration by which an OCI runtime runs one container of an unpacked image. Pure.
// Source: OCI Runtime Specification, config.md and config-linux.md; the mounts and hidden paths are those of containerd.
import type { V1Capabilities, V1Container, V1Pod } from '@kubernetes/client-node'
import { environmentWords } from './launch.ts'
import type { Bind } from './mounts.ts'
import { namesOf, RUNTIME_DEFAULTS } from './security.ts'

/** What a container may do. */
export interface Rights {
  readonly user: number
  readonly group: number
  readonly groups: readonly number[]
  /** As capabilities(7) calls them. */
  readonly capabilities: readonly string[]
  readonly noNewPrivileges: boolean
  readonly readOnlyRoot: boolean
}

export interface OciWish {
  /** Absolute: the root file system, which is the container's alone. */
  readonly rootfs: string
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly workingDir: string
  readonly hostname: string
  /** Absolute path of the network namespace. */
  readonly network: string
  readonly binds: readonly Bind[]
  readonly rights: Rights
}

const NONE = ['nosuid', 'noexec', 'nodev']
const MOUNTS = [
  { destination: '/proc', type: 'proc', source: 'proc', options: NONE },
  {
    destination: '/dev',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
  {
    ...{ destination: '/dev/pts', type: 'devpts', source: 'devpts' },
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
  },
  { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: [...NONE, 'mode=1777', 'size=65536k'] },
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: NONE },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...NONE, 'ro'] },
]
const MASKED = [
  ...['acpi', 'asound', 'kcore', 'keys', 'latency_stats', 'timer_list', 'timer_stats', 'sched_debug', 'scsi'].map(
    (name) => `/proc/${name}`,
  ),
  '/sys/firmware',
]
const READ_ONLY = ['bus', 'fs', 'irq', 'sys', 'sysrq-trigger'].map((name) => `/proc/${name}`)

/**
 * The rights of a container by the security contexts of pod and container, as a kubelet and its runtime read them: root with the
 * usual capabilities where they say nothing. Any other user has none in force.
 * Source: Kubernetes documentation "Configure a Security Context for a Pod or Container".
 */
export function rightsOf(pod: V1Pod, container: V1Container): Rights {
  const podWide = pod.spec?.securityContext ?? {}
  const own = container.securityContext ?? {}
  const fsGroup = podWide.fsGroup === undefined ? [] : [podWide.fsGroup]
  return {
    user: own.runAsUser ?? podWide.runAsUser ?? 0,
    group: own.runAsGroup ?? podWide.runAsGroup ?? 0,
    groups: [...(podWide.supplementalGroups ?? []), ...fsGroup],
    capabilities: capabilitiesOf(own.capabilities ?? {}),
    noNewPrivileges: own.allowPrivilegeEscalation === false,
    readOnlyRoot: own.readOnlyRootFilesystem === true,
  }
}

/** The usual set less what is dropped (ALL drops all), and what is added. */
function capabilitiesOf({ add, drop }: V1Capabilities): string[] {
  const dropped = namesOf(drop)
  const left = dropped.includes('ALL') ? [] : RUNTIME_DEFAULTS.filter((name) => !dropped.includes(name))
  return [...new Set([...left, ...namesOf(add)])].map((name) => `CAP_${name}`).toSorted()
}

/** The text of a bundle's config.json, parsed. Process ids are the machine's, and cgroups are left as they are. */
export function runtimeConfig({ rootfs, rights, binds, ...wish }: OciWish): Record<string, unknown> {
  const { user, group, groups, capabilities } = rights
  const inForce = user === 0 ? capabilities : []
  return {
    ociVersion: '1.0.2',
    root: { path: rootfs, readonly: rights.readOnlyRoot },
    hostname: wish.hostname,
    process: {
      ...{ args: wish.argv, env: environmentWords(wish.env), cwd: wish.workingDir, terminal: false },
      user: { uid: user, gid: group, additionalGids: groups },
      capabilities: {
        ...{ bounding: capabilities, permitted: inForce, effective: inForce },
        ...{ inheritable: [], ambient: [] },
      },
      noNewPrivileges: rights.noNewPrivileges,
    },
    mounts: [...MOUNTS, ...binds.toSorted(byDepth).map(mountOf)],
    linux: {
      namespaces: [{ type: 'mount' }, { type: 'uts' }, { type: 'ipc' }, { type: 'network', path: wish.network }],
      ...{ maskedPaths: MASKED, readonlyPaths: READ_ONLY },
    },
  }
}

const byDepth = (one: Bind, other: Bind): number => one.target.split('/').length - other.target.split('/').length

const mountOf = ({ source, target, readOnly }: Bind): object => ({
  ...{ destination: target, type: 'bind', source },
  options: ['rbind', 'rprivate', readOnly ? 'ro' : 'rw'],
})
