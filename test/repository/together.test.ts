import assert from 'node:assert/strict'
import { existsSync, globSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { importsOf, repository, textOf } from './sources.ts'
import { ALONE, companyOf, longestFirst } from './together.ts'

/** What captures pods, makes namespaces or a whole lab; and words of programs that do. */
const MACHINE = /^(agent\/kernel\/(bpf|probe)|test\/(kernel\/world|lab\/lab|bench\/proxies)|lab\/control-plane)\.ts$/
const MACHINE_WORDS = /'(nsenter|unshare|ip|nft|bpftool|tc)', ?\[/

const tests = globSync('test/**/*.test.ts', { cwd: repository }).filter((file) => companyOf(file) === 'together')

/** Every file that one loads, itself among them. */
function loaded(file: string, seen = new Set<string>()): ReadonlySet<string> {
  if (seen.has(file) || !existsSync(join(repository, file))) return seen
  seen.add(file)
  for (const each of importsOf(file, textOf(file))) loaded(each, seen)
  return seen
}

test('tests that run together do without what a machine has once', () => {
  assert.ok(tests.length > 60, 'rooms were found at all')
  for (const file of tests) {
    const all = [...loaded(file)]
    assert.deepEqual([file, all.filter((each) => MACHINE.test(each))], [file, []])
    const own = all.filter((each) => each.startsWith('test/'))
    assert.deepEqual([file, own.filter((each) => MACHINE_WORDS.test(textOf(each)))], [file, []])
  }
})

test('a test that captures pods is told from those that do not', () => {
  for (const file of ['test/proxy/worker.test.ts', 'test/proxy/dead-peers.test.ts', 'test/kernel/bpf.test.ts']) {
    assert.ok(
      [...loaded(file)].some((each) => MACHINE.test(each)),
      file,
    )
    assert.equal(companyOf(file), 'alone')
  }
})

test('what runs alone is there and has a reason', () => {
  for (const [file, why] of Object.entries(ALONE)) assert.ok(existsSync(join(repository, file)) && why !== '', file)
})

test('a new room runs alone until it is said that it need not', () => {
  assert.equal(companyOf('test/new/x.test.ts'), 'alone')
  assert.equal(companyOf('test/lab/new.test.ts'), 'two labs')
  assert.equal(companyOf('test/http1/new.test.ts'), 'together')
  assert.equal(companyOf('test/repository/x.test.ts'), 'beside the code')
  assert.equal(companyOf('agent/model/x.test.ts'), 'beside the code')
})

test('the longest begin first, and none is lost', () => {
  const files = ['test/a.test.ts', 'test/signing/signing.test.ts', 'test/z.test.ts']
  assert.deepEqual(longestFirst(files), ['test/signing/signing.test.ts', 'test/a.test.ts', 'test/z.test.ts'])
  for (const file of longestFirst(tests)) assert.ok(existsSync(join(repository, file)), file)
  assert.equal(longestFirst(tests).length, tests.length)
})
