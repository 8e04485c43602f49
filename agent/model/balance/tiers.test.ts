import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { backendsWith, endpointsOf, OUTLIERS } from './balance.fixture.ts'
import type { Group } from './placement.ts'
import { nameOf } from '../service.ts'
import { tiersOf } from './tiers.ts'

interface Level {
  /** All of them, and how many of these are ejected. */
  readonly count: number
  readonly ejected: number
  readonly weight?: number
  readonly priority?: number
}

/** Shares in percent, rounded, and how many may be asked. */
function spread(levels: readonly Level[], minHealthPercent = 0): readonly (readonly [share: number, open: number])[] {
  return tiersAt(levels, minHealthPercent).map(({ share, endpoints }) => [Math.round(share * 100), endpoints.length])
}

function tiersAt(levels: readonly Level[], minHealthPercent: number) {
  const endpoints = endpointsOf(levels.reduce((sum, { count }) => sum + count, 0))
  let from = 0
  const ejected = new Set<string>()
  const groups = levels.map(({ count, ejected: out, weight = 1, priority }, index): Group => {
    const own = endpoints.slice(from, (from += count))
    for (const endpoint of own.slice(0, out)) ejected.add(nameOf(endpoint))
    return { priority: priority ?? index, locality: `l${index}`, weight, endpoints: own }
  })
  const backends = backendsWith({ endpoints, groups, outliers: { ...OUTLIERS, minHealthPercent } })
  return tiersOf(backends, { health: { ejected: () => (ejected.size === 0 ? null : ejected) } })
}

test('a priority takes 1.4 times its healthy part, and the next what is left', () => {
  // Envoy's documentation, "Priority levels": healthy percent of P=0 and P=1, traffic to each
  const rows: readonly (readonly [number, number, number, number])[] = [
    [100, 100, 100, 0],
    [72, 72, 100, 0],
    [71, 71, 99, 1],
    [50, 50, 70, 30],
    [25, 100, 35, 65],
    [0, 100, 0, 100],
    [25, 25, 50, 50],
    [20, 20, 50, 50],
    [5, 0, 100, 0],
  ]
  for (const [first, second, to, then] of rows) {
    const levels = [first, second].map((percent) => ({ count: 100, ejected: 100 - percent }))
    assert.deepEqual(
      spread(levels).map(([share]) => share),
      [to, then],
      `${first} % and ${second} %`,
    )
  }
})

test('three priorities share what they can bear', () => {
  const levels = [20, 20, 20].map((percent) => ({ count: 100, ejected: 100 - percent }))
  assert.deepEqual(
    spread(levels).map(([share]) => share),
    [33, 33, 33],
  )
})

test('below the panic threshold all of a priority count, but only where the whole cannot be borne', () => {
  assert.deepEqual(spread([{ count: 10, ejected: 6 }], 50), [[100, 10]])
  assert.deepEqual(spread([{ count: 10, ejected: 5 }], 50), [[100, 5]])
  assert.deepEqual(spread([{ count: 10, ejected: 2 }], 90), [[100, 8]]) // 1.4 × 80 % bears it all
  assert.deepEqual(spread([{ count: 10, ejected: 6 }], 0), [[100, 4]])
  // one priority in a panic, the other not
  assert.deepEqual(
    spread(
      [
        { count: 10, ejected: 9 },
        { count: 10, ejected: 4 },
      ],
      50,
    ),
    [
      [14, 10],
      [84, 6],
    ].map(([share, open]) => [Math.round((share! / 98) * 100), open]),
  )
})

test('in a panic of all priorities each gets its part of the endpoints', () => {
  const levels = [
    { count: 30, ejected: 30 },
    { count: 10, ejected: 10 },
  ]
  assert.deepEqual(spread(levels, 50), [
    [75, 30],
    [25, 10],
  ])
  assert.deepEqual(spread(levels, 0), [
    [0, 0],
    [0, 0],
  ])
})

test('localities of a priority share by weight, and by less where endpoints are ejected', () => {
  const of = (ejected: number) => [
    { count: 10, ejected: 0, weight: 80, priority: 0 },
    { count: 10, ejected, weight: 20, priority: 0 },
  ]
  assert.deepEqual(spread(of(0)), [
    [80, 10],
    [20, 10],
  ])
  assert.deepEqual(spread(of(2)), [
    [80, 10],
    [20, 8],
  ])
  assert.deepEqual(spread(of(10)), [
    [100, 10],
    [0, 0],
  ])
})

test('shares add up to one as long as anybody may be asked, and only those who may be asked have one', () => {
  const level = fc.record({ count: fc.integer({ min: 1, max: 9 }), out: fc.nat(9), same: fc.boolean() })
  fc.assert(
    fc.property(fc.array(level, { minLength: 1, maxLength: 5 }), fc.nat(100), (given, threshold) => {
      let priority = 0
      const levels = given.map(({ count, out, same }, index) => {
        if (index > 0 && !same) priority++
        return { count, ejected: Math.min(count, out), priority }
      })
      const tiers = tiersAt(levels, threshold)
      const total = tiers.reduce((sum, { share }) => sum + share, 0)
      const open = tiers.some(({ endpoints }) => endpoints.length > 0)
      assert.ok(Math.abs(total - (open ? 1 : 0)) < 1e-9, `${total}`)
      for (const { share, endpoints, all, closed } of tiers) {
        if (endpoints.length === 0) assert.ok(share < 1e-9)
        assert.equal(all.length - endpoints.length, closed?.size ?? 0)
      }
    }),
  )
})
