// A build of the addon that watches itself: AddressSanitizer and UndefinedBehaviorSanitizer, from what binding.gyp says.

import { execFile, spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')
const headers = join(root, `node_modules/node/node_modules/node-linux-${process.arch}/include/node`)
const BUILD_MS = 5 * 60_000

interface Gyp {
  readonly targets: readonly [
    {
      readonly sources: readonly string[]
      readonly defines: readonly string[]
      readonly cflags: readonly string[]
      readonly cflags_cc: readonly string[]
    },
  ]
}

const SANITIZERS = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-fno-omit-frame-pointer', '-g', '-O1']

/** Builds it, and returns its path. */
export async function buildSanitized(): Promise<string> {
  const folder = join(root, 'build/sanitized')
  const addon = join(folder, 'weft.node')
  mkdirSync(folder, { recursive: true })
  const { sources, defines, cflags, cflags_cc } = (JSON.parse(readFileSync(join(root, 'binding.gyp'), 'utf8')) as Gyp)
    .targets[0]
  const includes = [headers, join(root, 'node_modules/node-addon-api')].flatMap((path) => ['-isystem', path])
  const common = [...defines.map((define) => `-D${define}`), ...includes, ...cflags, ...SANITIZERS, '-fPIC', '-c']
  const objects = sources.map((source) => join(folder, `${basename(source)}.o`))
  const left = sources.map((source, index) => ({ source, object: objects[index] as string }))
  const compile = async (): Promise<void> => {
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      const isC = next.source.endsWith('.c')
      const args = [...common, ...(isC ? [] : cflags_cc), '-o', next.object, join(root, next.source)]
      await run(isC ? 'gcc' : 'g++', args, { timeout: BUILD_MS })
    }
  }
  await Promise.all([compile(), compile()])
  await run('g++', ['-shared', '-fsanitize=address,undefined', '-o', addon, ...objects], { timeout: BUILD_MS })
  return addon
}

/** What a process that loads it needs: its run-time libraries ahead of all others. V8's heap is no leak of ours. */
export function sanitizedEnvironment(addon: string): NodeJS.ProcessEnv {
  const library = (name: string): string =>
    spawnSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).stdout.trim()
  return {
    ...process.env,
    WEFT_ADDON: addon,
    LD_PRELOAD: [library('libasan.so'), library('libubsan.so')].join(' '),
    ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1:halt_on_error=1',
    UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  }
}
