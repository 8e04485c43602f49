// The short form of `npm run churn`.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { churn, left, told } from './churn.ts'

test('connections that come, are pumped and go in every manner leave nothing', { timeout: 60_000 }, async (t) => {
  const seed = Date.now() >>> 0
  const churned = await churn(3000, seed)
  t.diagnostic(`seed ${seed}; ${told(churned)}`)
  assert.deepEqual(left(churned), [])
})
