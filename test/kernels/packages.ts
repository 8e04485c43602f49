// Debian's packaged kernels: which there are, the newest of each line, and how one comes here without being installed.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

/** The flavour made for virtual machines: small, and of the same source as the others. */
const FLAVOUR = 'cloud-amd64'

/** linux-image-6.1.0-56-cloud-amd64, linux-image-6.12.117+deb12-cloud-amd64: major, minor, patch, ABI */
const IMAGE = new RegExp(`^linux-image-(\\d+)\\.(\\d+)\\.(\\d+)(?:-(\\d+))?(?:\\+deb\\d+)?-${FLAVOUR}$`)

/** A kernel that was unpacked. */
export interface Unpacked {
  /** as uname -r says it */
  readonly release: string
  /** the image to boot */
  readonly image: string
  /** the folder that stands for / */
  readonly root: string
}

/** The newest package of each line (6.1, 6.12, …), oldest line first. Names of anything else are passed over. */
export function newestOfEachLine(names: readonly string[]): string[] {
  const known = names.flatMap((name) => {
    const parts = IMAGE.exec(name)
      ?.slice(1)
      .map((part) => Number(part ?? 0))
    return parts ? [{ name, parts }] : []
  })
  known.sort((one, other) => {
    const at = one.parts.findIndex((part, i) => part !== other.parts[i])
    return at < 0 ? 0 : one.parts[at]! - other.parts[at]!
  })
  // the later of a line replaces the earlier, and keeps its place
  return [...new Map(known.map(({ name, parts: [major, minor] }) => [`${major}.${minor}`, name])).values()]
}

/** What the package lists of this machine offer. */
export function offered(): string[] {
  const listed = execFileSync('apt-cache', ['search', '--names-only', `^linux-image-[0-9].*-${FLAVOUR}$`])
  return newestOfEachLine(
    listed
      .toString()
      .split('\n')
      .map((line) => line.split(' ')[0]!),
  )
}

/** The name that apt gives the file of a package. */
function fileOf(name: string): string {
  const shown = execFileSync('apt-cache', ['show', '--no-all-versions', name], { encoding: 'utf8' })
  const field = (key: string): string | undefined => new RegExp(`^${key}: (.+)$`, 'm').exec(shown)?.[1]
  return `${name}_${field('Version')}_${field('Architecture')}.deb`
}

/** Brings packages to a folder that keeps these and nothing else; what is there and whole, apt does not fetch again. */
export function fetch(names: readonly string[], cache: string): string[] {
  mkdirSync(cache, { recursive: true })
  const files = names.map(fileOf)
  for (const file of readdirSync(cache)) if (!files.includes(file)) rmSync(join(cache, file))
  // as root, apt warns that its own user may not write here
  const options = ['-q', '-o', 'APT::Sandbox::User=root']
  execFileSync('apt-get', [...options, 'download', ...names], { cwd: cache, stdio: ['ignore', 'ignore', 'inherit'] })
  return files.map((file) => join(cache, file))
}

/** Unpacks a package into an empty folder. */
export function unpack(deb: string, root: string): Unpacked {
  execFileSync('dpkg-deb', ['-x', deb, root])
  const image = readdirSync(join(root, 'boot')).find((name) => name.startsWith('vmlinuz-'))
  if (image === undefined) throw new Error(`${deb} holds no kernel`)
  return { release: image.slice('vmlinuz-'.length), image: join(root, 'boot', image), root }
}
