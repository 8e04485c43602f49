// Who has which row of the node's shared counts: an endpoint or a captured pod keeps its row as long as it lives, and the
// row is another's only once every worker has heard that it is gone and counts nothing there.

import { clearColumn, clearRow, makeRoom, type SharedCounts, sharedCounts } from '../proxy/plane/counts.ts'

/** A row whose owner is gone. */
interface Left {
  readonly row: number
  /** Once all workers have this version in force, none of them counts anew in the row. */
  readonly version: number
}

/** Rows looked at in one go for whether they can be used again. */
const SWEEP = 64

export class CountRows {
  readonly shared: SharedCounts
  readonly #rows = new Map<string, number>()
  readonly #left = new Map<string, Left>()
  readonly #free: number[] = []
  #next = 0

  constructor(workers: number) {
    this.shared = sharedCounts(workers)
  }

  /** The owners and their rows. */
  get rows(): ReadonlyMap<string, number> {
    return this.#rows
  }

  /** The row of an owner: the one it has, or had while it is nobody else's yet. Null where there are no more. */
  take(owner: string): number | null {
    const known = this.#rows.get(owner) ?? this.#left.get(owner)?.row
    const row = known ?? this.#free.pop() ?? this.#fresh()
    if (row === null) return null
    this.#left.delete(owner)
    this.#rows.set(owner, row)
    return row
  }

  /** The owner is gone; workers know it by the time they have `version` in force. */
  leave(owner: string, version: number): void {
    const row = this.#rows.get(owner)
    if (row === undefined) return
    this.#rows.delete(owner)
    this.#left.set(owner, { row, version })
  }

  /** Frees rows that nobody can count in any more: all workers have `version` in force. */
  sweep(version: number): void {
    let looked = 0
    for (const [owner, left] of this.#left) {
      if (looked++ >= SWEEP || left.version > version) return
      this.#left.delete(owner)
      if (clearRow(this.shared, left.row)) this.#free.push(left.row)
      else this.#left.set(owner, left) // looked at again after the others
    }
  }

  /** Takes back what a worker has counted that is no more. */
  clear(column: number): void {
    clearColumn(this.shared, column)
  }

  #fresh(): number | null {
    return makeRoom(this.shared, this.#next) ? this.#next++ : null
  }
}

/** The rows of all endpoints, each behind any number of services. */
export class EndpointRows {
  readonly #rows: CountRows
  readonly #ofService = new Map<string, readonly string[]>()
  readonly #uses = new Map<string, number>()

  constructor(rows: CountRows) {
    this.#rows = rows
  }

  /** Every endpoint and its row. */
  *all(): Generator<readonly [string, number]> {
    for (const endpoint of this.#uses.keys()) {
      const row = this.#rows.rows.get(endpoint)
      if (row !== undefined) yield [endpoint, row]
    }
  }

  /** A service has these endpoints now, by `ip:port`; none where it is gone. Adds what changed to `changes`. */
  put(host: string, endpoints: readonly string[], version: number, changes: Map<string, number | null>): void {
    const before = this.#ofService.get(host) ?? []
    if (endpoints.length === 0) this.#ofService.delete(host)
    else this.#ofService.set(host, endpoints)
    for (const endpoint of endpoints) {
      const uses = this.#uses.get(endpoint) ?? 0
      this.#uses.set(endpoint, uses + 1)
      if (uses > 0) continue
      const row = this.#rows.take(endpoint)
      if (row !== null) changes.set(endpoint, row)
    }
    for (const endpoint of before) {
      const uses = (this.#uses.get(endpoint) ?? 0) - 1
      if (uses > 0) {
        this.#uses.set(endpoint, uses)
        continue
      }
      this.#uses.delete(endpoint)
      this.#rows.leave(endpoint, version)
      changes.set(endpoint, null)
    }
  }
}
