// `npm run check`: everything that can be said without running the product. Every step runs, also after one that failed,
// as many at a time as there are processors.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

const repository = join(import.meta.dirname, '..', '..')
const bin = (name: string): string => join(repository, 'node_modules', '.bin', name)
const found = (...patterns: string[]): string[] => globSync(patterns, { cwd: repository })
const c = found('bpf/*.{c,h}', 'native/*.c', 'native/bpf.h', 'native/cni/*.{c,h}', 'test/cni/*.c')
const cpp = found('native/*.cc', 'native/addon.h')

/** Commands of a step, each run once those ahead of it have ended well. The longest steps first. */
const steps: Record<string, readonly (readonly string[])[]> = {
  lint: [[bin('eslint'), '--max-warnings', '0', '.']],
  types: [[bin('tsc'), '--noEmit']],
  'repository tests': [
    [
      process.execPath,
      'test/repository/run.ts',
      'test/repository/arrows',
      'test/repository/cycles',
      'test/repository/papers',
      'test/repository/names',
      'test/repository/tally',
      'test/repository/together',
    ],
  ],
  'production build, and its command answers': [
    [process.execPath, 'lab/build.mjs'],
    [process.execPath, 'dist/agent/main.js', '--help'],
  ],
  format: [[bin('prettier'), '--check', '--log-level', 'warn', '.']],
  'format of C': [['clang-format', '--style=file:bpf/.clang-format', '--dry-run', '--Werror', ...c]],
  'format of C++': [['clang-format', '--style=file:native/.clang-format', '--dry-run', '--Werror', ...cpp]],
  'the chart is what its tables make': [
    [process.execPath, 'charts/crds.ts', '--check'],
    [process.execPath, 'charts/values.ts', '--check'],
  ],
  'BPF objects are what their sources make': [[process.execPath, 'bpf/build.ts', '--check']],
}

/** Runs a command to its end; gives what it said and whether it ended well. */
async function ran([command = '', ...args]: readonly string[]): Promise<{ ok: boolean; said: string }> {
  const child = spawn(command, args, { cwd: repository, stdio: ['ignore', 'pipe', 'pipe'] })
  try {
    const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
    return { ok: child.exitCode === 0, said: out + errors }
  } catch (error) {
    return { ok: false, said: `${(error as Error).message}\n` }
  }
}

const failed: string[] = []
const left = Object.entries(steps)
async function work(): Promise<void> {
  for (let step = left.shift(); step !== undefined; step = left.shift()) {
    const [name, commands] = step
    let [ok, all] = [true, '']
    for (const command of commands) {
      if (!ok) break
      const ended = await ran(command)
      ok = ended.ok
      all += ended.said
    }
    // What it said comes at once, behind its name: the steps run side by side.
    console.log(`check: ${name}`)
    process.stdout.write(all)
    if (!ok) failed.push(name)
  }
}
await Promise.all(Array.from({ length: availableParallelism() }, work))
console.log(failed.length === 0 ? 'check: all is well' : `check: failed: ${failed.join(', ')}`)
process.exitCode = failed.length === 0 ? 0 : 1
