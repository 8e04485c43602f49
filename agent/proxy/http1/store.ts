// Bytes of a connection that must outlive the event that brought them. Idle connections hold no memory here.

import { type Budget, UNBOUNDED } from '../transport/budget.ts'

const FIRST_BYTES = 2048
const SPARE_STORES = 256
const spare: Buffer[] = []
const NONE = Buffer.alloc(0)

/** A growing run of bytes: `bytes[from, to)` is not consumed yet. Bounded by whoever appends. */
export class Store {
  bytes: Buffer = NONE
  from = 0
  to = 0

  readonly #budget: Budget

  constructor(budget: Budget = UNBOUNDED) {
    this.#budget = budget
  }

  get length(): number {
    return this.to - this.from
  }

  append(bytes: Buffer, from: number, to: number): void {
    const wanted = this.to + (to - from)
    if (wanted > this.bytes.length) this.#grow(wanted)
    bytes.copy(this.bytes, this.to, from, to)
    this.to = wanted
  }

  /** Moves what is left to the front, and gives the memory back where nothing is left. */
  compact(): void {
    if (this.from === this.to) {
      this.release()
      return
    }
    if (this.from === 0) return
    this.bytes.copy(this.bytes, 0, this.from, this.to)
    this.to -= this.from
    this.from = 0
  }

  release(): void {
    if (this.bytes === NONE) return
    this.#budget.held -= this.bytes.length
    if (this.bytes.length === FIRST_BYTES && spare.length < SPARE_STORES) spare.push(this.bytes)
    this.bytes = NONE
    this.from = this.to = 0
  }

  #grow(wanted: number): void {
    let size = Math.max(FIRST_BYTES, this.bytes.length)
    while (size < wanted) size *= 2
    const grown = size === FIRST_BYTES ? (spare.pop() ?? Buffer.allocUnsafeSlow(size)) : Buffer.allocUnsafeSlow(size)
    this.#budget.held += grown.length - this.bytes.length
    if (this.to > 0) this.bytes.copy(grown, 0, 0, this.to)
    if (this.bytes.length === FIRST_BYTES && spare.length < SPARE_STORES) spare.push(this.bytes)
    this.bytes = grown
  }
}
