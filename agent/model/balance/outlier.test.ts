import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { afterChecks, ejectedNow, ejectionMs, lastCheck, limitOf, marksOf, mayEject, type Standing } from './outlier.ts'
import type { OutlierDetection } from '../traffic-policy.ts'

/** Istio's defaults. */
const RULES: OutlierDetection = {
  consecutive5xx: 5,
  consecutiveGateway: 0,
  consecutiveLocal: 5,
  splitsLocal: false,
  codes: [],
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionPercent: 10,
  minHealthPercent: 0,
}
const FRESH: Standing = { ejected: false, times: 0, atMs: 0 }

/** The marks of an outcome as a short text: any, gateway, local; `+` a failure, `0` a success, `.` nothing. */
function marks(rules: Partial<OutlierDetection>, outcome: Parameters<typeof marksOf>[1]): string {
  const { any, gateway, local } = marksOf({ ...RULES, ...rules }, outcome)
  return [any, gateway, local].map((mark) => (mark === null ? '.' : mark === 'failure' ? '+' : '0')).join('')
}

test('what an answer is to the counts: any 5xx, the gateway’s own, and what is neither', () => {
  for (const status of [200, 302, 404, 429, 499]) assert.equal(marks({}, status), '00.', `${status}`)
  for (const status of [500, 501, 505, 599]) assert.equal(marks({}, status), '+0.', `${status}`)
  for (const status of [502, 503, 504]) assert.equal(marks({}, status), '++.', `${status}`)
})

test('codes stand in the place of 5xx', () => {
  const codes = [429, 503]
  assert.equal(marks({ codes }, 429), '+0.')
  assert.equal(marks({ codes }, 503), '++.')
  assert.equal(marks({ codes }, 500), '00.')
})

test('a failure of the connection is a gateway’s error, or counted for itself', () => {
  assert.equal(marks({}, 'failed'), '++.')
  assert.equal(marks({}, 'connected'), '...') // the answer says more
  assert.equal(marks({}, 'carried'), '00.')
  const splitsLocal = true
  assert.equal(marks({ splitsLocal }, 'failed'), '..+')
  assert.equal(marks({ splitsLocal }, 'connected'), '..0')
  assert.equal(marks({ splitsLocal }, 'carried'), '..0')
  assert.equal(marks({ splitsLocal }, 503), '++.')
  assert.equal(limitOf({ ...RULES, splitsLocal }, 'local'), 5)
  assert.equal(limitOf(RULES, 'local'), 0)
})

test('of two endpoints 50 % is one, 10 % is none, and no share is ever exceeded', () => {
  assert.equal(mayEject({ ...RULES, maxEjectionPercent: 50 }, 0, 2), true)
  assert.equal(mayEject({ ...RULES, maxEjectionPercent: 50 }, 1, 2), false)
  assert.equal(mayEject(RULES, 0, 2), false)
  assert.equal(mayEject(RULES, 0, 9), false)
  assert.equal(mayEject(RULES, 0, 10), true)
  assert.equal(mayEject(RULES, 1, 19), false)
  assert.equal(mayEject({ ...RULES, maxEjectionPercent: 100 }, 0, 1), true)
  const cases = fc.tuple(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 1, max: 300 }))
  fc.assert(
    fc.property(cases, ([maxEjectionPercent, endpoints]) => {
      let ejected = 0
      while (ejected <= endpoints && mayEject({ ...RULES, maxEjectionPercent }, ejected, endpoints)) ejected++
      assert.equal(ejected, Math.floor((maxEjectionPercent * endpoints) / 100))
    }),
  )
})

test('an ejection lasts the base time once, twice, and so on up to 300 seconds or the base', () => {
  let standing = FRESH
  const lengths = Array.from({ length: 13 }, () => {
    standing = ejectedNow(RULES, standing, 0)
    return ejectionMs(RULES, standing.times) / 1000
  })
  assert.deepEqual(lengths, [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300, 300])
  assert.equal(standing.times, 11) // it does not grow for ever
  const long = { ...RULES, baseEjectionMs: 400_000 }
  assert.equal(ejectionMs(long, ejectedNow(long, ejectedNow(long, FRESH, 0), 0).times), 400_000)
})

test('who is ejected comes back at the end of an interval, and its next time is shorter for each that it was well', () => {
  const ejected = ejectedNow(RULES, FRESH, 12_000) // over at 42 s
  const at = (nowMs: number): Standing => afterChecks(RULES, ejected, 10_000, nowMs).standing
  assert.equal(at(49_999).ejected, true)
  assert.deepEqual(at(50_000), { ejected: false, times: 1, atMs: 12_000 })
  assert.deepEqual(at(60_000), { ejected: false, times: 0, atMs: 12_000 })
  const again = ejectedNow(RULES, { ejected: false, times: 1, atMs: 12_000 }, 55_000)
  assert.equal(ejectionMs(RULES, again.times), 60_000)
})

test('it makes no difference how often one looks', () => {
  const rules = fc.record({
    intervalMs: fc.integer({ min: 1, max: 20_000 }),
    baseEjectionMs: fc.integer({ min: 1, max: 90_000 }),
  })
  const looks = fc.array(fc.integer({ min: 0, max: 30_000 }), { minLength: 1, maxLength: 30 })
  fc.assert(
    fc.property(rules, fc.integer({ min: 0, max: 12 }), looks, (wish, times, waits) => {
      const own = { ...RULES, ...wish }
      const begun = ejectedNow(own, { ejected: false, times, atMs: 0 }, 7)
      let seen = { standing: begun, checkedMs: 0 }
      let nowMs = 7
      for (const wait of waits) seen = afterChecks(own, seen.standing, seen.checkedMs, (nowMs += wait))
      assert.deepEqual(seen, afterChecks(own, begun, 0, nowMs))
      assert.equal(seen.checkedMs, lastCheck(own, 0, nowMs))
      // against a clock that ticks once an interval
      let plain = begun
      for (let tick = own.intervalMs; tick <= nowMs; tick += own.intervalMs) {
        if (tick < 7) continue
        if (!plain.ejected) plain = { ...plain, times: Math.max(0, plain.times - 1) }
        else if (ejectionMs(own, plain.times) <= tick - 7) plain = { ...plain, ejected: false }
      }
      assert.deepEqual(seen.standing, plain)
    }),
    { numRuns: 200 },
  )
})
