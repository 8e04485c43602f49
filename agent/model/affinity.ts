// Session affinity as kube-proxy keeps it: a caller stays with its endpoint while it comes back in time.

import { addressText, type SocketAddress } from './address.ts'
import { type Load, pick } from './balance.ts'
import type { Backends, Random } from './route.ts'
import type { Endpoint } from './service.ts'

/** Callers that are remembered in all; beyond, who has not come for the longest is forgotten. */
export const AFFINITY_LIMIT = 65_536

interface Bond {
  readonly address: SocketAddress
  readonly untilMs: number
}

/** Who stays with whom: the state of pickFor, bounded. */
export class Affinity {
  /** In the order of the last visit. */
  readonly #bonds = new Map<string, Bond>()
  readonly #limit: number

  constructor(limit = AFFINITY_LIMIT) {
    this.#limit = limit
  }

  get size(): number {
    return this.#bonds.size
  }

  /** Where `key` was sent last, or null where that is too long ago. */
  known(key: string, nowMs: number): SocketAddress | null {
    const bond = this.#bonds.get(key)
    return bond === undefined || bond.untilMs <= nowMs ? null : bond.address
  }

  /** Notes a visit. */
  keep(key: string, address: SocketAddress, untilMs: number): void {
    this.#bonds.delete(key)
    if (this.#bonds.size >= this.#limit) this.#bonds.delete(this.#bonds.keys().next().value ?? '')
    this.#bonds.set(key, { address, untilMs })
  }
}

/** What a choice is made by. */
export interface Choosing {
  readonly load: Load
  readonly random: Random
  readonly affinity: Affinity
}

/**
 * Picks as `pick` does; with affinity, a caller's address gets the endpoint it got last, counted from its last visit, while
 * that one serves and has not failed this request. `nowMs` is any clock that never goes back.
 */
export function pickFor(
  backends: Backends,
  caller: { readonly ip: string; readonly nowMs: number },
  by: Choosing,
  tried: ReadonlySet<string> | null = null,
): Endpoint | null {
  if (backends.affinityMs === null) return pick(backends, by.load, by.random, tried)
  const key = `${caller.ip}|${backends.key}`
  const last = by.affinity.known(key, caller.nowMs)
  const chosen = (last && standing(backends, last, tried)) ?? pick(backends, by.load, by.random, tried)
  if (chosen !== null) by.affinity.keep(key, chosen.address, caller.nowMs + backends.affinityMs)
  return chosen
}

function standing({ endpoints }: Backends, last: SocketAddress, tried: ReadonlySet<string> | null): Endpoint | null {
  const found = endpoints.find(({ address }) => address.port === last.port && address.ip === last.ip)
  return found === undefined || tried?.has(addressText(last)) === true ? null : found
}
