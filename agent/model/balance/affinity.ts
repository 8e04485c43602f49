// sessionAffinity ClientIP of a Service: one client keeps one endpoint, for as long as that stands.

import { candidates, type Footing, pick, type Picking } from './balance.ts'
import type { Backends } from '../backends.ts'
import { textHash } from './hashing.ts'
import { type Endpoint, nameOf } from '../service.ts'

/** Which endpoint a client was given, by the names of set and client. */
export interface Affinities {
  /** The endpoint's name, or null where nobody asked for so long that it is forgotten. */
  recall(key: string): string | null
  /** Kept for so many seconds from now. */
  remember(key: string, endpoint: string, seconds: number): void
}

/** What picking stands on. */
export interface Ground extends Footing {
  readonly affinities: Affinities
}

/** For whom an endpoint is picked. */
export interface PickFor extends Picking {
  /** The caller's address. */
  readonly client: string
}

/**
 * As pick(), but where the Service wants affinity the client gets the endpoint it had. One that is new, or whose endpoint is
 * gone, ejected or was tried in vain, gets the one that its address hashes highest with: the same in each worker.
 */
export function pickFor(
  asked: PickFor,
  backends: Backends,
  ground: Ground,
  tried: ReadonlySet<string>,
): Endpoint | null {
  const { affinitySeconds: seconds } = backends
  if (seconds === null) return pick(backends, ground, asked, tried)
  const { client } = asked
  const key = `${backends.key}|${client}`
  const known = ground.affinities.recall(key)
  const open = candidates(backends, ground, tried)
  const endpoint = open.find((candidate) => nameOf(candidate) === known) ?? highest(client, open)
  if (endpoint !== null) ground.affinities.remember(key, nameOf(endpoint), seconds)
  return endpoint
}

/** Rendezvous hashing: an endpoint that comes or goes moves its own clients alone. */
function highest(client: string, endpoints: readonly Endpoint[]): Endpoint | null {
  let best: Endpoint | null = null
  let most = -1
  for (const endpoint of endpoints) {
    const weight = textHash(`${client}|${nameOf(endpoint)}`)
    if (weight > most) [best, most] = [endpoint, weight]
  }
  return best
}
