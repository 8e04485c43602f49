// Pods' cgroups in one tree, by the names that the kubelet gives them, and the processes in them.
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/** How far below the root a pod's cgroup may be: that of a node which is a container of Podman has seven before its own. */
export const CGROUP_DEPTH = 8

/** Cgroups looked at in one search of one tree; what is beyond is not found. */
export const CGROUPS_MAX = 16_384

/** Processes looked at in one pod. */
export const PROCESSES_MAX = 512

/** How far below a pod's cgroup processes are looked for: its container, and what that made for itself. */
const PROCESS_DEPTH = 3

/** Sessions of the node's users, who name cgroups in there as they like, without any right. No kubelet has pods there. */
const USER_SESSIONS = 'user.slice'

/** A process and the cgroup directory that it was seen in. */
export interface PodProcess {
  readonly pid: number
  readonly folder: string
}

/**
 * The pod UID that a cgroup's path names, or null. Both drivers of the kubelet: `kubepods/burstable/pod<uid>` and
 * `kubepods-burstable-pod<uid, dashes as underscores>.slice`, with whatever is before `kubepods` (`--cgroup-root`, kind).
 */
export function podUidOf(path: readonly string[]): string | null {
  const name = path.at(-1) ?? ''
  const slice = /^(?:.*-)?kubepods(?:-(?:burstable|besteffort))?-pod([0-9a-f][0-9a-f_]{7,63})\.slice$/.exec(name)
  if (slice?.[1]) return slice[1].replaceAll('_', '-')
  const folder = /^pod([0-9a-f][0-9a-f-]{7,63})$/.exec(name)
  if (!folder?.[1] || !path.slice(0, -1).some((part) => /^kubepods(\.slice)?$/.test(part))) return null
  return folder[1]
}

/**
 * The cgroup directory of every pod below a root, by UID; null for a UID that two cgroups name: it stands for none of the
 * two. A pod's own cgroup is not searched: what stands in there is the pod's to name.
 */
export function podCgroups(root: string): ReadonlyMap<string, string | null> {
  const pods = new Map<string, string | null>()
  const paths: string[][] = [[]]
  for (let seen = 0; seen < paths.length && seen < CGROUPS_MAX; seen++) {
    const path = paths[seen] as string[]
    const uid = podUidOf(path)
    if (uid !== null) pods.set(uid, pods.has(uid) ? null : join(root, ...path))
    else if (path.length < CGROUP_DEPTH) {
      for (const name of directories(join(root, ...path))) {
        if (path.length > 0 || name !== USER_SESSIONS) paths.push([...path, name])
      }
    }
  }
  return pods
}

/**
 * The processes of a pod: of its cgroup and its containers' (and theirs). CRI-O may keep the monitor of a container beside
 * it: a process of the node, older than the container.
 */
export function podProcesses(cgroup: string): readonly PodProcess[] {
  const found: PodProcess[] = []
  const folders = [{ folder: cgroup, depth: 0 }]
  for (let next = folders.shift(); next && found.length < PROCESSES_MAX; next = folders.shift()) {
    const { folder, depth } = next
    for (const pid of pidsIn(folder)) found.push({ pid, folder })
    if (depth === PROCESS_DEPTH) continue
    for (const name of directories(folder)) {
      // in the pod's own cgroup only: a container cannot name anything there
      if (depth > 0 || !isMonitor(name)) folders.push({ folder: join(folder, name), depth: depth + 1 })
    }
  }
  return found.slice(0, PROCESSES_MAX)
}

/** Whether a cgroup beside containers is a monitor's: `crio-conmon-<id>`, `.scope` behind it with systemd. */
function isMonitor(name: string): boolean {
  return name.startsWith('crio-conmon-')
}

/** Processes of the cgroup itself; none where it was removed meanwhile. */
export function pidsIn(folder: string): readonly number[] {
  try {
    return readFileSync(join(folder, 'cgroup.procs'), 'utf8').trim().split('\n').map(Number).filter(Boolean)
  } catch {
    return []
  }
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
