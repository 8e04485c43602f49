import { type HostPolicy, NO_POLICY } from '../destination.ts'
import { balancingOf } from '../world.fixture.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { addressText } from '../address.ts'
import { ANYONE, footing } from './balance.fixture.ts'
import { exhausted, type Load, pick } from './balance.ts'
import type { Balancer } from '../traffic-policy.ts'
import { drawn, seeded } from '../request.fixture.ts'
import type { Backends } from '../backends.ts'

/** A node's load, held in maps. */
function load(active: Readonly<Record<string, number>> = {}): Load {
  const turns = new Map<string, number>()
  return {
    active: (endpoint) => active[endpoint] ?? 0,
    turn: (key) => {
      const turn = turns.get(key) ?? 0
      turns.set(key, turn + 1)
      return turn
    },
  }
}

function backends(count: number, balancer: Balancer, key = 'reviews'): Backends {
  const endpoints = Array.from({ length: count }, (_, index) => ({
    address: { ip: `10.0.${index >> 8}.${index & 255}`, port: 80 },
    workload: null,
    ready: true,
    serving: true,
    terminating: false,
    node: null,
    locality: null,
    readySinceMs: null,
  }))
  return {
    key,
    host: 'reviews',
    subset: null,
    port: 80,
    family: 4,
    policy: { ...NO_POLICY, ...balancingOf(balancer) } as HostPolicy,
    endpoints,
    groups: null,
    isUnknown: false,
    affinitySeconds: null,
  }
}

const ON = footing()
const text = (from: Backends, index: number): string => addressText(from.endpoints[index]!.address)
const BALANCERS: readonly Balancer[] = ['ROUND_ROBIN', 'LEAST_REQUEST', 'RANDOM']

test('round robin gives every endpoint its share to within one, over any number of endpoints and picks', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 300 }), (count, picks) => {
      const from = backends(count, 'ROUND_ROBIN')
      const node = load()
      const served = new Map(from.endpoints.map(({ address }) => [addressText(address), 0]))
      for (let i = 0; i < picks; i++) {
        const key = addressText(pick(from, { ...ON, load: node }, ANYONE)!.address)
        served.set(key, served.get(key)! + 1)
      }
      const counts = [...served.values()]
      assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, counts.join())
    }),
  )
})

test('two sets of endpoints take turns apart from each other', () => {
  const node = load()
  const [one, other] = [backends(2, 'ROUND_ROBIN', 'one'), backends(2, 'ROUND_ROBIN', 'other')]
  const order = [one, other, one, other].map((from) => addressText(pick(from, { ...ON, load: node }, ANYONE)!.address))
  assert.deepEqual(order, [text(one, 0), text(other, 0), text(one, 1), text(other, 1)])
})

test('random gives every endpoint its share', () => {
  const from = backends(5, 'RANDOM')
  const random = seeded(3)
  const draws = 20_000
  const served = new Map<string, number>()
  for (let i = 0; i < draws; i++) {
    const key = addressText(pick(from, { ...ON, load: load(), random }, ANYONE)!.address)
    served.set(key, (served.get(key) ?? 0) + 1)
  }
  const spread = 3.29 * Math.sqrt(draws * 0.2 * 0.8) // 99.9 %
  for (const [key, count] of served) assert.ok(Math.abs(count - draws / 5) <= spread, `${key}: ${count}`)
  assert.equal(served.size, 5)
})

test('least request takes the less loaded of two, whatever is drawn', () => {
  fc.assert(
    fc.property(fc.nat(99), fc.nat(99), fc.integer(), (a, b, seed) => {
      fc.pre(a !== b)
      const from = backends(2, 'LEAST_REQUEST')
      const node = load({ [text(from, 0)]: a, [text(from, 1)]: b })
      assert.equal(
        addressText(pick(from, { ...ON, load: node, random: seeded(seed) }, ANYONE)!.address),
        text(from, a < b ? 0 : 1),
      )
    }),
  )
})

test('least request compares two different endpoints, at the ends of what random gives too', () => {
  const almostOne = 1 - 2 ** -53
  for (const count of [2, 3, 7]) {
    for (const first of [0, 0.5, almostOne]) {
      for (const second of [0, 0.5, almostOne]) {
        const from = backends(count, 'LEAST_REQUEST')
        const asked: string[] = []
        const node = { ...load(), active: (endpoint: string) => asked.push(endpoint) }
        assert.notEqual(pick(from, { ...ON, load: node, random: drawn(first, second) }, ANYONE), null)
        assert.equal(new Set(asked).size, 2, `${count} endpoints, ${first}, ${second}`)
      }
    }
  }
})

test('least request never picks the one endpoint that carries more than all others', () => {
  const from = backends(9, 'LEAST_REQUEST')
  const node = load({ [text(from, 4)]: 10 })
  const random = seeded(5)
  for (let i = 0; i < 1000; i++)
    assert.notEqual(addressText(pick(from, { ...ON, load: node, random }, ANYONE)!.address), text(from, 4))
})

test('with equal load, least request leaves no endpoint out', () => {
  const from = backends(6, 'LEAST_REQUEST')
  const random = seeded(11)
  const seen = new Set(
    Array.from({ length: 500 }, () => addressText(pick(from, { ...ON, load: load(), random }, ANYONE)!.address)),
  )
  assert.equal(seen.size, 6)
})

test('a tried endpoint is not picked again, and when all were tried there is none', () => {
  const case_ = fc.record({
    balancer: fc.constantFrom(...BALANCERS),
    count: fc.nat(12),
    tried: fc.array(fc.nat(14), { maxLength: 14 }),
    seed: fc.integer(),
  })
  fc.assert(
    fc.property(case_, ({ balancer, count, tried, seed }) => {
      const from = backends(count, balancer)
      const failed = new Set(tried.map((index) => `10.0.0.${index}:80`))
      const left = from.endpoints.filter(({ address }) => !failed.has(addressText(address)))
      const picked = pick(from, { ...ON, random: seeded(seed) }, ANYONE, failed)
      if (left.length === 0) assert.equal(picked, null)
      else assert.ok(picked !== null && left.includes(picked))
    }),
  )
})

test('retries that note what they tried reach every endpoint once', () => {
  for (const balancer of BALANCERS) {
    const from = backends(8, balancer)
    const tried = new Set<string>()
    const node = load()
    const random = seeded(2)
    const on = { ...ON, load: node, random }
    for (let picked = pick(from, on, ANYONE, tried); picked !== null; picked = pick(from, on, ANYONE, tried)) {
      tried.add(addressText(picked.address))
      assert.ok(tried.size <= 8)
    }
    assert.equal(tried.size, 8, balancer)
  }
})

test('who finds no endpoint is told of which family', () => {
  assert.equal(exhausted({ ...backends(0, 'RANDOM'), family: 6 }), 'no IPv6 endpoint of reviews is left')
})
