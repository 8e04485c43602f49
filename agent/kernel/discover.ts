// Finds a pod's network namespace on this machine: pod UID -> cgroup -> oldest process -> namespace. Only the kubelet
// and the container runtime decide these; nothing that a user can write to a Kubernetes object is asked.
import { closeSync, fstatSync, openSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** How far below the root a pod's cgroup may be. */
export const CGROUP_DEPTH = 6

/** Cgroups looked at in one search; what is beyond is not found. */
export const CGROUPS_MAX = 16_384

/** Processes looked at in one pod. */
export const PROCESSES_MAX = 512

/** The network namespace of a pod, or why there is none to capture. Who gets `netns` closes it. */
export type Found =
  | { readonly found: true; readonly netns: number; readonly pid: number }
  | { readonly found: false; readonly why: string }

/** The mount point of cgroup2 in the text of /proc/mounts, or null. On hybrid machines it is not /sys/fs/cgroup. */
export function findCgroupRoot(mounts: string = readFileSync('/proc/mounts', 'utf8')): string | null {
  for (const line of mounts.split('\n')) {
    const [, path, type] = line.split(' ')
    if (type !== 'cgroup2' || path === undefined) continue
    return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)))
  }
  return null
}

/** Units that run a kubelet: its own, and those of distributions that have it inside. */
const KUBELET_UNITS = [
  'kubelet.service',
  'k3s.service',
  'k3s-agent.service',
  'rke2-server.service',
  'rke2-agent.service',
]
const KUBELET_SLICES = ['', 'system.slice', 'runtime.slice', 'podruntime.slice']

/** The kubelet's cgroup directory by the names that distributions give it, or null. */
export function findKubeletCgroup(root: string): string | null {
  const places = KUBELET_SLICES.flatMap((slice) => KUBELET_UNITS.map((unit) => join(root, slice, unit)))
  return places.find(isPopulated) ?? null
}

/** A unit's cgroup may stand empty: some kubelets move themselves into another. */
function isPopulated(cgroup: string): boolean {
  try {
    return /^populated 1$/m.test(readFileSync(join(cgroup, 'cgroup.events'), 'utf8'))
  } catch {
    return false
  }
}

/**
 * The pod UID that a cgroup's path names, or null. Both drivers of the kubelet: `kubepods/burstable/pod<uid>` and
 * `kubepods-burstable-pod<uid, dashes as underscores>.slice`, with whatever is before `kubepods` (kind, for one).
 */
export function podUidOf(path: readonly string[]): string | null {
  const name = path.at(-1) ?? ''
  const parts = /^(?:(.*)-)?pod([0-9a-f][0-9a-f_-]{7,63}?)(\.slice)?$/.exec(name)
  if (!parts?.[2]) return null
  const [, before, uid, slice] = parts
  if (slice ? !/(^|-)kubepods(-|$)/.test(before ?? '') : before !== undefined) return null
  if (!slice && !path.slice(0, -1).some((part) => /^kubepods(\.slice)?$/.test(part))) return null
  return slice ? uid.replaceAll('_', '-') : uid
}

/**
 * The cgroup directory of every pod below a root, by UID. A pod's own cgroup is not searched: what stands in there is the
 * pod's to name. A UID found twice stands for none of the two.
 */
export function podCgroups(root: string): ReadonlyMap<string, string> {
  const pods = new Map<string, string>()
  const twice = new Set<string>()
  const paths: string[][] = [[]]
  for (let seen = 0; paths.length > 0 && seen < CGROUPS_MAX; seen++) {
    const path = paths.shift() ?? []
    const uid = podUidOf(path)
    if (uid !== null) {
      if (pods.has(uid)) twice.add(uid)
      pods.set(uid, join(root, ...path))
    } else if (path.length < CGROUP_DEPTH) {
      for (const name of directories(join(root, ...path))) paths.push([...path, name])
    }
  }
  for (const uid of twice) pods.delete(uid)
  return pods
}

/** Opens the network namespace of the pod with this cgroup. Never throws for a pod that is going away. */
export function openNetns(cgroup: string): Found {
  const pids = processes(cgroup)
  if (pids.length === 0) return { found: false, why: 'no process in its cgroup yet' }
  // The oldest is the sandbox's, and of no later one: a process of the pod may have made a namespace of its own.
  const byAge = pids.map(({ pid, folder }) => ({ pid, folder, started: startOf(pid) }))
  byAge.sort((a, b) => (a.started < b.started ? -1 : a.started > b.started ? 1 : a.pid - b.pid))
  for (const { pid, folder } of byAge) {
    const netns = tryOpen(`/proc/${pid}/ns/net`)
    if (netns === null) continue
    // The number may have passed on to a stranger before it was opened; a stranger is not in this cgroup.
    if (!pidsIn(folder).includes(pid)) {
      closeSync(netns)
      continue
    }
    if (!isOwn(netns)) return { found: true, netns, pid }
    closeSync(netns)
    return { found: false, why: "it has the node's network (hostNetwork)" }
  }
  return { found: false, why: 'its processes ended while they were looked at' }
}

/** Finds pods by UID. Every `netns` in the result is the caller's to close. */
export function findPods(uids: Iterable<string>, root: string): ReadonlyMap<string, Found> {
  const cgroups = podCgroups(root)
  const found = new Map<string, Found>()
  for (const uid of uids) {
    const cgroup = cgroups.get(uid)
    found.set(
      uid,
      cgroup === undefined ? { found: false, why: `no cgroup of it under ${root} yet` } : openNetns(cgroup),
    )
  }
  return found
}

function directories(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name)
  } catch {
    return [] // removed while it was looked at
  }
}

function pidsIn(folder: string): number[] {
  try {
    return readFileSync(join(folder, 'cgroup.procs'), 'utf8').trim().split('\n').map(Number).filter(Boolean)
  } catch {
    return []
  }
}

/** The processes of a pod: of its cgroup and its containers' (and theirs). */
function processes(cgroup: string): { pid: number; folder: string }[] {
  const found: { pid: number; folder: string }[] = []
  const folders = [{ folder: cgroup, depth: 0 }]
  for (let next = folders.shift(); next && found.length < PROCESSES_MAX; next = folders.shift()) {
    const { folder, depth } = next
    for (const pid of pidsIn(folder)) found.push({ pid, folder })
    if (depth === 3) continue
    for (const name of directories(folder)) folders.push({ folder: join(folder, name), depth: depth + 1 })
  }
  return found.slice(0, PROCESSES_MAX)
}

/** Field 22 of /proc/PID/stat, clock ticks since boot (proc(5)); the last of all for a process that is gone. */
function startOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19])
  } catch {
    return Infinity
  }
}

function tryOpen(path: string): number | null {
  try {
    return openSync(path, 'r')
  } catch {
    return null
  }
}

function isOwn(netns: number): boolean {
  const own = statSync('/proc/self/ns/net')
  const other = fstatSync(netns)
  return own.ino === other.ino && own.dev === other.dev
}
