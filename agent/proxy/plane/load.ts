// Work under way on this node: how much each endpoint carries, and whose turn it is.

import type { Load } from '../../model/balance.ts'

/** Sets whose turn is remembered; beyond, all begin anew. */
const TURNS_LIMIT = 20_000

export class NodeLoad implements Load {
  readonly #active = new Map<string, number>()
  readonly #turns = new Map<string, number>()

  /** Endpoints with work under way. */
  get size(): number {
    return this.#active.size
  }

  active(endpoint: string): number {
    return this.#active.get(endpoint) ?? 0
  }

  turn(key: string): number {
    if (this.#turns.size >= TURNS_LIMIT) this.#turns.clear()
    const turn = this.#turns.get(key) ?? 0
    this.#turns.set(key, turn + 1)
    return turn
  }

  begin(endpoint: string): void {
    this.#active.set(endpoint, this.active(endpoint) + 1)
  }

  end(endpoint: string): void {
    const active = this.active(endpoint) - 1
    if (active > 0) this.#active.set(endpoint, active)
    else this.#active.delete(endpoint)
  }
}
