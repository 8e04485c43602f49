// What one worker has yet to be told, in order: one version at a time, piece by piece as the worker asks for them. What
// changes meanwhile is gathered, so that a slow worker costs no more memory than the inventory has.

import { type Delta, Gathered, type Piece, pieces, wholeOf } from '../model/delta.ts'
import type { Inventory } from '../model/snapshot.ts'
import type { RowChanges, ToWorker } from '../proxy/plane/feed.ts'

/** Everything, for a worker that has nothing. */
export interface Whole {
  readonly inventory: Inventory
  readonly rows: Iterable<readonly [endpoint: string, row: number]>
}

/** Rows told with one piece. */
const ROWS_A_PIECE = 128

export class Outbox {
  readonly #post: (message: ToWorker) => void
  readonly #whole: () => Whole
  #wantsWhole = true
  /** What is under way, or null. */
  #pieces: Generator<Piece> | null = null
  #rows: (readonly [string, number | null])[] = []
  #gathered: { readonly deltas: Gathered; readonly rows: Map<string, number | null> } | null = null
  /** Told once what is under way is in force, and once what is gathered is. */
  #before: ToWorker[] = []
  #after: ToWorker[] = []

  constructor(post: (message: ToWorker) => void, whole: () => Whole) {
    this.#post = post
    this.#whole = whole
  }

  /** Tells of a change, now or when its turn comes. */
  change(delta: Delta, rows: ReadonlyMap<string, number | null>): void {
    if (this.#pieces === null) return this.#begin(delta, rows)
    this.#gathered ??= { deltas: new Gathered(), rows: new Map() }
    this.#gathered.deltas.add(delta)
    for (const [endpoint, row] of rows) this.#gathered.rows.set(endpoint, row)
  }

  /** Tells all there is, to a worker that has nothing yet. */
  begin(): void {
    this.#begin(null, new Map())
  }

  /** Tells once all that was changed before is in force. */
  tell(message: ToWorker): void {
    if (this.#pieces === null) this.#post(message)
    else if (this.#gathered === null) this.#before.push(message)
    else this.#after.push(message)
  }

  /** The worker wants the next piece. */
  next(): void {
    const piece = this.#pieces?.next().value as Piece | undefined
    if (piece === undefined) return
    const rows: RowChanges = this.#rows.splice(0, piece.last ? Infinity : ROWS_A_PIECE)
    this.#post({ type: 'piece', piece, rows })
  }

  /** The worker is through with a version: it is in force, or cannot be. Then it is told everything with the next. */
  settled(how: 'applied' | 'rejected'): void {
    if (this.#pieces === null) return
    this.#pieces = null
    if (how === 'rejected') this.#wantsWhole = true
    for (const message of this.#before) this.#post(message)
    this.#before = this.#after
    this.#after = []
    const gathered = this.#gathered
    this.#gathered = null
    const delta = gathered?.deltas.delta() ?? null
    if (gathered !== null && delta !== null) this.#begin(delta, gathered.rows)
  }

  #begin(delta: Delta | null, rows: ReadonlyMap<string, number | null>): void {
    if (this.#wantsWhole || delta === null) {
      const whole = this.#whole()
      this.#wantsWhole = false
      this.#rows = [...whole.rows]
      this.#pieces = pieces(wholeOf(whole.inventory))
    } else {
      this.#rows = [...rows]
      this.#pieces = pieces(delta)
    }
    this.next()
  }
}
