import assert from 'node:assert/strict'
import fc from 'fast-check'
import { test } from 'node:test'
import { binomialInterval } from './binomial.ts'

test('small cases are what one counts by hand', () => {
  // Ten fair coins: P(X = 0) = 1/1024 is more than 0.05 %, so that even 0 heads are within 99.9 %.
  assert.deepEqual(binomialInterval(10, 0.5, 0.999), { least: 0, most: 10 })
  // P(X ≤ 1) = 11/1024 is less than 2.5 %, P(X ≤ 2) = 56/1024 is more.
  assert.deepEqual(binomialInterval(10, 0.5, 0.95), { least: 2, most: 8 })
})

test('large counts agree with the normal approximation', () => {
  const { least, most } = binomialInterval(2000, 0.2, 0.999)
  const spread = 3.2905 * Math.sqrt(2000 * 0.2 * 0.8)
  assert.ok(Math.abs(least - (400 - spread)) < 3, `least ${least}`)
  assert.ok(Math.abs(most - (400 + spread)) < 3, `most ${most}`)
})

test('a certain choice has no room', () => {
  assert.deepEqual(binomialInterval(50, 1, 0.999), { least: 50, most: 50 })
  assert.deepEqual(binomialInterval(50, 0, 0.999), { least: 0, most: 0 })
})

test('the mean lies within, and the mirror image mirrors', () => {
  const shares = fc.double({ min: 0.001, max: 0.999, noNaN: true })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3000 }), shares, (trials, share) => {
      const { least, most } = binomialInterval(trials, share, 0.999)
      assert.ok(least >= 0 && most <= trials)
      assert.ok(least <= Math.ceil(trials * share) && most >= Math.floor(trials * share))
      const mirror = binomialInterval(trials, 1 - share, 0.999)
      assert.ok(Math.abs(mirror.least - (trials - most)) <= 1)
    }),
    { numRuns: 200 },
  )
})
