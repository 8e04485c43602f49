import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Counts, sharedCounts } from './counts.ts'
import { NodeLoad } from './load.ts'

test('what an endpoint carries is the same for every worker, whoever carries it', () => {
  const shared = sharedCounts(2)
  const [one, other] = [0, 1].map((column) => new NodeLoad(new Counts(shared, column)))
  for (const load of [one!, other!]) load.setRows([['a:1', 3]])
  one!.begin('a:1')
  other!.begin('a:1')
  other!.begin('b:1') // has no row: each worker knows of its own alone
  assert.deepEqual([one!.active('a:1'), other!.active('a:1')], [2, 2])
  assert.deepEqual([one!.active('b:1'), other!.active('b:1')], [0, 1])
  other!.end('a:1')
  assert.deepEqual([one!.active('a:1'), other!.active('a:1')], [1, 1])
})

test('work ends in the row that it began in, also where the endpoint is gone meanwhile', () => {
  const shared = sharedCounts(1)
  const counts = new Counts(shared, 0)
  const load = new NodeLoad(counts)
  load.setRows([['a:1', 3]])
  load.begin('a:1')
  load.setRows([['a:1', null]])
  load.begin('a:1')
  load.end('a:1')
  load.end('a:1')
  assert.deepEqual([counts.total(3), load.size], [0, 0])
})

test('turns begin where chance says, and go on one by one', () => {
  const [one, other] = [0.25, 0.75].map((at) => new NodeLoad(null, () => at))
  const turns = [one, other].map((load) => [load!.turn('a'), load!.turn('a'), load!.turn('b')])
  for (const [first = 0, second, third] of turns) assert.deepEqual([second, third], [first + 1, first])
  assert.notEqual(turns[0]![0], turns[1]![0])
})
