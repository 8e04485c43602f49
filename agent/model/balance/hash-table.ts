// Which endpoint a hash belongs to, by a ring or a Maglev table: pure.
//
// A table is of names alone, so that it serves each later snapshot in which the same endpoints stand. It is built when the
// first hash is looked up. Bounds: a ring has at most RING_MOST points (8 bytes each) or one an endpoint, a Maglev table at
// most MAGLEV_MOST entries (4 bytes each): a quarter of a MB, and some 20 ms to build, at most; Istio's default ring takes
// 8 KB and 0.5 ms an endpoint. Beyond those in use KEPT_MOST tables are kept.

import { mixed, textHash } from './hashing.ts'
import { type Endpoint, nameOf } from '../service.ts'
import type { ConsistentHash } from '../traffic-policy.ts'

/** Points of a ring in all; a larger `minimumRingSize` is as this one. */
export const RING_MOST = 32_768
/** A larger `tableSize` is as this one, which is the default of Istio and Envoy too. A prime. */
export const MAGLEV_MOST = 65_537
const KEPT_MOST = 64

/** Of names in order: which one of them a hash belongs to, or the next after it that is open. */
interface Table {
  readonly names: readonly string[]
  /** Calls with indices of names, the likeliest first, until one is taken; -1 where it tires of it. */
  find(hash: number, isOpen: (index: number) => boolean): number
}

/** A table and the endpoints that its indices stand for. */
interface Placed {
  readonly by: ConsistentHash['algorithm']
  readonly table: Table
  readonly inOrder: readonly Endpoint[]
}

const PLACED = new WeakMap<readonly Endpoint[], Placed>()
/** The oldest first. */
const KEPT = new Map<string, Table>()

/**
 * The endpoint of all of them that a hash (32 bits) belongs to, or where that is not open the next; null where none is.
 * Of an endpoint that is not open, or comes or goes, the hashes alone move.
 */
export function endpointOf(
  all: readonly Endpoint[],
  by: ConsistentHash['algorithm'],
  hash: number,
  isOpen: (endpoint: Endpoint) => boolean,
): Endpoint | null {
  if (all.length < 2) return all.find(isOpen) ?? null
  let placed = PLACED.get(all)
  if (placed === undefined || placed.by !== by) PLACED.set(all, (placed = place(all, by)))
  const { table, inOrder } = placed
  const index = table.find(hash, (at) => isOpen(inOrder[at] as Endpoint))
  return index < 0 ? (inOrder.find(isOpen) ?? null) : (inOrder[index] as Endpoint)
}

function place(all: readonly Endpoint[], by: ConsistentHash['algorithm']): Placed {
  const byName = new Map(all.map((endpoint) => [nameOf(endpoint), endpoint]))
  const names = [...byName.keys()].sort()
  const size = by.kind === 'ring' ? by.minimumSize : by.tableSize
  const key = `${by.kind} ${size} ${names.length} ${textHash(names.join())} ${textHash(names.join(), 1)}`
  let table = KEPT.get(key)
  if (table === undefined || !isSame(table.names, names))
    table = by.kind === 'ring' ? ring(names, size) : maglev(names, size)
  KEPT.delete(key) // so that the order is that of the last use
  KEPT.set(key, table)
  const [oldest] = KEPT.keys()
  if (KEPT.size > KEPT_MOST && oldest !== undefined) KEPT.delete(oldest)
  return { by, table, inOrder: names.map((name) => byName.get(name) as Endpoint) }
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((name, index) => name === other[index])
}

/** Points of a name, or steps of its own through a table: two hashes, for one is another name's too every now and then. */
function seedsOf(name: string): readonly [start: number, step: number] {
  return [textHash(name), (textHash(name, 0x9e3779b9) | 1) >>> 0]
}

/**
 * Each name has as many points on a circle of 2^32, and a hash belongs to the first point at or behind it (Karger et al.
 * 1997; Envoy, "Ring hash"). A name has `minimum` points of its own where all have room for that: were it a part of them, an
 * endpoint that goes would change the points of all others. Beyond, each has its part of RING_MOST, and at least one.
 */
export function ring(names: readonly string[], minimum: number): Table {
  const each = Math.max(1, Math.min(minimum, Math.floor(RING_MOST / names.length)))
  const points = new Float64Array(each * names.length) // in 53 bits the place, and below it the name's index
  names.forEach((name, index) => {
    const [start, step] = seedsOf(name)
    for (let k = 0; k < each; k++) points[index * each + k] = mixed(start + Math.imul(k, step)) * SHIFT + index
  })
  points.sort()
  const places = Uint32Array.from(points, (point) => Math.floor(point / SHIFT))
  const owners = Uint32Array.from(points, (point) => point % SHIFT)
  return {
    names,
    find: (hash, isOpen) => {
      let [low, high] = [0, places.length]
      while (low < high) {
        const middle = (low + high) >> 1
        if ((places[middle] as number) < hash) low = middle + 1
        else high = middle
      }
      for (let k = 0; k < owners.length; k++) {
        const owner = owners[(low + k) % owners.length] as number
        if (isOpen(owner)) return owner
      }
      return -1
    },
  }
}

const SHIFT = 2 ** 21

/** Places that are tried of a hash whose endpoint is not open, each drawn from the whole table. */
const MAGLEV_TRIES = 64

/**
 * A table of prime size that names fill in turns, each by steps of its own, so that all have as many places to within one
 * (Eisenbud et al. 2016, "Maglev", §3.4). Only a place whose owner is not open is looked for elsewhere.
 */
export function maglev(names: readonly string[], wanted: number): Table {
  const size = primeFrom(Math.max(Math.min(wanted, MAGLEV_MOST), names.length, 2))
  const owners = new Int32Array(size).fill(-1)
  const at = names.map((name) => seedsOf(name)[0] % size)
  const steps = names.map((name) => 1 + (seedsOf(name)[1] % (size - 1)))
  for (let filled = 0, turn = 0; filled < size; filled++, turn = (turn + 1) % names.length) {
    let place = at[turn] as number
    while (owners[place] !== -1) place = (place + (steps[turn] as number)) % size
    owners[place] = turn
    at[turn] = (place + (steps[turn] as number)) % size
  }
  return {
    names,
    find: (hash, isOpen) => {
      for (let k = 0; k < MAGLEV_TRIES; k++) {
        const owner = owners[mixed(hash + Math.imul(k, 0x9e3779b9)) % size] as number
        if (isOpen(owner)) return owner
      }
      return -1
    },
  }
}

/** The least prime that is not less than a number. */
function primeFrom(number: number): number {
  for (let candidate = number; ; candidate++) if (isPrime(candidate)) return candidate
}

function isPrime(number: number): boolean {
  if (number < 4) return number > 1
  if (number % 2 === 0) return false
  for (let divisor = 3; divisor * divisor <= number; divisor += 2) if (number % divisor === 0) return false
  return true
}
