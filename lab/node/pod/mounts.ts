// The mounts of one container, as a /bin/sh script that runs in its fresh mount namespace. A mount point that the machine
// does not have is made on an overlay in memory, so that nothing is ever created on the machine's own file system.
import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { quote } from '../run.ts'

export interface Bind {
  readonly source: string
  readonly target: string
  readonly readOnly: boolean
  readonly isFile: boolean
}

export interface MountWish {
  readonly binds: readonly Bind[]
  /** A folder for the mounts' own use. */
  readonly scratch: string
  /** Folders that stay in sight where a bind or a layer covers them: a volume on /tmp must not hide a project that lies there. */
  readonly kept: readonly string[]
  /** Leaves nothing to write to but the binds, /dev, /proc and /sys. */
  readonly readOnlyRoot: boolean
}

/** The commands that make the binds, outermost first. They set ROOT when the container needs a root directory of its own. */
export function mountScript({ binds, scratch, kept, readOnlyRoot }: MountWish): string {
  const wanted = binds.map((bind) => ({ ...bind, target: realPath(bind.target) })).toSorted(byDepth)
  const missing = wanted.filter((bind) => !existsSync(bind.target) && !wanted.some((outer) => isWithin(bind, outer)))
  const anchors = [...new Set(missing.map((bind) => nearestFolder(bind.target)))]
  const ownRoot = anchors.includes('/')
  const tops = topMounts(scratch)
  // A layer over the root file system serves for all that lies on it, but not for what is mounted there.
  const layers = anchors.filter((anchor) => !ownRoot || tops.some((top) => isBelow(anchor, top) || anchor === top))
  layers.sort((a, b) => depthOf(a) - depthOf(b))
  const lines = ['ROOT=']
  if (missing.length > 0) lines.push(`mkdir -p ${quote(scratch)}`, `mount -t tmpfs tmpfs ${quote(scratch)}`)
  const covers = ownRoot ? [] : [...layers, ...wanted.map(({ target }) => target)]
  const held = wanted.map((bind, at) => {
    const place = join(scratch, `source-${String(at)}`)
    if (missing.length === 0 || !covers.some((folder) => isBelow(bind.source, folder))) return bind
    lines.push(
      bind.isFile ? `: >${quote(place)}` : `mkdir ${quote(place)}`,
      `mount --rbind ${quote(bind.source)} ${quote(place)}`,
    )
    return { ...bind, source: place }
  })
  if (ownRoot) lines.push(...rootOverlay(scratch, tops))
  for (const [at, folder] of layers.entries()) {
    lines.push(
      ...covering(
        folder,
        kept.filter((each) => isBelow(each, folder)),
        layer(folder, join(scratch, String(at))),
      ),
    )
  }
  for (const bind of held) {
    const hidden = kept.filter((folder) => folder === bind.target || isBelow(folder, bind.target))
    lines.push(...covering(bind.target, hidden, bindLines(bind)))
  }
  if (readOnlyRoot) lines.push(...sealLines([...tops, ...layers, ...kept], wanted))
  return lines.join('\n')
}

const depthOf = (path: string): number => path.split('/').length
const byDepth = (a: Bind, b: Bind): number => depthOf(a.target) - depthOf(b.target)
const isBelow = (path: string, folder: string): boolean => path.startsWith(folder === '/' ? '/' : `${folder}/`)
const isWithin = (inner: Bind, outer: Bind): boolean =>
  inner !== outer && (inner.target === outer.target || isBelow(inner.target, outer.target))

function nearestFolder(path: string): string {
  let folder = dirname(path)
  while (!existsSync(folder)) folder = dirname(folder)
  return folder
}

/** The path without the machine's symbolic links: below a root of its own an absolute one would lead out of that. */
function realPath(path: string): string {
  if (existsSync(path)) return realpathSync(path)
  const folder = nearestFolder(path)
  return join(realpathSync(folder), relative(folder, path))
}

/** Descriptors the script keeps covered folders by; /bin/sh takes one digit. */
const FIRST_FD = 3

/** Runs lines that cover a folder, and then shows those that were `hidden` below it again. */
function covering(folder: string, hidden: readonly string[], lines: readonly string[]): string[] {
  const kept = hidden.filter(
    (each) => !hidden.some((outer) => outer !== each && outer !== folder && isBelow(each, outer)),
  )
  return [
    ...kept.map((each, at) => `exec ${String(FIRST_FD + at)}<${quote(each)}`),
    ...lines,
    ...kept.flatMap((each, at) => showAgain(each, FIRST_FD + at)),
  ]
}

/** Binds a folder, held open since before it was covered, over its old place. -c: by the descriptor, not by its name. */
function showAgain(folder: string, fd: number): string[] {
  const place = `"$ROOT"${quote(folder)}`
  return [`mkdir -p ${place}`, `mount -c --rbind /proc/self/fd/${String(fd)} ${place}`, `exec ${String(fd)}<&-`]
}

/** With what is mounted below the source, as container runtimes bind: cgroup2 may lie within /sys/fs/cgroup. */
function bindLines({ source, target, readOnly, isFile }: Bind): string[] {
  const place = `"$ROOT"${quote(target)}`
  const make = isFile ? `{ mkdir -p "$ROOT"${quote(dirname(target))}; : >${place}; }` : `mkdir -p ${place}`
  return [
    `[ -e ${place} ] || ${make}`,
    `mount --rbind ${quote(source)} ${place}`,
    ...(readOnly ? [`mount -o remount,bind,ro ${place}`] : []),
  ]
}

function layer(folder: string, scratch: string): string[] {
  const [up, work] = [join(scratch, 'up'), join(scratch, 'work')]
  const options = `lowerdir=${folder},upperdir=${up},workdir=${work}`
  const place = `"$ROOT"${quote(folder)}`
  return [`mkdir -p ${quote(up)} ${quote(work)} ${place}`, `mount -t overlay overlay -o ${quote(options)} ${place}`]
}

/** A root of the container's own: the machine's files below a layer in memory, and the machine's other mounts on top. */
function rootOverlay(scratch: string, tops: readonly string[]): string[] {
  const root = join(scratch, 'root')
  const [up, work] = [join(scratch, 'up'), join(scratch, 'work')]
  return [
    `mkdir -p ${quote(up)} ${quote(work)} ${quote(root)}`,
    `mount -t overlay overlay -o ${quote(`lowerdir=/,upperdir=${up},workdir=${work}`)} ${quote(root)}`,
    ...tops.map((mount) => `mount --rbind ${quote(mount)} ${quote(join(root, mount))} 2>/dev/null || :`),
    // The lab's own files live on the root file system, below the layer: what containers share must not be copied up.
    `ROOT=${quote(root)}`,
  ]
}

/** The machine's mount points that lie directly on the root file system. */
function topMounts(scratch: string): string[] {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  const points = lines.map((line) => (line.split(' ')[4] ?? '/').replaceAll('\\040', ' '))
  const others = [...new Set(points)].filter((point) => point !== '/' && !scratch.startsWith(`${point}/`))
  return others.filter((point) => !others.some((outer) => point.startsWith(`${outer}/`)))
}

/** What a container may write to however its root is mounted, as with a runtime. */
const ALWAYS_OPEN = ['/dev', '/proc', '/sys']

/**
 * Makes the root, and what else is no volume, read-only in this mount namespace: a flag of the mount, not of the files. A
 * place that is no mount of its own goes with the one that it lies on.
 */
function sealLines(places: readonly string[], binds: readonly Bind[]): string[] {
  const isOpen = (place: string): boolean =>
    binds.some(({ target }) => target === place) || ALWAYS_OPEN.some((each) => each === place || isBelow(place, each))
  return [
    ...places
      .filter((place) => !isOpen(place))
      .map((place) => `mount -o remount,bind,ro "$ROOT"${quote(place)} 2>/dev/null || :`),
    'mount -o remount,bind,ro "${ROOT:-/}"',
  ]
}
