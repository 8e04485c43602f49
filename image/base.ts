// The root file system below an image that is made without a registry: the distribution's own C and C++ libraries, and what
// scanners read to know them by. Needs mmdebstrap, and the packages of the machine's own distribution.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { cp, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { text } from 'node:stream/consumers'

/** What Node and the addon link against; dependencies come with them. */
const PACKAGES = ['libc6', 'libstdc++6']
const TIMEOUT_MS = 5 * 60_000
/** In the unpacked packages, what is kept beside their licences. */
const KEPT = ['lib', 'lib64', 'usr/lib', 'usr/lib64', 'etc/ld.so.conf.d', 'var/lib/dpkg/status.d']
/** Converters of character sets: Node has its own. Programs of the C library. */
const DROPPED = /^(gconv|audit|getconf|locale)$/

/** As distroless images have it: a file a package, which scanners of images look for. */
const RECORD = `mkdir -p "$1/var/lib/dpkg/status.d"
for deb in "$1"/var/cache/apt/archives/*.deb; do
  dpkg-deb -f "$deb" >"$1/var/lib/dpkg/status.d/$(dpkg-deb -f "$deb" Package)"
done`

const FILES: Readonly<Record<string, string>> = {
  'etc/passwd': 'root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n',
  'etc/group': 'root:x:0:\nnogroup:x:65534:\n',
  'etc/nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\n',
}

/** Makes the root file system in `folder`, with packages for the release that /etc/os-release names. Rejects with what failed. */
export async function makeBase(folder: string, seconds: number): Promise<void> {
  const release = await readFile('/etc/os-release', 'utf8')
  const suite = /^VERSION_CODENAME="?([a-z]+)/m.exec(release)?.[1]
  if (suite === undefined) throw new Error('/etc/os-release names no VERSION_CODENAME: this needs Debian or Ubuntu')
  const raw = `${folder}.packages`
  const given = ['--variant=extract', '--mode=root', '--quiet', `--include=${PACKAGES.join()}`]
  await ended('mmdebstrap', [...given, `--extract-hook=${RECORD}`, suite, raw], seconds)
  for (const path of KEPT.filter((each) => existsSync(join(raw, each)))) {
    const filter = (source: string): boolean => !DROPPED.test(basename(source))
    await cp(join(raw, path), join(folder, path), { recursive: true, verbatimSymlinks: true, filter })
  }
  // a newer release has nothing beside /usr, and expects to be reached by the old names
  for (const name of ['lib', 'lib64'].filter((each) => !existsSync(join(folder, each)))) {
    await symlink(`usr/${name}`, join(folder, name))
  }
  for (const name of await readdir(join(raw, 'usr/share/doc'))) {
    const copyright = join('usr/share/doc', name, 'copyright')
    await cp(join(raw, copyright), join(folder, copyright), { dereference: true }).catch(() => undefined) // its folder is a link
  }
  await rm(raw, { recursive: true })
  for (const path of ['proc', 'sys', 'dev', 'run', 'root', 'usr/bin'])
    await mkdir(join(folder, path), { recursive: true })
  await mkdir(join(folder, 'tmp'), { mode: 0o1777 })
  for (const [path, content] of Object.entries({ ...FILES, 'etc/os-release': release })) {
    await writeFile(join(folder, path), content)
  }
}

async function ended(command: string, args: readonly string[], seconds: number): Promise<void> {
  const env = { ...process.env, SOURCE_DATE_EPOCH: String(seconds) }
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: TIMEOUT_MS, env })
  const [said] = await Promise.all([text(child.stderr), once(child, 'close')])
  if (child.exitCode !== 0) throw new Error(`${command} failed: ${said.trim()}`)
}
