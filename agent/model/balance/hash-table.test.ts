import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { endpointsOf } from './balance.fixture.ts'
import { endpointOf, MAGLEV_MOST, maglev, ring, RING_MOST } from './hash-table.ts'
import { seeded } from '../request.fixture.ts'
import { nameOf } from '../service.ts'
import type { ConsistentHash } from '../traffic-policy.ts'

type Algorithm = ConsistentHash['algorithm']
const RING: Algorithm = { kind: 'ring', minimumSize: 1024 }
const MAGLEV: Algorithm = { kind: 'maglev', tableSize: MAGLEV_MOST }
const ALL = (): boolean => true
const HASHES = 20_000

function hashes(seed: number, count = HASHES): number[] {
  const random = seeded(seed)
  return Array.from({ length: count }, () => Math.floor(random() * 2 ** 32))
}

test('each endpoint has its share', () => {
  for (const [by, spread] of [
    [RING, 0.15],
    [MAGLEV, 0.1], // the dice alone are worth some 5 % here
  ] as const) {
    const all = endpointsOf(10)
    const counts = new Map<string, number>()
    for (const hash of hashes(3)) {
      const name = nameOf(endpointOf(all, by, hash, ALL)!)
      counts.set(name, (counts.get(name) ?? 0) + 1)
    }
    assert.equal(counts.size, 10)
    for (const count of counts.values()) assert.ok(Math.abs(count / (HASHES / 10) - 1) < spread, `${by.kind} ${count}`)
  }
})

test('when one of many goes its own hashes move, and hardly another', () => {
  const sizes = fc.integer({ min: 2, max: 40 })
  const by = fc.constantFrom(RING, { ...RING, minimumSize: 1 }, { ...RING, minimumSize: 100_000 }, MAGLEV)
  fc.assert(
    fc.property(sizes, fc.nat(), by, fc.nat(), (count, which, algorithm, seed) => {
      const all = endpointsOf(count)
      const gone = all[which % count]!
      const left = all.filter((endpoint) => endpoint !== gone)
      let moved = 0
      for (const hash of hashes(seed, 2000)) {
        const before = endpointOf(all, algorithm, hash, ALL)!
        const after = endpointOf(left, algorithm, hash, ALL)!
        if (before !== gone && after !== before) moved++
      }
      // a ring with room for all points moves nothing else; one without gives each another point or so
      const isRoomy = algorithm.kind === 'ring' && algorithm.minimumSize * count <= RING_MOST
      const most = isRoomy ? 0 : algorithm.kind === 'ring' ? 1 / count : 0.02
      assert.ok(moved <= 2000 * (most + 0.02 * Math.sign(most)), `${moved} of 2000 with ${count}`)
    }),
    { numRuns: 30 },
  )
})

test('of all hashes 1 / n and a little moves when one of n endpoints goes', () => {
  const by = fc.constantFrom<Algorithm[]>(RING, MAGLEV)
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 100 }), fc.nat(), by, fc.nat(), (count, which, algorithm, seed) => {
      const all = endpointsOf(count)
      const left = all.filter((_, index) => index !== which % count)
      let moved = 0
      for (const hash of hashes(seed, 2000)) {
        if (endpointOf(all, algorithm, hash, ALL) !== endpointOf(left, algorithm, hash, ALL)) moved++
      }
      const share = 1 / count
      // Shares of a ring differ by their points, and one without room for all moves as many again (ring()); a table moves some
      // 0.5 % besides. And the dice: five times the deviation of 2000 draws.
      const isRoomy = algorithm.kind === 'maglev' || count * algorithm.minimumSize <= RING_MOST
      const wanted = isRoomy ? share : 2 * share
      const most = 2000 * (1.15 * wanted + 0.007) + 5 * Math.sqrt(2000 * share)
      assert.ok(moved <= most, `${moved} of 2000 with ${count} by ${algorithm.kind}, ${most} at most`)
    }),
    { numRuns: 60, seed: 12 },
  )
})

test('who is not open is passed over, its hashes alone go elsewhere, to all of the others, and they come back', () => {
  for (const algorithm of [RING, MAGLEV]) {
    const all = endpointsOf(8)
    const out = nameOf(all[2]!)
    const taken = new Set<string>()
    for (const hash of hashes(9, 4000)) {
      const before = endpointOf(all, algorithm, hash, ALL)!
      const during = endpointOf(all, algorithm, hash, (endpoint) => nameOf(endpoint) !== out)!
      assert.notEqual(nameOf(during), out)
      if (nameOf(before) === out) taken.add(nameOf(during))
      else assert.equal(during, before)
      assert.equal(endpointOf(all, algorithm, hash, ALL), before)
    }
    assert.equal(taken.size, 7)
  }
})

test('any open endpoint is found, and none where none is', () => {
  const given = fc.record({ count: fc.integer({ min: 0, max: 12 }), open: fc.nat(4095), hash: fc.nat(2 ** 32 - 1) })
  fc.assert(
    fc.property(given, fc.constantFrom(RING, MAGLEV), ({ count, open, hash }, algorithm) => {
      const all = endpointsOf(count)
      const isOpen = (endpoint: (typeof all)[number]): boolean => ((open >> all.indexOf(endpoint)) & 1) === 1
      const found = endpointOf(all, algorithm, hash, isOpen)
      if (all.some(isOpen)) assert.ok(found !== null && isOpen(found))
      else assert.equal(found, null)
    }),
  )
})

test('the same names make the same choice, in whatever order and in whatever snapshot they come', () => {
  for (const algorithm of [RING, MAGLEV]) {
    const [one, other] = [endpointsOf(9), endpointsOf(9).reverse()]
    for (const hash of hashes(5, 500)) {
      const [a, b] = [one, other].map((all) => nameOf(endpointOf(all, algorithm, hash, ALL)!))
      assert.equal(a, b)
    }
  }
})

test('sizes are bounded, and every endpoint has a place however many there are', () => {
  const names = Array.from(
    { length: 40_000 },
    (_, index) => `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}:80`,
  )
  const huge = ring(names, 8_388_608)
  const owners = new Set<number>()
  huge.find(0, (owner) => {
    owners.add(owner)
    return false
  })
  assert.equal(owners.size, names.length)
  const table = maglev(['a', 'b', 'c'], 12) // no prime: the next one, 13
  const counts = [0, 0, 0]
  for (const hash of hashes(1)) counts[table.find(hash, ALL)]!++
  for (const count of counts) assert.ok(Math.abs(count / HASHES - 1 / 3) < 0.07, counts.join())
})
