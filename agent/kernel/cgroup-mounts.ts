// Which cgroup trees of this machine to use: the cgroup2 root that programs are attached to, and the trees in which pods
// are looked for. Pure over the text of /proc/self/mountinfo and the question which files stand at a mount point.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Where a container is given the node's /sys/fs/cgroup; its own /sys/fs/cgroup shows itself alone. */
export const HOST_CGROUP = '/host/sys/fs/cgroup'

/** Version 1 hierarchies that pods are looked for in, beside cgroup2. */
export const V1_TREES_MAX = 2

/**
 * Version 1 hierarchies, the first choice first. Runtimes enter all that they find; `name=systemd` is there with systemd,
 * one of the others everywhere.
 */
const V1_CHOICE = ['name=systemd', 'pids', 'memory', 'cpu', 'cpuacct', 'devices', 'freezer', 'blkio']

/** What the choice is made from; tests give recorded tables. */
export interface CgroupView {
  /** /proc/self/mountinfo (proc_pid_mountinfo(5)). */
  readonly mountinfo: string
  /** Whether a file of this name stands at a mount point. */
  readonly has: (mountPoint: string, file: string) => boolean
}

export function thisView(): CgroupView {
  const has = (mountPoint: string, file: string): boolean => existsSync(join(mountPoint, file))
  return { mountinfo: readFileSync('/proc/self/mountinfo', 'utf8'), has }
}

/** A mount of a cgroup file system. `hierarchy` is `2`, or of version 1 its controllers and name. */
interface CgroupMount {
  readonly path: string
  readonly hierarchy: 2 | readonly string[]
}

/**
 * The cgroup2 directory to attach to, or null where there is none. The hierarchy's true root where it is visible, else
 * what stands at HOST_CGROUP (a node that is a container itself has no more), else whatever is mounted.
 */
export function findCgroupRoot(view: CgroupView = thisView()): string | null {
  const mounts = cgroupMounts(view.mountinfo).filter(({ hierarchy }) => hierarchy === 2)
  // a mount that another one covers is in the table, but not behind its path
  const seen = mounts.filter(({ path }) => view.has(path, 'cgroup.controllers'))
  return best(seen, (path) => isTrueRoot(path, view))?.path ?? seen[0]?.path ?? null
}

/**
 * Where pods' cgroups are looked for: the cgroup2 root, then version 1 hierarchies. Where version 1 has the controllers, a
 * runtime may leave its containers out of cgroup2; programs attached to its root cover them all the same.
 */
export function podTrees(cgroupRoot: string, view: CgroupView = thisView()): readonly string[] {
  const mounts = cgroupMounts(view.mountinfo)
  const trees: string[] = []
  for (const name of V1_CHOICE) {
    const own = mounts.filter(({ hierarchy }) => hierarchy !== 2 && hierarchy.includes(name))
    const seen = own.filter(({ path }) => view.has(path, 'tasks')) // a file of version 1 alone
    // Else it is a part: a container's own, in which no pod of the node stands.
    const tree = best(seen, (path) => view.has(path, 'release_agent'))
    if (tree !== null && trees.length < V1_TREES_MAX && !trees.includes(tree.path)) trees.push(tree.path)
  }
  return [cgroupRoot, ...trees]
}

/** Why pods may be missing under this root, or null: it is neither the whole hierarchy nor what the node was given as. */
export function doubtOf(cgroupRoot: string, view: CgroupView = thisView()): string | null {
  if (isTrueRoot(cgroupRoot, view) || isGiven(cgroupRoot)) return null
  return (
    `${cgroupRoot} is a part of the cgroup2 hierarchy, as a container sees itself: pods outside of it are not found. ` +
    `In a container mount the node's /sys/fs/cgroup at ${HOST_CGROUP}`
  )
}

/** The root of cgroup2 alone has no type (kernel: admin-guide/cgroup-v2, cgroup.type). */
function isTrueRoot(path: string, { has }: CgroupView): boolean {
  return has(path, 'cgroup.controllers') && !has(path, 'cgroup.type')
}

/** A true root; of several, or where there is none, the one that a container was given. */
function best(mounts: readonly CgroupMount[], isWhole: (path: string) => boolean): CgroupMount | null {
  const given = mounts.filter(({ path }) => isGiven(path))
  const whole = mounts.filter(({ path }) => isWhole(path))
  return given.find((mount) => whole.includes(mount)) ?? whole[0] ?? given[0] ?? null
}

function isGiven(path: string): boolean {
  return path === HOST_CGROUP || path.startsWith(`${HOST_CGROUP}/`)
}

/** The cgroup mounts of a mount table, in its order. A line that is none, or that is cut off, is passed over. */
export function cgroupMounts(mountinfo: string): readonly CgroupMount[] {
  return mountinfo.split('\n').flatMap((line): CgroupMount[] => {
    const [before = '', after = ''] = line.split(' - ')
    const path = before.split(' ')[4]
    const [type, , options] = after.split(' ')
    if (path === undefined || options === undefined) return []
    if (type === 'cgroup2') return [{ path: unescape(path), hierarchy: 2 }]
    return type === 'cgroup' ? [{ path: unescape(path), hierarchy: options.split(',') }] : []
  })
}

/** Space, tab, newline and backslash stand as octal. */
function unescape(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)))
}
