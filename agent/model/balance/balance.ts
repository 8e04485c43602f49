// Which endpoint of a set serves next: pure, given the load each one carries, who is ejected, the time and the dice.
//
// Mostly a set is just its endpoints, and picking one leaves nothing to the collector. Where localities, ejections, warm-up
// or a hash have a say, a tier is drawn first (tiers.ts), then one of its endpoints.

import type { Backends } from '../backends.ts'
import type { Random } from '../chance.ts'
import { endpointOf } from './hash-table.ts'
import { partOf } from './hashing.ts'
import { type Endpoint, nameOf } from '../service.ts'
import { type Health, type Spread, spreadOf, type Tier } from './tiers.ts'
import type { Balancer } from '../traffic-policy.ts'
import { indexAt, type Weights, weightsOf } from './warmup.ts'

export { ALL_HEALTHY, type Health, type Tier, tiersOf } from './tiers.ts'

/** What the node knows about work under way. */
export interface Load {
  /** Requests (or connections) now open to an endpoint, by its `ip:port`. */
  active(endpoint: string): number
  /** A number that grows by one at every call for the same key: whose turn it is. */
  turn(key: string): number
}

/** What picking stands on. */
export interface Footing {
  readonly load: Load
  readonly random: Random
  readonly health: Health
  /** Milliseconds since 1970. */
  readonly nowMs: () => number
}

/** What is wanted of a pick. */
export interface Picking {
  /** Of what the policy hashes (hash-policy.ts); null where that is not there. */
  readonly hash: number | null
  /** Whether endpoints of every locality and priority are alike, as retries may want it; false where it is not said. */
  readonly anyLocality?: boolean
}

/**
 * Picks an endpoint, or null where none is left. `tried` holds the `ip:port` of endpoints that already failed this
 * request; they are passed over, and where all of a tier were tried the next is asked. Ejected ones are picked in a panic
 * alone. LEAST_REQUEST is the power of two choices: of two drawn, the one with less under way.
 */
export function pick(
  backends: Backends,
  on: Footing,
  picking: Picking,
  tried: ReadonlySet<string> | null = null,
): Endpoint | null {
  const { balancing } = backends.policy
  const ejected = on.health.ejected(backends)
  const isPlain = ejected === null && backends.groups === null
  if (isPlain && balancing.warmup === null && balancing.hash === null) {
    return one(balancing.simple, backends.key, untried(backends.endpoints, tried), on)
  }
  const spread = spreadOf(backends, ejected)
  const hash = balancing.hash === null ? null : picking.hash
  const tier = tierFor(spread, picking.anyLocality === true, { hash, random: on.random, tried })
  if (tier === null) return null
  if (hash !== null && balancing.hash !== null) {
    const { closed } = tier
    const isOpen = (endpoint: Endpoint): boolean => {
      const name = nameOf(endpoint)
      return !(closed?.has(name) ?? false) && !(tried?.has(name) ?? false)
    }
    return endpointOf(tier.all, balancing.hash.algorithm, hash, isOpen)
  }
  const open = untried(tier.endpoints, tried)
  const balancer = balancing.hash === null ? balancing.simple : 'RANDOM'
  const key = spread.tiers.length < 2 ? backends.key : `${backends.key}|${tier.priority}|${tier.locality}`
  const weights = balancing.warmup === null ? null : weightsOf(open, balancing.warmup, on.nowMs())
  return weights === null ? one(balancer, key, open, on) : weighed(balancer, key, { open, weights }, on)
}

/** Those who may be asked first: of the tiers that get a share now; where all of these were tried, of the others. */
export function candidates(
  backends: Backends,
  { health }: Pick<Footing, 'health'>,
  tried: ReadonlySet<string> | null,
): readonly Endpoint[] {
  const ejected = health.ejected(backends)
  if (ejected === null && backends.groups === null) return untried(backends.endpoints, tried)
  const { tiers, whole } = spreadOf(backends, ejected)
  const shared = tiers.filter(({ share }) => share > 0).flatMap(({ endpoints }) => endpoints)
  const open = untried(shared, tried)
  return open.length > 0 ? open : untried(whole.endpoints, tried)
}

/** A tier with somebody left to ask, or null. The draw is the hash's where there is one: who is alike stays together. */
function tierFor(
  { tiers, whole }: Spread,
  anyLocality: boolean,
  by: { readonly hash: number | null; readonly random: Random; readonly tried: ReadonlySet<string> | null },
): Tier | null {
  if (anyLocality || tiers.length < 2) return hasOpen(whole, by.tried) ? whole : null
  let left = by.hash === null ? by.random() : partOf(by.hash)
  let drawn: Tier | null = null
  for (const tier of tiers) {
    if (tier.share > 0) drawn = tier // the last one with a share, should the shares add up to a little less than 1
    left -= tier.share
    if (left < 0) break
  }
  if (drawn !== null && hasOpen(drawn, by.tried)) return drawn
  const others = tiers.filter((tier) => hasOpen(tier, by.tried))
  return others.find(({ share }) => share > 0) ?? others[0] ?? null
}

function hasOpen({ endpoints }: Tier, tried: ReadonlySet<string> | null): boolean {
  if (tried === null || tried.size === 0) return endpoints.length > 0
  return endpoints.some((endpoint) => !tried.has(nameOf(endpoint)))
}

function untried(endpoints: readonly Endpoint[], tried: ReadonlySet<string> | null): readonly Endpoint[] {
  if (tried === null || tried.size === 0) return endpoints
  return endpoints.filter((endpoint) => !tried.has(nameOf(endpoint)))
}

/** Among those who are alike. */
function one(balancer: Balancer, key: string, open: readonly Endpoint[], { load, random }: Footing): Endpoint | null {
  if (open.length < 2) return open[0] ?? null
  switch (balancer) {
    case 'PASSTHROUGH': // one endpoint: what was dialled; several only where nobody knows what was
    case 'ROUND_ROBIN':
      return at(open, load.turn(key))
    case 'RANDOM':
      return at(open, Math.floor(random() * open.length))
    case 'LEAST_REQUEST': {
      const first = Math.floor(random() * open.length)
      const other = (first + 1 + Math.floor(random() * (open.length - 1))) % open.length
      return lesser(at(open, first), at(open, other), load)
    }
  }
}

/** The golden ratio's part behind the point: its multiples fill a circle evenly, however many there are. */
const EVENLY = 0.6180339887498949

/** Draws for a second choice that is another one, before the first stands alone. */
const DRAWS = 3

/** Among those who have shares of their own. LEAST_REQUEST takes the lesser of two that are drawn by share. */
function weighed(
  balancer: Balancer,
  key: string,
  { open, weights }: { readonly open: readonly Endpoint[]; readonly weights: Weights },
  { load, random }: Footing,
): Endpoint | null {
  if (open.length < 2) return open[0] ?? null
  switch (balancer) {
    case 'PASSTHROUGH':
    case 'ROUND_ROBIN':
      return at(open, indexAt(weights, (load.turn(key) * EVENLY) % 1))
    case 'RANDOM':
      return at(open, indexAt(weights, random()))
    case 'LEAST_REQUEST': {
      const first = indexAt(weights, random())
      for (let draw = 0; draw < DRAWS; draw++) {
        const other = indexAt(weights, random())
        if (other !== first) return lesser(at(open, first), at(open, other), load)
      }
      return at(open, first)
    }
  }
}

function lesser(one: Endpoint, other: Endpoint, load: Load): Endpoint {
  return load.active(nameOf(other)) < load.active(nameOf(one)) ? other : one
}

/** What a caller is told where pick() finds nobody: the family, for the other one may have endpoints. */
export function exhausted({ host, family }: Backends): string {
  return `no IPv${family} endpoint of ${host} is left`
}

function at(endpoints: readonly Endpoint[], index: number): Endpoint {
  return endpoints[index % endpoints.length] as Endpoint // never empty: pick returned before
}
