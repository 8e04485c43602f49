// How picks are spread where more than a balancer has a say: localities, ejections, warm-up, hashes.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { pickFor } from './balance/affinity.ts'
import { ANYONE, backendsWith, endpointsOf, footing, OUTLIERS } from './balance/balance.fixture.ts'
import { backendsFor, type Backends } from './backends.ts'
import { candidates, type Footing, pick } from './balance/balance.ts'
import type { Group } from './balance/placement.ts'
import { seeded } from './request.fixture.ts'
import { routeTcp } from './route.ts'
import { nameOf } from './service.ts'
import type { Balancer, ConsistentHash } from './traffic-policy.ts'
import { balancingOf, dialled, to, world } from './world.fixture.ts'

const DRAWS = 20_000
const BALANCERS: readonly Balancer[] = ['ROUND_ROBIN', 'LEAST_REQUEST', 'RANDOM']
const HASH: ConsistentHash = { by: { kind: 'source-ip' }, algorithm: { kind: 'ring', minimumSize: 64 } }
const NOW = 1_800_000_000_000

function ejecting(...names: readonly string[]): Footing['health'] {
  const all = new Set(names)
  return { ejected: () => all }
}

function served(backends: Backends, on: Footing, picks = DRAWS): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (let index = 0; index < picks; index++) {
    const name = nameOf(pick(backends, on, ANYONE)!)
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  return counts
}

function near(found: number | undefined, wanted: number, what: string): void {
  assert.ok(Math.abs((found ?? 0) - wanted) < 0.02, `${what}: ${found}, not ${wanted}`)
}

/** Three endpoints at each of so many priorities, or localities by weight. */
function grouped(
  weights: readonly number[],
  how: 'priorities' | 'weights',
  wish: Parameters<typeof backendsWith>[0] = {},
) {
  const endpoints = endpointsOf(weights.length * 3)
  const groups = weights.map((weight, index): Group => {
    const own = endpoints.slice(index * 3, index * 3 + 3)
    return { priority: how === 'priorities' ? index : 0, locality: `l${index}`, weight, endpoints: own }
  })
  return backendsWith({ outliers: OUTLIERS, ...wish, endpoints, groups })
}

test('localities get the shares that are said, and in each the balancer has its way', () => {
  for (const simple of BALANCERS) {
    const backends = grouped([70, 20, 10], 'weights', { simple })
    const counts = served(backends, footing())
    backends.groups?.forEach(({ endpoints, weight }) => {
      for (const one of endpoints) near((counts.get(nameOf(one)) ?? 0) / DRAWS, weight / 300, `${simple} ${weight}`)
    })
  }
})

test('the first priority gets all as long as it can bear it, and what it loses goes to the next', () => {
  const backends = grouped([1, 1], 'priorities')
  assert.deepEqual([...served(backends, footing(), 500).keys()].sort(), backends.endpoints.slice(0, 3).map(nameOf))
  const gone = backends.endpoints.slice(0, 2).map(nameOf)
  const counts = served(backends, footing({ health: ejecting(...gone) }))
  for (const name of gone) assert.equal(counts.get(name), undefined)
  near((counts.get(nameOf(backends.endpoints[2]!)) ?? 0) / DRAWS, (1.4 * 1) / 3, 'what is left of the first')
})

test('when all of a tier was tried the next is asked, ejected ones never, and at the end nobody is', () => {
  const case_ = fc.record({
    ...{ balancer: fc.constantFrom(...BALANCERS), how: fc.constantFrom('priorities' as const, 'weights' as const) },
    ...{ levels: fc.integer({ min: 1, max: 4 }), out: fc.nat(4095), hash: fc.option(fc.nat(2 ** 32 - 1)) },
    ...{ anyLocality: fc.boolean(), warm: fc.boolean(), seed: fc.nat() },
  })
  fc.assert(
    fc.property(case_, ({ balancer, how, levels, out, hash, anyLocality, warm, seed }) => {
      const warmup = warm ? { durationMs: 1000, minimumPercent: 1, aggression: 1 } : null
      const policy = { simple: balancer, warmup, hash: hash === null ? null : HASH }
      const backends = grouped(new Array<number>(levels).fill(1), how, policy)
      const ejected = backends.endpoints.filter((_, index) => ((out >> index) & 1) === 1).map(nameOf)
      const on = footing({ health: ejecting(...ejected), random: seeded(seed), nowMs: () => NOW })
      const tried = new Set<string>()
      const asked = { hash, anyLocality }
      for (let one = pick(backends, on, asked, tried); one !== null; one = pick(backends, on, asked, tried)) {
        assert.ok(!ejected.includes(nameOf(one)) && !tried.has(nameOf(one)))
        tried.add(nameOf(one))
      }
      assert.equal(tried.size, backends.endpoints.length - ejected.length)
    }),
  )
})

test('all ejected is nobody, but in a panic everybody', () => {
  const all = endpointsOf(4)
  const health = ejecting(...all.map(nameOf))
  for (const simple of BALANCERS) {
    const plain = backendsWith({ endpoints: all, simple, outliers: OUTLIERS })
    assert.equal(pick(plain, footing({ health }), ANYONE), null)
    const panicking = backendsWith({ endpoints: all, simple, outliers: { ...OUTLIERS, minHealthPercent: 50 } })
    assert.equal(served(panicking, footing({ health }), 400).size, 4)
  }
})

test('from the first retry on every locality is alike, where the rule wants it so', () => {
  const backends = grouped([1, 1], 'priorities', { simple: 'RANDOM' })
  const on = footing()
  const found = new Set<string>()
  for (let index = 0; index < 300; index++) found.add(nameOf(pick(backends, on, { hash: null, anyLocality: true })!))
  assert.equal(found.size, 6)
})

test('an endpoint that is new gets its part of a share; where all are new, or one stands alone, none is held back', () => {
  const warmup = { durationMs: 60_000, minimumPercent: 10, aggression: 1 }
  for (const simple of BALANCERS) {
    for (const elapsed of [0, 30_000]) {
      const endpoints = endpointsOf(5, (index) => ({ readySinceMs: index === 0 ? NOW - elapsed : null }))
      const counts = served(backendsWith({ endpoints, simple, warmup }), footing({ nowMs: () => NOW }))
      const weight = Math.max(0.1, elapsed / 60_000)
      const share = (counts.get(nameOf(endpoints[0]!)) ?? 0) / DRAWS
      if (simple !== 'LEAST_REQUEST') near(share, weight / (4 + weight), `${simple} after ${elapsed}`)
      else assert.ok(share < (1.3 * weight) / (4 + weight) && share > (0.7 * weight) / (4 + weight), `${share}`)
    }
    const fresh = endpointsOf(4, () => ({ readySinceMs: NOW }))
    const counts = served(backendsWith({ endpoints: fresh, simple, warmup }), footing({ nowMs: () => NOW }))
    for (const one of fresh) near((counts.get(nameOf(one)) ?? 0) / DRAWS, 0.25, simple)
    const alone = backendsWith({ endpoints: fresh.slice(0, 1), simple, warmup })
    assert.notEqual(pick(alone, footing({ nowMs: () => NOW }), ANYONE), null)
  }
})

test('a hash keeps its endpoint and its locality; without one any endpoint will do', () => {
  const backends = grouped([50, 50], 'weights', { hash: HASH, simple: 'ROUND_ROBIN' })
  const found = new Set<string>()
  for (let hash = 0; hash < 2 ** 32; hash += 2 ** 24 + 7919) {
    const picks = [1, 2, 3].map((seed) => nameOf(pick(backends, footing({ random: seeded(seed) }), { hash })!))
    assert.equal(new Set(picks).size, 1)
    found.add(picks[0]!)
  }
  assert.equal(found.size, 6)
  const any = served(backendsWith({ hash: HASH }), footing({ random: seeded(4) }), 300)
  assert.equal(any.size, 3)
  const unhashed = backendsWith({ simple: 'RANDOM' }) // no policy wants a hash: none counts
  const names = new Set(Array.from({ length: 50 }, () => nameOf(pick(unhashed, ON, { hash: 7 })!)))
  assert.equal(names.size, 3)
})

const ON = footing({ random: seeded(8) })

test('PASSTHROUGH goes to the address that was dialled, with or without a rule of routes', () => {
  const mesh = world()
    .service('web')
    .pods('web-v1', { count: 3 })
    .destinationRule({ host: 'web', policy: { ...balancingOf('PASSTHROUGH') } })
  const snapshot = mesh.snapshot()
  const target = dialled(snapshot, 'web')
  const from = { consumer: 'default', caller: null }
  const direct = routeTcp(snapshot, target, from)
  const at = { ...from, dialledPort: 80, family: 4, external: false, dialled: { ip: '10.96.0.7', port: 80 } } as const
  const routed = backendsFor(snapshot, to('web'), at)
  const addresses = [direct, routed].map((one) => one?.endpoints.map(nameOf))
  assert.deepEqual(addresses, [[`${target.service.addresses[0]}:80`], ['10.96.0.7:80']])
  assert.equal(routeTcp(snapshot, target, from), direct)
  assert.equal(nameOf(pick(direct, ON, ANYONE)!), `${target.service.addresses[0]}:80`)
})

test('a client with affinity leaves an endpoint that is ejected, and stays within the nearest that are left', () => {
  const backends = grouped([1, 1], 'priorities', { affinitySeconds: 60 })
  const known = new Map<string, string>()
  const affinities = {
    recall: (key: string) => known.get(key) ?? null,
    remember: (key: string, name: string) => void known.set(key, name),
  }
  const first = pickFor(ANYONE, backends, footing({ affinities }), new Set())!
  assert.ok(backends.groups![0]!.endpoints.includes(first))
  const on = footing({ affinities, health: ejecting(nameOf(first)) })
  const second = pickFor(ANYONE, backends, on, new Set())!
  assert.notEqual(second, first)
  assert.equal(pickFor(ANYONE, backends, on, new Set()), second)
  const near = new Set(backends.groups![0]!.endpoints.map(nameOf))
  assert.deepEqual(candidates(backends, footing(), near), backends.groups![1]!.endpoints)
})
