// Which endpoint of a set serves next: pure, given the load each one carries.

import type { Backends, Random } from './route.ts'
import { type Endpoint, nameOf } from './service.ts'

/** What the node knows about work under way. */
export interface Load {
  /** Requests (or connections) now open to an endpoint, by its `ip:port`. */
  active(endpoint: string): number
  /** A number that grows by one at every call for the same key: whose turn it is. */
  turn(key: string): number
}

/**
 * Picks an endpoint, or null where none is left. `tried` holds the `ip:port` of endpoints that already failed this
 * request; they are passed over. LEAST_REQUEST is the power of two choices: of two drawn, the one with less under way.
 */
export function pick(
  backends: Backends,
  load: Load,
  random: Random,
  tried: ReadonlySet<string> | null = null,
): Endpoint | null {
  const open =
    tried === null || tried.size === 0
      ? backends.endpoints
      : backends.endpoints.filter((endpoint) => !tried.has(nameOf(endpoint)))
  if (open.length < 2) return open[0] ?? null
  switch (backends.balancer) {
    case 'ROUND_ROBIN':
      return at(open, load.turn(backends.key))
    case 'RANDOM':
      return at(open, Math.floor(random() * open.length))
    case 'LEAST_REQUEST': {
      const first = Math.floor(random() * open.length)
      const other = (first + 1 + Math.floor(random() * (open.length - 1))) % open.length
      const [a, b] = [at(open, first), at(open, other)]
      return load.active(nameOf(b)) < load.active(nameOf(a)) ? b : a
    }
  }
}

/** What a caller is told where pick() finds nobody: the family, for the other one may have endpoints. */
export function exhausted({ host, family }: Backends): string {
  return `no IPv${family} endpoint of ${host} is left`
}

function at(endpoints: readonly Endpoint[], index: number): Endpoint {
  return endpoints[index % endpoints.length] as Endpoint // never empty: pick returned before
}
