import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { addressText } from './address.ts'
import { Affinity, type Choosing, pickFor } from './affinity.ts'
import { type Backends, routeTcp } from './route.ts'
import type { Endpoint } from './service.ts'
import { dialled, world, type World } from './world.fixture.ts'

const TIMEOUT_MS = 10_000

function choosing(limit?: number): Choosing {
  let turn = 0
  const load = { active: () => 0, turn: () => turn++ }
  return { load, random: () => (turn++ % 7) / 7, affinity: new Affinity(limit) }
}

const mesh = (count: number): World =>
  world().service('reviews', { affinityMs: TIMEOUT_MS }).pods('reviews-v1', { count })
const backendsOf = (of: World): Backends => {
  const snapshot = of.snapshot()
  return routeTcp(snapshot, dialled(snapshot, 'reviews'), 'default')
}
const name = (backends: Backends, ip: string, nowMs: number, by: Choosing): string | null =>
  textOf(pickFor(backends, { ip, nowMs }, by))
const textOf = (endpoint: Endpoint | null): string | null => {
  return endpoint === null ? null : addressText(endpoint.address)
}

test('a caller stays with its endpoint while it comes back in time, counted from its last visit', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.array(fc.integer({ min: 0, max: TIMEOUT_MS - 1 }), { maxLength: 30 }),
      (count, waits) => {
        const [backends, by] = [backendsOf(mesh(count)), choosing()]
        let nowMs = 0
        const first = name(backends, '10.9.0.1', nowMs, by)
        for (const wait of waits) assert.equal(name(backends, '10.9.0.1', (nowMs += wait), by), first)
      },
    ),
  )
})

test('callers are spread, and one who stays away for too long is chosen for anew', () => {
  const [backends, by] = [backendsOf(mesh(5)), choosing()]
  const of = (nowMs: number) => new Set(Array.from({ length: 50 }, (_, i) => name(backends, `10.9.0.${i}`, nowMs, by)))
  assert.equal(of(0).size, 5)
  const anew = Array.from({ length: 50 }, (_, i) => name(backends, '10.9.0.1', (i + 1) * TIMEOUT_MS, by))
  assert.ok(new Set(anew).size > 1)
})

test('an endpoint that goes, or fails this request, is left for another, which then stays', () => {
  const by = choosing()
  const all = backendsOf(mesh(3))
  const first = name(all, '10.9.0.1', 0, by)
  const rest = { ...all, endpoints: all.endpoints.filter(({ address }) => addressText(address) !== first) }
  const second = name(rest, '10.9.0.1', 1, by)
  assert.notEqual(second, first)
  assert.equal(name(all, '10.9.0.1', 2, by), second)
  const third = textOf(pickFor(all, { ip: '10.9.0.1', nowMs: 3 }, by, new Set([second ?? ''])))
  assert.notEqual(third, second)
  assert.equal(name({ ...all, endpoints: [] }, '10.9.0.1', 4, by), null)
})

test('what is remembered is bounded: who has not come for the longest is forgotten', () => {
  const affinity = new Affinity(3)
  const at = { ip: '10.0.0.1', port: 1 }
  for (const key of ['a', 'b', 'c', 'a', 'd']) affinity.keep(key, at, 100)
  assert.equal(affinity.size, 3)
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((key) => affinity.known(key, 99) !== null),
    [true, false, true, true],
  )
  assert.equal(affinity.known('a', 100), null)
})

test('a service without affinity remembers nobody', () => {
  const by = choosing()
  name(backendsOf(world().service('reviews').pods('reviews-v1', { count: 2 })), '10.9.0.1', 0, by)
  assert.equal(by.affinity.size, 0)
})
