import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { endpointsOf } from './balance.fixture.ts'
import { indexAt, warmth, weightsOf } from './warmup.ts'

const WARMUP = { durationMs: 60_000, minimumPercent: 10, aggression: 1 }
const SINCE = 1_000_000

test('an endpoint that is new weighs what its time allows, at least the minimum, and 1 when it is over', () => {
  const rows: readonly (readonly [number, number, number])[] = [
    // elapsed, aggression, weight; with aggression 2 the root of the part (Envoy, "Slow start mode")
    [0, 1, 0.1],
    [3_000, 1, 0.1],
    [30_000, 1, 0.5],
    [59_999, 1, 59_999 / 60_000],
    [60_000, 1, 1],
    [15_000, 2, 0.5],
    [15_000, 0.5, 0.1],
    [-5_000, 1, 0.1],
  ]
  for (const [elapsed, aggression, weight] of rows) {
    const found = warmth(SINCE, SINCE + elapsed, { ...WARMUP, aggression })
    assert.ok(Math.abs(found - weight) < 1e-9, `${elapsed} ms, ${aggression}: ${found}`)
  }
  assert.equal(warmth(null, 0, WARMUP), 1)
  assert.ok(warmth(SINCE, SINCE, { ...WARMUP, minimumPercent: 0 }) > 0)
})

test('weights are null once nobody is new, and grow meanwhile', () => {
  const endpoints = endpointsOf(3, (index) => ({ readySinceMs: index === 1 ? SINCE : null }))
  const early = weightsOf(endpoints, WARMUP, SINCE + 6_000)?.total
  assert.equal(early, 2.1)
  assert.equal(weightsOf(endpoints, WARMUP, SINCE + 6_050)?.total, early) // within a step
  assert.equal(weightsOf(endpoints, WARMUP, SINCE + 30_000)?.total, 2.5)
  assert.equal(weightsOf(endpoints, WARMUP, SINCE + 60_000), null)
  assert.equal(weightsOf(endpoints, WARMUP, SINCE + 6_000)?.total, 2.1) // a clock that was set back
  assert.equal(weightsOf(endpointsOf(2), WARMUP, SINCE), null)
  assert.equal(weightsOf([], WARMUP, SINCE), null)
})

test('each index stands for its part of the whole', () => {
  const weight = fc.double({ min: 0.01, max: 1, noNaN: true })
  fc.assert(
    fc.property(
      fc.array(weight, { minLength: 1, maxLength: 20 }),
      fc.double({ min: 0, max: 1 - 2 ** -53, noNaN: true }),
      (each, part) => {
        let total = 0
        const sums = Float64Array.from(each, (one) => (total += one))
        const index = indexAt({ sums, total }, part)
        assert.ok((sums[index - 1] ?? 0) <= part * total)
        assert.ok(part * total < sums[index]! || index === each.length - 1)
      },
    ),
  )
})
