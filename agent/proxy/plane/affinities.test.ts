import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NodeAffinities } from './affinities.ts'

test('an endpoint is remembered for its time from the last asking', () => {
  let nowMs = 0
  const affinities = new NodeAffinities(() => nowMs)
  affinities.remember('a', 'one', 10)
  nowMs = 9_999
  assert.equal(affinities.recall('a'), 'one')
  affinities.remember('a', 'one', 10)
  nowMs = 19_998
  assert.equal(affinities.recall('a'), 'one')
  nowMs = 19_999
  assert.equal(affinities.recall('a'), null)
})

test('who asked longest ago is forgotten where there are too many', () => {
  const affinities = new NodeAffinities(() => 0)
  for (let client = 0; client < 20_000; client++) affinities.remember(`c${client}`, 'one', 10)
  affinities.remember('c0', 'one', 10)
  affinities.remember('new', 'one', 10)
  assert.equal(affinities.recall('c1'), null)
  assert.deepEqual([affinities.recall('c0'), affinities.recall('new')], ['one', 'one'])
})
