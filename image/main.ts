// `npm run image [-- --output FILE]`: the image as an OCI archive, by the project's Dockerfile and without any registry. Base
// and files are made here; buildah joins them, with a storage of its own that is gone afterwards.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { makeBase } from './base.ts'
import { LAYERS, sourceDate } from './layout.ts'
import { bytesOf, megabytes } from './sizes.ts'

const PROJECT = dirname(import.meta.dirname)
const DEFAULT_OUTPUT = 'build/weft-image.tar'
const STEP_TIMEOUT_MS = 5 * 60_000
const BASE = 'localhost/weft-base'

/** What buildah works with: a storage that nobody else has. */
interface Workshop {
  readonly folder: string
  readonly seconds: number
  readonly version: string
}

const say = (line: string): void => {
  process.stdout.write(`image: ${line}\n`)
}

/** Runs a program to its end and gives what it wrote to standard output. Rejects with what it said where it fails. */
async function ran(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: STEP_TIMEOUT_MS, cwd: PROJECT, env })
  const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  if (child.exitCode !== 0) throw new Error(`${command} ${args.at(0) ?? ''} failed: ${errors.trim() || out.trim()}`)
  return out.trim()
}

function buildah({ folder }: Workshop, args: readonly string[]): Promise<string> {
  const storage = ['--root', join(folder, 'storage'), '--runroot', join(folder, 'run'), '--storage-driver', 'overlay']
  // in a mount namespace of its own: what it mounts goes with it, also when it is cut off
  return ran('unshare', ['--mount', 'buildah', ...storage, ...args])
}

/** Runs a step and says how long it took. */
async function timed<T>(what: string, step: Promise<T>): Promise<T> {
  const beganMs = performance.now()
  const result = await step
  say(`${what}: ${((performance.now() - beganMs) / 1000).toFixed(1)} s`)
  return result
}

async function commitBase(shop: Workshop): Promise<void> {
  const container = await buildah(shop, ['from', 'scratch'])
  await buildah(shop, ['add', '--quiet', container, join(shop.folder, 'base'), '/'])
  await buildah(shop, ['commit', '--quiet', '--timestamp', String(shop.seconds), container, BASE])
  await buildah(shop, ['rm', container])
}

/** The same Dockerfile; its build stage is the folder that image/layout.ts has made from this clone. */
async function build(shop: Workshop): Promise<void> {
  await commitBase(shop)
  const options = ['--isolation', 'chroot', '--pull-never', '--layers', '--quiet', '--timestamp', String(shop.seconds)]
  const stage = ['--build-context', `layout=${join(shop.folder, 'stage')}`]
  const given = ['--build-arg', `BASE=${BASE}`, '--build-arg', `VERSION=${shop.version}`]
  // what is built from is all in these: no file of the clone is read but the Dockerfile
  const context = join(shop.folder, 'empty')
  await mkdir(context)
  const file = join(PROJECT, 'Dockerfile')
  await buildah(shop, ['build', ...options, ...stage, ...given, '--tag', 'weft', '--file', file, context])
}

async function push(shop: Workshop, output: string): Promise<string> {
  await mkdir(dirname(output), { recursive: true })
  await rm(output, { force: true })
  const digest = join(shop.folder, 'digest')
  await buildah(shop, ['push', '--quiet', '--digestfile', digest, 'weft', `oci-archive:${output}:weft:${shop.version}`])
  return (await readFile(digest, 'utf8')).trim()
}

async function tellSizes({ folder }: Workshop, output: string): Promise<void> {
  const parts = [join(folder, 'base'), ...LAYERS.map((layer) => join(folder, 'stage/layout', layer))]
  const sizes = await Promise.all(parts.map(bytesOf))
  say(
    `archive ${megabytes((await stat(output)).size)}, unpacked ${megabytes(sizes.reduce((sum, each) => sum + each, 0))}`,
  )
  for (const [at, name] of ['base (C and C++ libraries)', 'Node', 'weft, with what it uses of packages'].entries()) {
    say(`  ${megabytes(sizes[at] ?? 0).padStart(8)}  ${name}`)
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { output: { type: 'string', default: DEFAULT_OUTPUT } } })
  if (process.getuid?.() !== 0) throw new Error('root file systems are made by root: run this with sudo')
  const output = resolve(values.output)
  const beganMs = performance.now()
  await mkdir(join(PROJECT, 'build'), { recursive: true })
  const folder = await mkdtemp(join(PROJECT, 'build/image-'))
  // a child that is cut off has written there for nothing
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      rmSync(folder, { recursive: true, force: true })
      process.exit(1)
    })
  }
  try {
    const { version } = JSON.parse(await readFile(join(PROJECT, 'package.json'), 'utf8')) as { version: string }
    const shop: Workshop = { folder, seconds: sourceDate(), version }
    const layout = [join(import.meta.dirname, 'layout.ts'), join(folder, 'stage/layout')]
    const env = { ...process.env, SOURCE_DATE_EPOCH: String(shop.seconds) }
    await Promise.all([
      timed('base, from packages', makeBase(join(folder, 'base'), shop.seconds)),
      timed('files, from this clone', ran(process.execPath, layout, env)),
    ])
    await timed('layers', build(shop))
    const digest = await timed('archive', push(shop, output))
    await tellSizes(shop, output)
    say(`${output} ${digest}, in ${((performance.now() - beganMs) / 1000).toFixed(1)} s`)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

await main().catch((error: unknown) => {
  process.stderr.write(`image: ${(error as Error).message}\n`)
  process.exitCode = 1
})
