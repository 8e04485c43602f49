// The mounts of one container, as a /bin/sh script that runs in its fresh mount namespace. A mount point that the machine
// does not have is made on an overlay in memory, so that nothing is ever created on the machine's own file system.
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { quote } from '../run.ts'

export interface Bind {
  readonly source: string
  readonly target: string
  readonly readOnly: boolean
  readonly isFile: boolean
}

/**
 * The commands that make the binds, outermost first. They set ROOT when the container needs a root directory of its own.
 * The folders in `kept` stay in sight where a bind covers them: a volume on /tmp must not hide a project that lies there.
 */
export function mountScript(binds: readonly Bind[], scratch: string, kept: readonly string[]): string {
  const sorted = binds.toSorted((a, b) => a.target.split('/').length - b.target.split('/').length)
  const lines = ['ROOT=']
  const covered: string[] = []
  const missing = sorted.filter((bind) => !existsSync(bind.target) && !sorted.some((outer) => isBelow(bind, outer)))
  const anchors = missing.map((bind) => nearestFolder(bind.target))
  const ownRoot = anchors.includes('/')
  if (missing.length > 0) lines.push(`mkdir -p ${quote(scratch)}`, `mount -t tmpfs tmpfs ${quote(scratch)}`)
  if (ownRoot) lines.push(...rootOverlay(scratch))
  // Those that need a layer come first: a layer would hide what was bound into its folder before.
  for (const bind of [...missing, ...sorted.filter((each) => !missing.includes(each))]) {
    const anchor = missing.includes(bind) ? nearestFolder(bind.target) : undefined
    if (!ownRoot && anchor !== undefined && !covered.includes(anchor)) {
      lines.push(...folderOverlay(anchor, join(scratch, String(covered.length))))
      covered.push(anchor)
    }
    const hidden = kept.filter((folder) => folder === bind.target || folder.startsWith(`${bind.target}/`))
    lines.push(...hidden.map((folder, at) => `exec ${String(FIRST_FD + at)}<${quote(folder)}`))
    lines.push(...bindLines(bind))
    lines.push(...hidden.flatMap((folder, at) => showAgain(folder, FIRST_FD + at)))
  }
  return lines.join('\n')
}

/** Descriptors the script keeps covered folders by; /bin/sh takes one digit. */
const FIRST_FD = 3

/** Binds a folder, held open since before it was covered, over its old place. -c: by the descriptor, not by its name. */
function showAgain(folder: string, fd: number): string[] {
  const place = `"$ROOT"${quote(folder)}`
  return [`mkdir -p ${place}`, `mount -c --bind /proc/self/fd/${String(fd)} ${place}`, `exec ${String(fd)}<&-`]
}

const isBelow = (inner: Bind, outer: Bind): boolean =>
  inner !== outer && (inner.target === outer.target || inner.target.startsWith(`${outer.target}/`))

function nearestFolder(path: string): string {
  let folder = dirname(path)
  while (!existsSync(folder)) folder = dirname(folder)
  return folder
}

function bindLines({ source, target, readOnly, isFile }: Bind): string[] {
  const place = `"$ROOT"${quote(target)}`
  const make = isFile ? `{ mkdir -p "$ROOT"${quote(dirname(target))}; : >${place}; }` : `mkdir -p ${place}`
  return [
    `[ -e ${place} ] || ${make}`,
    `mount --bind ${quote(source)} ${place}`,
    ...(readOnly ? [`mount -o remount,bind,ro ${place}`] : []),
  ]
}

function folderOverlay(folder: string, scratch: string): string[] {
  const [up, work] = [join(scratch, 'up'), join(scratch, 'work')]
  const options = `lowerdir=${folder},upperdir=${up},workdir=${work}`
  return [`mkdir -p ${quote(up)} ${quote(work)}`, `mount -t overlay overlay -o ${quote(options)} ${quote(folder)}`]
}

/** A root of the container's own: the machine's files below a layer in memory, and the machine's other mounts on top. */
function rootOverlay(scratch: string): string[] {
  const root = join(scratch, 'root')
  const [up, work] = [join(scratch, 'up'), join(scratch, 'work')]
  return [
    `mkdir -p ${quote(up)} ${quote(work)} ${quote(root)}`,
    `mount -t overlay overlay -o ${quote(`lowerdir=/,upperdir=${up},workdir=${work}`)} ${quote(root)}`,
    ...topMounts(scratch).map((mount) => `mount --rbind ${quote(mount)} ${quote(join(root, mount))} 2>/dev/null || :`),
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
