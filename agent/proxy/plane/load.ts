// Work under way on this node: how much each endpoint carries, and whose turn it is.

import type { Load } from '../../model/balance/balance.ts'
import type { Random } from '../../model/chance.ts'
import type { Counts } from './counts.ts'

/** Sets whose turn is remembered; beyond, all begin anew. */
const TURNS_LIMIT = 20_000
/** Turns begin below this one. */
const TURNS_FROM = 2 ** 20

/** What an endpoint carries through this worker. */
interface Carried {
  /** Where all workers count it together; null: it has no place there, and this worker counts for itself. */
  readonly row: number | null
  count: number
}

export class NodeLoad implements Load {
  readonly #counts: Counts | null
  /** Rows by endpoint. */
  readonly #rows = new Map<string, number>()
  readonly #carried = new Map<string, Carried>()
  readonly #turns = new Map<string, number>()
  readonly #random: Random

  /** Without shared counts there is one worker. Turns begin where `random` says, or all workers would begin with one endpoint. */
  constructor(counts: Counts | null = null, random: Random = () => 0) {
    this.#counts = counts
    this.#random = random
  }

  /** Endpoints with work under way through this worker. */
  get size(): number {
    return this.#carried.size
  }

  active(endpoint: string): number {
    const row = this.#rows.get(endpoint)
    if (row !== undefined && this.#counts !== null) return this.#counts.total(row)
    return this.#carried.get(endpoint)?.count ?? 0
  }

  turn(key: string): number {
    if (this.#turns.size >= TURNS_LIMIT) this.#turns.clear()
    const turn = this.#turns.get(key) ?? Math.floor(this.#random() * TURNS_FROM)
    this.#turns.set(key, turn + 1)
    return turn
  }

  begin(endpoint: string): void {
    let carried = this.#carried.get(endpoint)
    if (carried === undefined) {
      carried = { row: this.#counts === null ? null : (this.#rows.get(endpoint) ?? null), count: 0 }
      this.#carried.set(endpoint, carried)
    }
    carried.count++
    if (carried.row !== null) this.#counts?.enter(carried.row)
  }

  end(endpoint: string): void {
    const carried = this.#carried.get(endpoint)
    if (carried === undefined) return
    // the row it began in: that of an endpoint which is gone meanwhile is no other's until nothing is counted there
    if (carried.row !== null) this.#counts?.leave(carried.row)
    if (--carried.count === 0) this.#carried.delete(endpoint)
  }

  /** Takes over which row is whose; null: no more. */
  setRows(rows: Iterable<readonly [endpoint: string, row: number | null]>): void {
    for (const [endpoint, row] of rows) {
      if (row === null) this.#rows.delete(endpoint)
      else this.#rows.set(endpoint, row)
    }
  }

  /** Forgets which row is whose. */
  forgetRows(): void {
    this.#rows.clear()
  }
}
