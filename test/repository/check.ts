// `npm run check`: everything that can be said without running the product. Every step runs, also after one that failed.
import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { join } from 'node:path'

const repository = join(import.meta.dirname, '..', '..')
const bin = (name: string): string => join(repository, 'node_modules', '.bin', name)
const found = (...patterns: string[]): string[] => globSync(patterns, { cwd: repository })
const c = found('bpf/*.{c,h}', 'native/*.c', 'native/bpf.h')
const cpp = found('native/*.cc', 'native/addon.h')

const steps: Record<string, string[]> = {
  types: [bin('tsc'), '--noEmit'],
  lint: [bin('eslint'), '--max-warnings', '0', '.'],
  format: [bin('prettier'), '--check', '--log-level', 'warn', '.'],
  'format of C': ['clang-format', '--style=file:bpf/.clang-format', '--dry-run', '--Werror', ...c],
  'format of C++': ['clang-format', '--style=file:native/.clang-format', '--dry-run', '--Werror', ...cpp],
  'BPF objects are what their sources make': [process.execPath, 'bpf/build.ts', '--check'],
  'production build': [process.execPath, 'lab/build.mjs'],
  'the production command answers': [process.execPath, 'dist/agent/main.js', '--help'],
  'repository tests': [
    process.execPath,
    'test/repository/run.ts',
    'test/repository/arrows',
    'test/repository/cycles',
    'test/repository/papers',
    'test/repository/names',
    'test/repository/tally',
  ],
}

const failed: string[] = []
for (const [step, [command = '', ...args]] of Object.entries(steps)) {
  console.log(`check: ${step}`)
  const { status, error } = spawnSync(command, args, { cwd: repository, stdio: 'inherit' })
  if (error) console.error(error.message)
  if (status !== 0) failed.push(step)
}
console.log(failed.length === 0 ? 'check: all is well' : `check: failed: ${failed.join(', ')}`)
process.exitCode = failed.length === 0 ? 0 : 1
