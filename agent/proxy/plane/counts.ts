// Counts that are one for the node, whichever worker counts: a row for each pod and endpoint, in memory that all threads
// share. A row is the total, then a column a worker: what one that died had counted can be told, and taken back.

/** The shared memory, and how it is laid out. Good in every thread of this process. */
export interface SharedCounts {
  readonly buffer: SharedArrayBuffer
  /** Workers that may count. */
  readonly columns: number
}

/** Rows to begin with; the memory is doubled as they run out. */
export const ROWS_FIRST = 1024
/** Rows at most: beyond, a worker counts for itself alone. 1.3 MB with four workers. */
export const ROWS_MAX = 65_536

const CELL_BYTES = Int32Array.BYTES_PER_ELEMENT

/** Memory for so many workers. */
export function sharedCounts(columns: number): SharedCounts {
  const rowBytes = (1 + columns) * CELL_BYTES
  return { buffer: new SharedArrayBuffer(ROWS_FIRST * rowBytes, { maxByteLength: ROWS_MAX * rowBytes }), columns }
}

/** Makes room for a row; false where there is to be none. */
export function makeRoom({ buffer, columns }: SharedCounts, row: number): boolean {
  const needed = (row + 1) * (1 + columns) * CELL_BYTES
  if (needed > buffer.maxByteLength) return false
  if (needed > buffer.byteLength) buffer.grow(Math.min(Math.max(needed, buffer.byteLength * 2), buffer.maxByteLength))
  return true
}

/** The counts as one worker adds to them. */
export class Counts {
  /** Workers that count here. */
  readonly workers: number
  readonly #cells: Int32Array
  readonly #stride: number
  readonly #column: number

  constructor({ buffer, columns }: SharedCounts, column: number) {
    this.#cells = new Int32Array(buffer) // follows the buffer as it grows
    this.workers = columns
    this.#stride = 1 + columns
    this.#column = 1 + column
  }

  total(row: number): number {
    return Atomics.load(this.#cells, row * this.#stride)
  }

  /** Counts one more. Returns the total with it: no two workers are told the same while nobody leaves. */
  enter(row: number): number {
    // straight on: a thread is not ended between the two
    const at = row * this.#stride
    Atomics.add(this.#cells, at + this.#column, 1)
    return Atomics.add(this.#cells, at, 1) + 1
  }

  leave(row: number): void {
    const at = row * this.#stride
    Atomics.sub(this.#cells, at, 1)
    Atomics.sub(this.#cells, at + this.#column, 1)
  }
}

/** Takes back all that a worker has counted, once it counts no more. */
export function clearColumn({ buffer, columns }: SharedCounts, column: number): void {
  const cells = new Int32Array(buffer)
  for (let at = 0; at < cells.length; at += 1 + columns) {
    const counted = Atomics.exchange(cells, at + 1 + column, 0)
    if (counted !== 0) Atomics.sub(cells, at, counted)
  }
}

/** Makes a row ready for another's use, once nobody knows it any more; false while a worker still counts there. */
export function clearRow({ buffer, columns }: SharedCounts, row: number): boolean {
  const [total, ...counted] = Array.from({ length: 1 + columns }, (_, cell) => row * (1 + columns) + cell)
  const cells = new Int32Array(buffer)
  if (counted.some((at) => Atomics.load(cells, at) !== 0)) return false
  Atomics.store(cells, total as number, 0)
  return true
}
