// sessionAffinity ClientIP of a Service: one client keeps one endpoint, for as long as that stands.

import { type Load, pick } from './balance.ts'
import type { Backends, Random } from './route.ts'
import { type Endpoint, nameOf } from './service.ts'

/** Which endpoint a client was given, by the names of set and client. */
export interface Affinities {
  /** The endpoint's name, or null where nobody asked for so long that it is forgotten. */
  recall(key: string): string | null
  /** Kept for so many seconds from now. */
  remember(key: string, endpoint: string, seconds: number): void
}

/** What picking stands on. */
export interface Ground {
  readonly load: Load
  readonly affinities: Affinities
  readonly random: Random
}

/**
 * As pick(), but where the Service wants affinity the client gets the endpoint it had. One that is new, or whose endpoint is
 * gone or was tried in vain, gets the one that its address hashes highest with: the same in each worker.
 */
export function pickFor(
  client: string,
  backends: Backends,
  ground: Ground,
  tried: ReadonlySet<string>,
): Endpoint | null {
  const { affinitySeconds: seconds } = backends
  if (seconds === null) return pick(backends, ground.load, ground.random, tried)
  const key = `${backends.key}|${client}`
  const known = ground.affinities.recall(key)
  const open = backends.endpoints.filter((endpoint) => !tried.has(nameOf(endpoint)))
  const endpoint = open.find((candidate) => nameOf(candidate) === known) ?? highest(client, open)
  if (endpoint !== null) ground.affinities.remember(key, nameOf(endpoint), seconds)
  return endpoint
}

/** Rendezvous hashing: an endpoint that comes or goes moves its own clients alone. */
function highest(client: string, endpoints: readonly Endpoint[]): Endpoint | null {
  let best: Endpoint | null = null
  let most = -1
  for (const endpoint of endpoints) {
    const weight = hash(`${client}|${nameOf(endpoint)}`)
    if (weight > most) [best, most] = [endpoint, weight]
  }
  return best
}

/** FNV-1a with a final mix, 32 bits. */
function hash(text: string): number {
  let sum = 0x811c9dc5
  for (let at = 0; at < text.length; at++) sum = Math.imul(sum ^ text.charCodeAt(at), 0x01000193)
  sum = Math.imul(sum ^ (sum >>> 16), 0x85ebca6b)
  return (sum ^ (sum >>> 13)) >>> 0
}
