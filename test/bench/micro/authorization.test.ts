import assert from 'node:assert/strict'
import { test } from 'node:test'
import { measure } from './authorization.ts'

test('a thousand policies for one pod cost a request a few microseconds at the most', { timeout: 60_000 }, () => {
  const costs = measure({ rounds: 9, decisions: 2000, policies: 1000 })
  const one = costs['one policy']
  for (const [name, ns] of Object.entries(costs)) {
    // one by one they cost tens of microseconds; what a busy machine adds is allowed for
    assert.ok(ns - one < 5000, `${name}: ${ns} ns, one policy alone ${one} ns`)
  }
})
