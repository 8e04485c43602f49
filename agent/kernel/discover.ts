// Finds a pod's network namespace on this machine: pod UID -> cgroup -> oldest process -> namespace. Only the kubelet
// and the container runtime decide these; nothing that a user can write to a Kubernetes object is asked.
import { closeSync, fstatSync, openSync, readFileSync, statSync } from 'node:fs'
import { pidsIn, podCgroups, podProcesses } from './pod-cgroups.ts'

/** The network namespace of a pod, or why there is none to capture. Who gets `netns` closes it. */
export type Found =
  | { readonly found: true; readonly netns: number; readonly pid: number }
  | { readonly found: false; readonly why: string }

/** `final`: another tree could say nothing else. */
type Sought = Found & { readonly isFinal?: true }

/**
 * Finds pods by UID in cgroup trees, the first choice first: in each of the next ones only those of which none before had
 * a process. Every `netns` in the result is the caller's to close.
 *
 * Trees of one machine show the same processes, so a pod that is found in a later one is no weaker found. A UID that two
 * cgroups of one tree name is found in none: who can make a cgroup outside of its pod could stand in for another pod.
 */
export function findPods(uids: Iterable<string>, trees: readonly string[]): ReadonlyMap<string, Found> {
  const none = { found: false, why: `no cgroup of it under ${trees.join(' or ')} yet` } as const
  const sought = new Map<string, Sought>(Array.from(uids, (uid) => [uid, none]))
  for (const tree of trees) {
    const missing = [...sought].filter(([, place]) => !place.found && place.isFinal === undefined)
    if (missing.length === 0) break
    const cgroups = podCgroups(tree)
    for (const [uid] of missing) {
      const cgroup = cgroups.get(uid)
      if (cgroup === null)
        sought.set(uid, { found: false, why: `two cgroups under ${tree} have its UID`, isFinal: true })
      else if (cgroup !== undefined) sought.set(uid, openNetns(cgroup))
    }
  }
  return new Map(Array.from(sought, ([uid, place]) => [uid, withoutMark(place)]))
}

function withoutMark(place: Sought): Found {
  return place.found ? place : { found: false, why: place.why }
}

/** Opens the network namespace of the pod with this cgroup. Never throws for a pod that is going away. */
export function openNetns(cgroup: string): Sought {
  const processes = podProcesses(cgroup)
  if (processes.length === 0) return { found: false, why: 'no process in its cgroup yet' }
  // The oldest is the sandbox's, and of no later one: a process of the pod may have made a namespace of its own.
  const byAge = processes.map(({ pid, folder }) => ({ pid, folder, started: startOf(pid) }))
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
    return { found: false, why: "it has the node's network (hostNetwork)", isFinal: true }
  }
  return { found: false, why: 'its processes ended while they were looked at' }
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
