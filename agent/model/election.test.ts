import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Candidate, type LeaseRecord, nextStep, observe, type Observed, released } from './election.ts'

const A: Candidate = { identity: 'a', durationSeconds: 15 }
const B: Candidate = { identity: 'b', durationSeconds: 15 }
const HELD: LeaseRecord = { holder: 'a', durationSeconds: 15, acquireTime: 't1', renewTime: 't2', transitions: 3 }
const at = (nowMs: number) => ({ nowMs, wallTime: `w${nowMs}` })
const seen = (record: LeaseRecord | null, sinceMs = 0): Observed => ({ record, sinceMs })

test('where there is no lease it is made', () => {
  const record = { holder: 'a', durationSeconds: 15, acquireTime: 'w5', renewTime: 'w5', transitions: 0 }
  assert.deepEqual(nextStep(seen(null), A, at(5)), { kind: 'create', record })
})

test('its holder renews it, whatever the time', () => {
  const record = { ...HELD, renewTime: 'w99000' }
  assert.deepEqual(nextStep(seen(HELD), A, at(99_000)), { kind: 'renew', record })
})

test('another waits until it has stood unchanged for as long as the lease says, then takes it', () => {
  assert.deepEqual(nextStep(seen(HELD, 1000), B, at(15_999)), { kind: 'wait', holder: 'a', untilMs: 16_000 })
  const record = { holder: 'b', durationSeconds: 15, acquireTime: 'w16000', renewTime: 'w16000', transitions: 4 }
  assert.deepEqual(nextStep(seen(HELD, 1000), B, at(16_000)), { kind: 'take', record })
})

test('a lease that was let go is taken at once', () => {
  const step = nextStep(seen(released(HELD, 'w9'), 9), B, at(10))
  assert.deepEqual([step.kind, step.kind === 'take' && step.record.transitions], ['take', 4])
})

test('a lease whose renewal is seen stands anew; one that did not change stands since it was first seen', () => {
  const first = observe(null, HELD, 100)
  assert.equal(observe(first, { ...HELD }, 5000), first)
  assert.deepEqual(observe(first, { ...HELD, renewTime: 't3' }, 5000), seen({ ...HELD, renewTime: 't3' }, 5000))
  assert.deepEqual(observe(first, null, 6000), seen(null, 6000))
})

/**
 * A lease server and replicas that look at it at any time, whose clocks stand and whose time of day lies. A replica
 * believes that it leads for `renew` after it asked for a renewal that came to be.
 */
test('no two replicas believe that they lead, however their looks fall and whatever times they write', () => {
  const passMs = fc.constantFrom(0, 1, 4999, 5000, 7500)
  const look = fc.record({ who: fc.nat(2), passMs, lie: fc.string({ maxLength: 3 }), lost: fc.boolean() })
  fc.assert(
    fc.property(fc.array(look, { maxLength: 60 }), (looks) => {
      const renewMs = 10_000
      let nowMs = 0
      let lease: LeaseRecord | null = null
      const replicas = ['a', 'b', 'c'].map((identity) => ({
        self: { identity, durationSeconds: 15 },
        offsetMs: identity.charCodeAt(0) * 1e6,
        seen: null as Observed | null,
        leadsUntil: -1,
      }))
      for (const { who, passMs, lie, lost } of looks) {
        nowMs += passMs
        const replica = replicas[who]!
        const own = nowMs + replica.offsetMs
        replica.seen = observe(replica.seen, lease, own)
        const step = nextStep(replica.seen, replica.self, { nowMs: own, wallTime: `${lie}${nowMs}` })
        if (step.kind !== 'wait') {
          lease = step.record // `lost`: it was written, and the answer did not come
          if (!lost) {
            replica.seen = observe(replica.seen, lease, own)
            replica.leadsUntil = nowMs + renewMs
          }
        }
        const leaders = replicas.filter(({ leadsUntil }) => nowMs < leadsUntil)
        assert.ok(leaders.length <= 1, `${leaders.map(({ self }) => self.identity).join()} lead at ${nowMs}`)
      }
    }),
    { numRuns: 500 },
  )
})
