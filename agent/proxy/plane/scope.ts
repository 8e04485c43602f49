// A scope of policies as one worker uses it: its cell, those of its endpoints, and whether they are still in use.

import {
  type BreakerMemory,
  type Counted,
  type Count,
  countsOf,
  EJECTED,
  ENDPOINT_WORDS,
  endpointTable,
  noteEjected,
  PHASE,
  SCOPE,
  scopeWords,
  toWord,
} from './breaker-cells.ts'
import { CellTable, hashOf } from './cell-table.ts'

/** The cell of an endpoint. Its words are of the shared memory, or this worker's alone where there is no room. */
export interface EndpointCell {
  readonly words: Int32Array
  readonly at: number
  readonly isShared: boolean
  /** Looks since it was used last. */
  quiet: number
}

/** The tables that a worker claims cells of. */
export class ScopeTables {
  readonly memory: BreakerMemory
  readonly column: number
  readonly bells: Int32Array
  readonly scopes: CellTable
  readonly endpoints: CellTable
  /** Cells that could not be had: each worker counts for itself there. */
  exhausted = 0

  constructor(memory: BreakerMemory, column: number) {
    this.memory = memory
    this.column = column
    this.bells = new Int32Array(memory.bells)
    this.scopes = new CellTable(memory.scopes, column)
    this.endpoints = endpointTable(memory, column)
  }
}

export class Scope {
  readonly text: string
  readonly tables: ScopeTables
  readonly words: Int32Array
  readonly at: number
  /** Else this worker counts for itself alone. */
  readonly isShared: boolean
  readonly counts: Readonly<Record<Counted, Count>>
  readonly endpoints = new Map<string, EndpointCell>()
  /** What this worker has counted and not yet taken back: it keeps the cell. */
  held = 0
  /** Looks since it was used last. */
  quiet = 0
  /** Its cell may be another's by now. */
  isGone = false
  readonly #seed: number

  /** `nowMs`: the clock that all workers go by; of a cell that is new, intervals are counted from then. */
  constructor(text: string, tables: ScopeTables, nowMs: number) {
    const { memory, scopes, column } = tables
    const at = scopes.claim(text)
    if (at === null) tables.exhausted++
    this.text = text
    this.tables = tables
    this.isShared = at !== null
    this.words = at === null ? new Int32Array(scopeWords(memory.columns)) : scopes.words
    this.at = at ?? 0
    this.counts = countsOf(this, memory.columns, column)
    this.#seed = hashOf(text)[0]
    Atomics.compareExchange(this.words, this.at + PHASE, 0, toWord(nowMs) || 1)
  }

  read(word: number): number {
    return Atomics.load(this.words, this.at + word)
  }

  /** The cell of an endpoint, by its `ip:port`. */
  endpoint(name: string): EndpointCell {
    let cell = this.endpoints.get(name)
    if (cell === undefined) this.endpoints.set(name, (cell = this.#claim(name)))
    cell.quiet = 0
    return cell
  }

  /** Gives endpoints back that were not used for so many looks, unless `keeps` says that they matter. */
  shed(looks: number, keeps: (cell: EndpointCell) => boolean): void {
    for (const [name, cell] of this.endpoints) {
      if (++cell.quiet > looks && !keeps(cell)) this.#letGo(name, cell)
    }
  }

  /** Gives all back. False where something could not be now: it is as before then, and still in use. */
  leave(): boolean {
    for (const [name, cell] of this.endpoints) if (!this.#letGo(name, cell)) return false
    if (this.isShared && !this.tables.scopes.letGo(this.at)) return false
    this.isGone = true
    return true
  }

  #claim(name: string): EndpointCell {
    const { endpoints } = this.tables
    const at = this.isShared ? endpoints.claim(name, this.#seed) : null
    if (at === null) {
      this.tables.exhausted++
      return { words: new Int32Array(ENDPOINT_WORDS), at: 0, isShared: false, quiet: 0 }
    }
    Atomics.store(endpoints.words, at + SCOPE, this.at)
    return { words: endpoints.words, at, isShared: true, quiet: 0 }
  }

  #letGo(name: string, { words, at, isShared }: EndpointCell): boolean {
    if (isShared && !this.tables.endpoints.letGo(at)) return false
    if (!isShared && words[at + EJECTED] === 1) noteEjected(this.words, this.at, -1)
    this.endpoints.delete(name)
    return true
  }
}
