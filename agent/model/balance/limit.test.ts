import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NO_POLICY } from '../destination.ts'
import { isBounding, retriesWithin } from './limit.ts'

test('a budget is a share of the requests, rounded down, and never less than its minimum', () => {
  const budget = { percent: 20, minConcurrency: 3, intervalMs: 0 }
  assert.deepEqual(
    [0, 15, 19, 20, 24, 25, 100].map((requests) => retriesWithin(budget, requests)),
    [3, 3, 3, 4, 4, 5, 20],
  )
  assert.equal(retriesWithin({ ...budget, percent: 0, minConcurrency: 0 }, 1000), 0)
})

test('what no rule bounds is not counted', () => {
  assert.equal(isBounding(NO_POLICY), false)
  const policy = { ...NO_POLICY, scope: 's' }
  assert.equal(isBounding(policy), false)
  assert.equal(isBounding({ ...policy, pool: { ...policy.pool, connectTimeoutMs: 1 } }), false)
  for (const bound of ['maxConnections', 'maxPending', 'maxRequests', 'maxRetries'] as const) {
    assert.equal(isBounding({ ...policy, pool: { ...policy.pool, [bound]: 1 } }), true, bound)
  }
  assert.equal(isBounding({ ...policy, retryBudget: { percent: 1, minConcurrency: 1, intervalMs: 0 } }), true)
})
