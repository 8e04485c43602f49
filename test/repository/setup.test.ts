import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { repository } from './sources.ts'

const setup = join(repository, 'lab', 'setup.mjs')
const folder = mkdtempSync(join(tmpdir(), 'weft-setup-'))
after(() => rmSync(folder, { recursive: true }))

/** Runs setup without a terminal and without CI, as somebody who pipes it would. Returns its status and what it said. */
function run(args: readonly string[], path = process.env['PATH'] ?? '') {
  const env = { PATH: path, HOME: folder }
  const { status, stderr } = spawnSync(process.execPath, [setup, ...args], {
    encoding: 'utf8',
    input: '',
    env,
    timeout: 60_000,
  })
  return { status, said: stderr }
}

/** A PATH with every command of this machine but some. */
function pathWithout(...names: string[]): string {
  const bin = mkdtempSync(join(folder, 'bin-'))
  for (const from of (process.env['PATH'] ?? '').split(':').reverse()) {
    for (const name of listed(from)) {
      if (names.includes(name)) continue
      rmSync(join(bin, name), { force: true })
      symlinkSync(join(from, name), join(bin, name))
    }
  }
  return bin
}

function listed(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

test('a target that does not exist is answered with those that do', () => {
  const { status, said } = run(['nonsense'])
  assert.equal(status, 1)
  assert.match(
    said,
    /^setup: say what to set up: demo, test, check, weft, fuzz, churn, bench, kernels, image, packages\.\n$/,
  )
})

test('a command that is missing is named with its package, and nobody is asked where nobody can answer', () => {
  const { status, said } = run(['packages'], pathWithout('kubectl', 'clang'))
  assert.equal(status, 1)
  if (process.getuid?.() === 0)
    assert.match(said, /^setup: these are missing: kubectl, clang; .*kubernetes-client clang/)
  else assert.match(said, /^setup: these are missing: kubectl, clang; run this again with sudo/)
  assert.equal(said.trim().split('\n').length, 1)
})

test('where everything is there, nothing is said and nothing is done', () => {
  assert.deepEqual(run(['packages']), { status: 0, said: '' })
})

test('what a program is given is its own, and so are its answer and its exit code', () => {
  const { status, said } = run(['weft', 'lab', 'exec', '--dir', join(folder, 'none'), 'a/b', '--', 'true', '--yes'])
  assert.equal(status, 1)
  assert.match(said, /no lab runs in/)
})
