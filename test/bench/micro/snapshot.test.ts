import assert from 'node:assert/strict'
import { test } from 'node:test'
import { measure, quantile } from './snapshot.ts'

test('a change of one endpoint at the API server is decided by on every worker', { timeout: 60_000 }, async () => {
  const figures = await measure({ services: 12, endpoints: 3, rounds: 4, workers: 2 })
  assert.deepEqual([figures.effectMs.length, figures.controlMs.length], [8, 4])
  // one service with its three endpoints and one pod that moved, not the mesh
  assert.ok(quantile(figures.deltaBytes, 1) < 3000, figures.deltaBytes.join())
})

test('a quantile is the value that so many are not above', () => {
  assert.deepEqual(
    [0, 0.5, 0.99, 1].map((share) => quantile([3, 1, 2, 4], share)),
    [1, 3, 4, 4],
  )
})
