// A bounded table in memory that all threads share: a cell for each text that somebody uses. Any worker claims the cell of a
// text by itself; the last to let go of it gives it to whoever comes next. Claims are rare, so one lock guards them all.

/** The memory of one table, and how it is laid out. Good in every thread of this process. */
export interface CellMemory {
  readonly buffer: SharedArrayBuffer
  /** Cells at most. */
  readonly capacity: number
  /** Words of a cell that are its users'; all 0 as the cell is given to a text. */
  readonly words: number
  /** Bytes of the text that are kept; a longer one is told from others by its hash alone. */
  readonly textBytes: number
}

/** Bits of a word: so many workers may use one table. */
export const COLUMNS_MAX = 31

/** In place of a worker's number: the control side has the lock. */
const CONTROL = -1

// the head of the memory
const LOCK = 0
const FREE = 1 // first of the cells that were given back; a cell is named by its number and one, 0 is none
const FRESH = 2 // cells from here on were never used
const BUCKETS = 4

// a cell, ahead of its users' words
const HIGH = 0
const LOW = 1
const NEXT = 2
const USERS = 3
const LENGTH = 4
const TEXT = 5

const WORD_BYTES = Int32Array.BYTES_PER_ELEMENT

/** How long a lock is waited for: it is held for microseconds, longer only where its thread has ended. */
const LOCK_TRIES = 20
const CONTROL_LOCK_TRIES = 100
const LOCK_WAIT_MS = 1

/** Memory for so many cells. What is not used yet costs addresses alone. */
export function cellMemory(layout: Omit<CellMemory, 'buffer'>): CellMemory {
  const { capacity } = layout
  const words = BUCKETS + bucketsFor(capacity) + capacity * strideOf(layout)
  return { ...layout, buffer: new SharedArrayBuffer(words * WORD_BYTES) }
}

function bucketsFor(capacity: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(2, capacity)))
}

function strideOf({ words, textBytes }: Omit<CellMemory, 'buffer'>): number {
  return TEXT + Math.ceil(textBytes / WORD_BYTES) + words
}

/** 64 bits of a text, `seed` mixed in: two rounds of multiplication a character (Austin Appleby's MurmurHash2 constants). */
export function hashOf(text: string, seed = 0): readonly [high: number, low: number] {
  let high = 0x9747b28c ^ seed
  let low = 0x1b873593 ^ Math.imul(seed, 0x5bd1e995)
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    high = Math.imul(high ^ code, 0x5bd1e995)
    low = Math.imul(low ^ code ^ (high >>> 15), 0x27d4eb2f)
    high ^= low >>> 13
  }
  high = Math.imul(high ^ (high >>> 16) ^ low, 0x85ebca6b)
  low = Math.imul(low ^ (low >>> 15) ^ high, 0xc2b2ae35)
  return [high ^ (high >>> 13), low ^ (low >>> 16)]
}

/** A lock in shared memory: 0 where nobody has it, else its holder. Returns false where it cannot be had in time. */
export function lock(words: Int32Array, at: number, holder: number, tries = LOCK_TRIES): boolean {
  for (let i = 0; i < tries; i++) {
    const held = Atomics.compareExchange(words, at, 0, holder)
    if (held === 0) return true
    Atomics.wait(words, at, held, LOCK_WAIT_MS)
  }
  return false
}

export function unlock(words: Int32Array, at: number): void {
  Atomics.store(words, at, 0)
}

/** The table as one worker uses it, by its column; without one, as the control side looks over it. */
export class CellTable {
  /** Where the users' words of all cells are. */
  readonly words: Int32Array
  readonly #memory: CellMemory
  readonly #bytes: Uint8Array
  readonly #column: number | null
  readonly #stride: number
  readonly #buckets: number
  readonly #freed: (at: number) => void
  #tries = LOCK_TRIES

  /** `freed` hears of a cell that nobody uses any more, before another may have it. */
  constructor(memory: CellMemory, column: number | null, freed: (at: number) => void = () => {}) {
    this.#memory = memory
    this.words = new Int32Array(memory.buffer)
    this.#bytes = new Uint8Array(memory.buffer)
    this.#column = column
    this.#stride = strideOf(memory)
    this.#buckets = bucketsFor(memory.capacity)
    this.#freed = freed
  }

  /** Where the words of a text's cell begin, which it has until let go; null where there is no room, or no lock to be had. */
  claim(text: string, seed = 0): number | null {
    const hash = hashOf(text, seed)
    const bytes = Buffer.from(text)
    return this.#locked(() => {
      const known = this.#find(hash, bytes)
      const cell = known ?? this.#make(hash, bytes)
      if (cell === null) return null
      const at = this.#at(cell)
      this.words[at + USERS] = this.#word(at + USERS) | this.#bit
      if (known === null) {
        const bucket = this.#bucketOf(hash[1])
        this.words[at + NEXT] = this.#word(bucket)
        Atomics.store(this.words, bucket, cell)
      }
      return at + this.#stride - this.#memory.words
    })
  }

  /** The worker uses the cell no more; false where that could not be said now. */
  letGo(at: number): boolean {
    const cell = this.#cellOf(at)
    return (
      this.#locked(() => {
        const base = this.#at(cell)
        const users = this.#word(base + USERS) & ~this.#bit
        this.words[base + USERS] = users
        if (users === 0) {
          this.#unlink(cell)
          this.#give(cell)
        }
        return true
      }) ?? false
    )
  }

  /** Every cell in use: where its words begin, and its text as far as it is kept. Not exact while workers claim and let go. */
  *all(): Generator<{ readonly at: number; readonly text: string }> {
    const fresh = Atomics.load(this.words, FRESH)
    for (let cell = 1; cell <= fresh; cell++) {
      const base = this.#at(cell)
      if (Atomics.load(this.words, base + USERS) === 0) continue
      yield { at: base + this.#stride - this.#memory.words, text: this.#textAt(base) }
    }
  }

  /** The text of a cell, as far as it is kept. */
  textOf(at: number): string {
    return this.#textAt(this.#at(this.#cellOf(at)))
  }

  /**
   * Takes back what a worker used that has ended: its cells, and the lock where it ended with it. The chains are made anew, for
   * it may have ended between two words of them. False where another has the lock for too long: its cells then stay in use.
   */
  clear(column: number): boolean {
    const { words } = this
    const isHeld = Atomics.compareExchange(words, LOCK, column + 1, CONTROL) === column + 1
    if (!isHeld && !lock(words, LOCK, CONTROL, CONTROL_LOCK_TRIES)) return false
    const gone: number[] = []
    words.fill(0, BUCKETS, BUCKETS + this.#buckets)
    words[FREE] = 0
    for (let cell = Math.min(this.#word(FRESH), this.#memory.capacity); cell > 0; cell--) {
      const base = this.#at(cell)
      const before = this.#word(base + USERS)
      const users = before & ~(1 << column)
      words[base + USERS] = users
      if (before !== 0 && users === 0) gone.push(cell)
      if (users === 0) {
        words[base + NEXT] = this.#word(FREE)
        words[FREE] = cell
        continue
      }
      const bucket = this.#bucketOf(this.#word(base + LOW))
      words[base + NEXT] = this.#word(bucket)
      words[bucket] = cell
    }
    for (const cell of gone) this.#freed(this.#at(cell) + this.#stride - this.#memory.words)
    unlock(words, LOCK)
    return true
  }

  get #bit(): number {
    return 1 << (this.#column as number)
  }

  #locked<T>(work: () => T): T | null {
    const isHad = lock(this.words, LOCK, (this.#column as number) + 1, this.#tries)
    this.#tries = isHad ? LOCK_TRIES : 1 // whoever has it has ended: until that is cleared up nobody waits for long
    if (!isHad) return null
    try {
      return work()
    } finally {
      unlock(this.words, LOCK)
    }
  }

  #find([high, low]: readonly [number, number], bytes: Uint8Array): number | null {
    const { words } = this
    for (let cell = this.#word(this.#bucketOf(low)); cell !== 0; cell = this.#word(this.#at(cell) + NEXT)) {
      const at = this.#at(cell)
      if (words[at + LOW] === low && words[at + HIGH] === high && this.#isText(at, bytes)) return cell
    }
    return null
  }

  #isText(at: number, bytes: Uint8Array): boolean {
    if (this.#word(at + LENGTH) !== bytes.length) return false
    const from = (at + TEXT) * WORD_BYTES
    const kept = Math.min(bytes.length, this.#memory.textBytes)
    for (let i = 0; i < kept; i++) if (this.#bytes[from + i] !== bytes[i]) return false
    return true
  }

  /** A cell for a text that has none: in no chain yet, and nobody's. */
  #make([high, low]: readonly [number, number], bytes: Uint8Array): number | null {
    const cell = this.#take()
    if (cell === null) return null
    const { words } = this
    const at = this.#at(cell)
    words.fill(0, at, at + this.#stride)
    words[at + HIGH] = high
    words[at + LOW] = low
    words[at + LENGTH] = bytes.length
    this.#bytes.set(bytes.subarray(0, this.#memory.textBytes), (at + TEXT) * WORD_BYTES)
    return cell
  }

  #take(): number | null {
    const free = this.#word(FREE)
    if (free !== 0) {
      this.words[FREE] = this.#word(this.#at(free) + NEXT)
      return free
    }
    const fresh = this.#word(FRESH)
    if (fresh >= this.#memory.capacity) return null
    Atomics.store(this.words, FRESH, fresh + 1)
    return fresh + 1
  }

  #unlink(cell: number): void {
    let link = this.#bucketOf(this.#word(this.#at(cell) + LOW))
    while (this.#word(link) !== cell) link = this.#at(this.#word(link)) + NEXT
    this.words[link] = this.#word(this.#at(cell) + NEXT)
  }

  #give(cell: number): void {
    this.#freed(this.#at(cell) + this.#stride - this.#memory.words)
    this.words[this.#at(cell) + NEXT] = this.#word(FREE)
    this.words[FREE] = cell
  }

  #at(cell: number): number {
    return BUCKETS + this.#buckets + (cell - 1) * this.#stride
  }

  #cellOf(at: number): number {
    return Math.floor((at - BUCKETS - this.#buckets) / this.#stride) + 1
  }

  #bucketOf(low: number): number {
    return BUCKETS + (low & (this.#buckets - 1))
  }

  #word(at: number): number {
    return this.words[at] as number
  }

  #textAt(base: number): string {
    const from = (base + TEXT) * WORD_BYTES
    const kept = Math.min(this.#word(base + LENGTH), this.#memory.textBytes)
    return Buffer.from(this.#bytes.slice(from, from + kept)).toString()
  }
}
