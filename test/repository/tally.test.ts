import assert from 'node:assert/strict'
import { test } from 'node:test'
import { emptyTally, joined, lineOf, skipsBeyond, tallyLines } from './tally.ts'

const short = (file: string): string => file

test('the sum of a pass is taken from its summary, and two passes add up', () => {
  const counts = { tests: 3, suites: 1, passed: 2, failed: 1, cancelled: 0, skipped: 0, todo: 0 }
  const one = emptyTally()
  assert.equal(lineOf({ type: 'test:summary', data: { counts, duration_ms: 1 } }, one, short), undefined)
  const both = joined(one, one)
  assert.deepEqual([both.tests, both.passed, both.failed], [6, 4, 2])
  assert.deepEqual(tallyLines(both, 5).slice(1, 5), ['# tests 6', '# suites 2', '# pass 4', '# fail 2'])
})

test('a file that failed is marked', () => {
  const counts = { tests: 1, suites: 0, passed: 0, failed: 0, cancelled: 1, skipped: 0, todo: 0 }
  const data = { file: 'a.test.ts', counts, duration_ms: 7.4 }
  assert.equal(lineOf({ type: 'test:summary', data }, emptyTally(), short), '✗ a.test.ts (1 tests, 7 ms)')
})

test('a skipped test keeps its reason', () => {
  const tally = emptyTally()
  lineOf({ type: 'test:pass', data: { name: 'x', nesting: 0, file: 'a', skip: 'needs Linux 6' } }, tally, short)
  lineOf({ type: 'test:pass', data: { name: 'y', nesting: 0, file: 'a', skip: true } }, tally, short)
  assert.deepEqual(tally.skips, ['x (a): needs Linux 6', 'y (a): no reason given'])
})

test('a failure is kept with its cause, and not again for the suite around it', () => {
  const tally = emptyTally()
  const error = Object.assign(new Error('wrapped'), { cause: new Error('the reason') })
  lineOf({ type: 'test:fail', data: { name: 'x', nesting: 1, file: 'a', details: { error } } }, tally, short)
  const around = Object.assign(new Error('1 subtest failed'), { failureType: 'subtestsFailed' })
  lineOf({ type: 'test:fail', data: { name: 'suite', nesting: 0, details: { error: around } } }, tally, short)
  assert.equal(tally.failures.length, 1)
  assert.match(tally.failures[0] ?? '', /the reason/)
})

test('a skip needs a reason that was agreed to, and no more of them than agreed', () => {
  const allowed = { 'no such kernel': 1 }
  assert.deepEqual(skipsBeyond(['x (a): no such kernel here'], allowed), [])
  assert.equal(skipsBeyond(['x: no such kernel', 'y: no such kernel'], allowed).length, 1)
  assert.equal(skipsBeyond(['x: tired'], allowed).length, 1)
})
