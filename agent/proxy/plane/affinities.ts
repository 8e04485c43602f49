// Which endpoint each client was given of Services that want it to keep one.

import type { Affinities } from '../../model/balance/affinity.ts'

/** Clients remembered; beyond, the one that asked longest ago is forgotten. */
const CLIENTS_LIMIT = 20_000

export class NodeAffinities implements Affinities {
  readonly #known = new Map<string, { readonly endpoint: string; readonly untilMs: number }>()
  readonly #nowMs: () => number

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  recall(key: string): string | null {
    const known = this.#known.get(key)
    if (known === undefined || known.untilMs > this.#nowMs()) return known?.endpoint ?? null
    this.#known.delete(key)
    return null
  }

  remember(key: string, endpoint: string, seconds: number): void {
    this.#known.delete(key) // so that the order is that of the last asking
    this.#known.set(key, { endpoint, untilMs: this.#nowMs() + seconds * 1000 })
    if (this.#known.size <= CLIENTS_LIMIT) return
    const [oldest] = this.#known.keys()
    if (oldest !== undefined) this.#known.delete(oldest)
  }
}
