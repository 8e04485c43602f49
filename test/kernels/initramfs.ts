// The file system of the machine that boots a kernel: init, the pinned Node, the agent's sources and its addon, the BPF
// objects, and of the kernel's modules those that pods need.
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, closeSync, cpSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { link, OBJECTS } from '../../bpf/build.ts'
import type { Unpacked } from './packages.ts'

const repository = join(import.meta.dirname, '..', '..')

/** veth: a pod's link. tcp_diag: which sockets listen. */
const MODULES = ['veth', 'tcp_diag']

/** What the smoke program and test/kernel/netns.ts run; the rest is busybox's, whose setpriv cannot leave rights out. */
const COMMANDS = ['ip', 'bpftool', 'setpriv']

const FOLDERS = ['bin', 'dev', 'proc', 'sys', 'run', 'tmp', 'objects']

/** Where a command of this machine is. */
function found(command: string): string {
  return execFileSync('sh', ['-c', `PATH=$PATH:/usr/sbin:/sbin command -v ${command}`], { encoding: 'utf8' }).trim()
}

/** The shared libraries of a program, its loader among them. */
function librariesOf(file: string): string[] {
  const { stdout } = spawnSync('ldd', [file], { encoding: 'utf8' }) // fails for a static one, which has none
  return [...stdout.matchAll(/(?:=> |^\s*)(\/\S+) \(0x/gm)].map(([, path]) => path!)
}

/** What every kernel gets: made once, at `root`. `parts` is a folder for what is made on the way. */
export function layTree(root: string, parts: string): void {
  mkdirSync(parts)
  for (const folder of FOLDERS) mkdirSync(join(root, folder), { recursive: true })
  const put = (from: string, to: string): void => cpSync(from, join(root, to), { recursive: true, dereference: true })
  put(join(import.meta.dirname, 'init.sh'), 'init')
  chmodSync(join(root, 'init'), 0o755)
  put(found('busybox'), 'bin/busybox')
  put(process.execPath, 'usr/bin/node')
  for (const command of COMMANDS) put(found(command), `usr/bin/${command}`)
  const own = [
    'package.json',
    'build/Release/weft.node',
    'agent',
    'lab/mesh/confined.ts',
    'test/kernel',
    'test/kernels',
  ]
  for (const path of own) put(join(repository, path), join('weft', path))
  const programs = [
    process.execPath,
    ...['busybox', ...COMMANDS].map(found),
    join(repository, 'build/Release/weft.node'),
  ]
  for (const library of new Set(programs.flatMap(librariesOf))) put(library, library)
  for (const object of Object.keys(OBJECTS) as (keyof typeof OBJECTS)[]) {
    put(link(object, parts), `objects/${object}`)
  }
}

/** The modules that a kernel has to load, each after those it needs; what is built in is not among them. */
function modulesOf({ root, release }: Unpacked): string[] {
  execFileSync(found('depmod'), ['-b', root, release])
  const steps = MODULES.map((name) =>
    execFileSync(found('modprobe'), ['-d', root, '-S', release, '--show-depends', name], { encoding: 'utf8' }),
  )
  return [...new Set([...steps.join('').matchAll(/^insmod (\S+)/gm)].map(([, path]) => path!))]
}

/** Puts a kernel's modules, in place of another's, into the tree and packs it to the file `archive`. */
export function pack(tree: string, kernel: Unpacked, archive: string): void {
  const modules = join(tree, 'modules')
  rmSync(modules, { recursive: true, force: true })
  mkdirSync(modules)
  const names = modulesOf(kernel).map((path) => {
    const name = basename(path, '.xz')
    // not every kernel reads compressed ones
    const bytes = path.endsWith('.xz') ? execFileSync('xz', ['-dc', path], { maxBuffer: 64 << 20 }) : readFileSync(path)
    writeFileSync(join(modules, name), bytes)
    return name
  })
  writeFileSync(join(modules, 'order'), `${names.join('\n')}\n`)
  const to = openSync(archive, 'w')
  try {
    execFileSync('sh', ['-c', 'find . | cpio --quiet -o -H newc -R 0:0'], {
      cwd: tree,
      stdio: ['ignore', to, 'inherit'],
    })
  } finally {
    closeSync(to)
  }
}
