import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RETRY_WORDS } from '../model/policy.ts'
import { isRetried, retryPolicyOf, type Setback } from '../model/http/retry.ts'
import { type Endpoint, nameOf } from '../model/service.ts'
import { world } from '../model/world.fixture.ts'
import { Tries, type TryEnd } from './tries.ts'

const endpoints = (count: number): readonly Endpoint[] => {
  const [service] = world().service('app').pods('app', { count }).inventory().services
  return service?.ports[0]?.endpoints ?? []
}

const setback: fc.Arbitrary<Setback> = fc.oneof(
  fc.constantFrom<Setback[]>({ kind: 'unconnected' }, { kind: 'slow' }),
  fc.boolean().map((sent) => ({ kind: 'reset' as const, sent })),
  fc.record({
    kind: fc.constant('answered' as const),
    status: fc.constantFrom(200, 404, 409, 429, 500, 502, 503),
    grpcStatus: fc.option(fc.nat(16)),
    limited: fc.boolean(),
  }),
)
const end: fc.Arbitrary<TryEnd> = fc.record({
  setback,
  replay: fc.constantFrom('stale', 'lost', null),
  resendable: fc.boolean(),
})

test('retries never send more often than the rule asks, and each of the mesh’s own accord once', () => {
  const retries = fc.record({
    attempts: fc.nat(5),
    perTryMs: fc.constant(null),
    on: fc.subarray([...RETRY_WORDS]),
    statuses: fc.subarray([404, 503]),
    backoffMs: fc.option(fc.integer({ min: 1, max: 1000 })),
    ignorePrevious: fc.boolean(),
    remoteLocalities: fc.boolean(),
  })
  fc.assert(
    fc.property(
      retries,
      fc.integer({ min: 1, max: 4 }),
      fc.array(fc.tuple(end, fc.nat()), { maxLength: 40 }),
      (given, count, ends) => {
        const policy = retryPolicyOf(given)
        const tries = new Tries(policy, () => 0.5)
        const all = endpoints(count)
        let [retried, replayed] = [0, 0]
        for (const [one, at] of ends) {
          const open = all.filter((endpoint) => !tries.passed.has(nameOf(endpoint)))
          assert.ok(open.length > 0, 'somebody is left to be asked')
          const before = tries.retries
          const wait = tries.after(one, open[at % open.length] as Endpoint, all)
          if (wait === null) {
            const isWanted = isRetried(policy, one.setback) && (one.resendable || one.setback.kind === 'unconnected')
            assert.ok(!isWanted || retried === policy.attempts)
            continue
          }
          if (tries.retries > before) retried++
          else replayed++
          assert.ok(tries.retries > before ? isRetried(policy, one.setback) : one.replay !== null)
        }
        assert.ok(retried <= given.attempts)
        assert.ok(replayed <= 2) // a stale one, and a lost one
      },
    ),
  )
})

test('another endpoint is dialled at once, the same one after a wait, and with a backoff every one', () => {
  const [first, second] = endpoints(2) as [Endpoint, Endpoint]
  const unconnected: TryEnd = { setback: { kind: 'unconnected' }, replay: null, resendable: true }
  const plain = new Tries(retryPolicyOf(null), () => 0.99)
  assert.equal(plain.after(unconnected, first, [first, second]), 0)
  assert.deepEqual([...plain.passed], [nameOf(first)])
  assert.ok((plain.after(unconnected, second, [first, second]) ?? 0) > 0)
  assert.deepEqual([...plain.passed], [])
  assert.equal(plain.after(unconnected, first, [first, second]), null)
  assert.ok(plain.isExhausted)
  const said = { attempts: 1, perTryMs: null, on: null, statuses: [], ignorePrevious: null, remoteLocalities: null }
  const slow = new Tries(retryPolicyOf({ ...said, backoffMs: 100 }), () => 0.5)
  assert.equal(slow.after(unconnected, first, [first, second]), 50)
})

test('retryIgnorePreviousHosts false asks any endpoint again, and remote localities count from the first retry on', () => {
  const all = endpoints(2)
  const said = { attempts: 2, perTryMs: null, on: ['5xx'] as const, statuses: [], backoffMs: null }
  const tries = new Tries(retryPolicyOf({ ...said, ignorePrevious: false, remoteLocalities: true }), () => 0)
  assert.equal(tries.anyLocality, false)
  const answered: TryEnd = {
    setback: { kind: 'answered', status: 500, grpcStatus: null, limited: false },
    ...{ replay: null, resendable: true },
  }
  assert.equal(tries.after(answered, all[0] as Endpoint, all), 0)
  assert.equal(tries.passed.size, 0)
  assert.equal(tries.anyLocality, true)
})
