// What all workers of the node count together of hosts that a rule bounds, and of the endpoints that may be ejected: a cell
// for each in shared memory, claimed by the text of the policy's scope. A count is a total, then a column a worker, so that
// what one that died had counted is taken back.

import { type CellMemory, cellMemory, CellTable, COLUMNS_MAX } from './cell-table.ts'

/** The memory, and for how many workers. Good in every thread of this process. */
export interface BreakerMemory {
  readonly scopes: CellMemory
  readonly endpoints: CellMemory
  /** A word a worker: whoever changes it wakes that worker. */
  readonly bells: SharedArrayBuffer
  readonly columns: number
}

/** Cells where nobody says how many: with four workers some 6 MB of addresses, of which only what is used takes memory. */
export const SCOPES = 4096
export const ENDPOINTS = 32_768

/** What is kept of the text of a scope, for people to read, and of an `ip:port`, whole. */
const SCOPE_BYTES = 384
const ENDPOINT_BYTES = 48

/** Parts of the interval that requests are counted by, for a retry budget over time. */
export const WINDOW_PARTS = 10

/** Words of a scope: who has its lock; changes of who is ejected; how many are; when the first interval began. */
export const LOCK = 0
export const EPOCH = 1
export const EJECTED_COUNT = 2
export const PHASE = 3
/** The last number that was given to one who waits for a connection. */
export const ARRIVALS = 4
export const WINDOW = 5
const COUNTS = WINDOW + WINDOW_PARTS

/** What is counted of a scope. `waiting`: of `pending` those that have no place for a connection yet. */
export const COUNTED = ['connections', 'pending', 'waiting', 'requests', 'retries'] as const
export type Counted = (typeof COUNTED)[number]

/** Words of an endpoint: where its scope is; failures in a row, of each kind. */
export const SCOPE = 0
export const ANY = 1
export const GATEWAY = 2
export const LOCAL = 3
/** Whether it is ejected, and how it stands (model/balance/outlier.ts); times are the low 32 bits of milliseconds. */
export const EJECTED = 4
export const TIMES = 5
export const AT_MS = 6
export const CHECKED_MS = 7
export const LASTS_MS = 8
export const ENDPOINT_WORDS = 9

/** Where the first places in the queues of all workers stand, a word each: the number of who waits longest, or 0. */
export function headsAt(columns: number): number {
  return COUNTS + COUNTED.length * (1 + columns)
}

export function scopeWords(columns: number): number {
  return headsAt(columns) + columns
}

/** Memory for so many workers. Throws where there are more than a table has bits for. */
export function breakerMemory(columns: number, { scopes = SCOPES, endpoints = ENDPOINTS } = {}): BreakerMemory {
  if (columns > COLUMNS_MAX) throw new RangeError(`${columns} workers: a table of cells knows ${COLUMNS_MAX} apart`)
  return {
    scopes: cellMemory({ capacity: scopes, words: scopeWords(columns), textBytes: SCOPE_BYTES }),
    endpoints: cellMemory({ capacity: endpoints, words: ENDPOINT_WORDS, textBytes: ENDPOINT_BYTES }),
    bells: new SharedArrayBuffer(columns * Int32Array.BYTES_PER_ELEMENT),
    columns,
  }
}

/** Milliseconds as a word keeps them, and back: good for moments within 24 days of `nowMs`. */
export function toWord(ms: number): number {
  return Math.floor(ms) | 0
}

export function fromWord(word: number, nowMs: number): number {
  const now = Math.floor(nowMs)
  return now - (((now | 0) - word) | 0)
}

/** A count of one scope, as one worker adds to it. */
export class Count {
  readonly #words: Int32Array
  readonly #total: number
  readonly #own: number

  constructor(words: Int32Array, total: number, column: number) {
    this.#words = words
    this.#total = total
    this.#own = total + 1 + column
  }

  get total(): number {
    return Atomics.load(this.#words, this.#total)
  }

  /** What a worker counted of it. */
  of(column: number): number {
    return Atomics.load(this.#words, this.#total + 1 + column)
  }

  /** Counts one more; false where there are `max` already. */
  enter(max = Infinity): boolean {
    // straight on once it is exchanged: a thread is not ended between the two
    for (;;) {
      const before = Atomics.load(this.#words, this.#total)
      if (before >= max) return false
      if (Atomics.compareExchange(this.#words, this.#total, before, before + 1) === before) break
    }
    Atomics.add(this.#words, this.#own, 1)
    return true
  }

  leave(): void {
    Atomics.sub(this.#words, this.#total, 1)
    Atomics.sub(this.#words, this.#own, 1)
  }
}

/** The counts of a scope whose words begin at `at`, for one worker. */
export function countsOf(
  { words, at }: { readonly words: Int32Array; readonly at: number },
  columns: number,
  column: number,
): Readonly<Record<Counted, Count>> {
  const of = (index: number): Count => new Count(words, at + COUNTS + index * (1 + columns), column)
  return { connections: of(0), pending: of(1), waiting: of(2), requests: of(3), retries: of(4) }
}

/** Says that an endpoint of the scope is ejected no more, or is anew. */
export function noteEjected(scopes: Int32Array, scopeAt: number, by: 1 | -1): void {
  Atomics.add(scopes, scopeAt + EJECTED_COUNT, by)
  Atomics.add(scopes, scopeAt + EPOCH, 1)
}

/** Endpoints' cells, for one worker, or for the control side: one that is given back takes its ejection with it. */
export function endpointTable({ scopes, endpoints }: BreakerMemory, column: number | null): CellTable {
  const words = new Int32Array(scopes.buffer)
  const table: CellTable = new CellTable(endpoints, column, (at) => {
    if (table.words[at + EJECTED] === 1) noteEjected(words, table.words[at + SCOPE] as number, -1)
  })
  return table
}

/** Wakes a worker: it looks after those that wait for a connection with it. */
export function ring(bells: Int32Array, column: number): void {
  Atomics.add(bells, column, 1)
  Atomics.notify(bells, column)
}

/** Takes back all that a worker counted, once it counts no more, and wakes the others. */
export function clearWorker(memory: BreakerMemory, column: number): void {
  const { columns } = memory
  const scopes = new CellTable(memory.scopes, null)
  const { words } = scopes
  for (const { at } of scopes.all()) {
    for (let index = 0; index < COUNTED.length; index++) {
      const total = at + COUNTS + index * (1 + columns)
      const counted = Atomics.exchange(words, total + 1 + column, 0)
      if (counted !== 0) Atomics.sub(words, total, counted)
    }
    Atomics.store(words, at + headsAt(columns) + column, 0)
    Atomics.compareExchange(words, at + LOCK, column + 1, 0)
  }
  endpointTable(memory, null).clear(column)
  scopes.clear(column)
  const bells = new Int32Array(memory.bells)
  for (let other = 0; other < columns; other++) ring(bells, other)
}

/** An endpoint that is not asked now. */
export interface Ejection {
  /** As the policy names it: host, subset, port and rules. Long ones are cut. */
  readonly scope: string
  /** `ip:port` */
  readonly endpoint: string
  /** When it is asked again at the earliest, in milliseconds since 1970. */
  readonly untilMs: number
  /** What the base time was multiplied by. */
  readonly times: number
}

/** Who is ejected now, from any thread. `nowMs`: by the clock that workers go by; `wallMs`: the same since 1970. */
export function ejectionsIn(memory: BreakerMemory, { nowMs, wallMs }: { nowMs: number; wallMs: number }): Ejection[] {
  const scopes = new CellTable(memory.scopes, null)
  const endpoints = new CellTable(memory.endpoints, null)
  const read = (at: number): number => Atomics.load(endpoints.words, at)
  const found: Ejection[] = []
  for (const { at, text } of endpoints.all()) {
    if (read(at + EJECTED) !== 1) continue
    const untilMs = wallMs + fromWord(read(at + AT_MS), nowMs) + read(at + LASTS_MS) - nowMs
    found.push({ scope: scopes.textOf(read(at + SCOPE)), endpoint: text, untilMs, times: read(at + TIMES) })
  }
  return found
}
