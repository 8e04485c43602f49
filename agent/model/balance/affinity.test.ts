import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Affinities, pickFor } from './affinity.ts'
import { footing } from './balance.fixture.ts'
import { seeded } from '../request.fixture.ts'
import { routeTcp } from '../route.ts'
import { nameOf } from '../service.ts'
import { dialled, world } from '../world.fixture.ts'

function memory(): Affinities & { readonly known: Map<string, string> } {
  const known = new Map<string, string>()
  return { known, recall: (key) => known.get(key) ?? null, remember: (key, endpoint) => void known.set(key, endpoint) }
}
function backendsOf(pods: number, affinitySeconds: number | null = 10_800) {
  const snapshot = world().service('web', { affinitySeconds }).pods('web-v1', { count: pods }).snapshot()
  return routeTcp(snapshot, dialled(snapshot, 'web'), { consumer: 'default', caller: null })
}
const NONE: ReadonlySet<string> = new Set()
const client = fc.ipV4()
const asks = (from: string) => ({ client: from, hash: null })

test('a client keeps its endpoint, whatever other endpoints come', () => {
  fc.assert(
    fc.property(client, fc.integer({ min: 1, max: 8 }), fc.integer({ min: 0, max: 8 }), (from, before, more) => {
      const ground = { ...footing(), affinities: memory() }
      const first = pickFor(asks(from), backendsOf(before), ground, NONE)
      assert.ok(first !== null)
      const later = pickFor(asks(from), backendsOf(before + more), ground, NONE)
      assert.equal(later && nameOf(later), nameOf(first))
    }),
  )
})

test('a client whose endpoint is gone or fails gets another, and keeps that', () => {
  fc.assert(
    fc.property(client, (from) => {
      const ground = { ...footing(), affinities: memory() }
      const backends = backendsOf(4)
      const first = nameOf(pickFor(asks(from), backends, ground, NONE)!)
      const second = nameOf(pickFor(asks(from), backends, ground, new Set([first]))!)
      assert.notEqual(second, first)
      assert.equal(nameOf(pickFor(asks(from), backends, ground, NONE)!), second)
      const all = new Set(backends.endpoints.map(nameOf))
      assert.equal(pickFor(asks(from), backends, ground, all), null)
    }),
  )
})

test('workers that never met agree, and clients are spread over endpoints', () => {
  const backends = backendsOf(4)
  const counts = new Map<string, number>()
  for (let at = 0; at < 4000; at++) {
    const from = `10.${at >> 8}.${at & 255}.7`
    const [one, other] = [1, 2].map((seed) => {
      return nameOf(pickFor(asks(from), backends, footing({ affinities: memory(), random: seeded(seed) }), NONE)!)
    })
    assert.equal(one, other)
    counts.set(one!, (counts.get(one!) ?? 0) + 1)
  }
  for (const count of counts.values()) assert.ok(count > 800 && count < 1200, [...counts].join())
})

test('without affinity nothing is remembered', () => {
  const ground = { ...footing(), affinities: memory() }
  assert.ok(pickFor(asks('10.0.0.1'), backendsOf(3, null), ground, NONE) !== null)
  assert.equal(ground.affinities.known.size, 0)
})
