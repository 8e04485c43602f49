// The body of an HTTP/1.1 message: where it ends, and which of its bytes are payload (RFC 9112 §6-§7). Pure.

import { CR, hexValue, LF } from './bytes.ts'
import { BEFORE_SEMICOLON, extension, LINE_CR, NO_EXTENSION } from './extension.ts'
import type { Framing } from './head.ts'
import { Trailers } from './trailers.ts'

/** Bytes of a chunk's size line, its extensions included: none that matter are longer. */
export const CHUNK_LINE_LIMIT = 1024
const SIZE_DIGITS = 12 // hexadecimal: stays an exact number

/** Takes a body's payload, without its framing. */
export interface PayloadSink {
  payload(bytes: Buffer, from: number, to: number): void
}

const SIZE = 0
const EXTENSION = 1
const SIZE_LF = 2
const DATA = 3
const DATA_CR = 4
const DATA_LF = 5
const TRAILER = 6

/** Reads one body after another. */
export class Body {
  framing: Framing = 'none'
  done = true
  #broken = false
  #left = 0
  #state = SIZE
  #digits = 0
  #line = 0
  #extension = BEFORE_SEMICOLON
  readonly #trailers = new Trailers()

  /** Makes ready for a body. `length` counts for framing `length` alone. */
  begin(framing: Framing, length: number): void {
    this.framing = framing
    this.done = framing === 'none'
    this.#left = framing === 'length' ? length : 0
    this.#state = SIZE
    this.#digits = this.#line = 0
    this.#broken = false
    this.#trailers.reset()
  }

  /** Once done: the trailer lines that may go on (name, colon, value, CRLF), or null. Valid until the next body. */
  get trailers(): Buffer | null {
    return this.#trailers.lines
  }

  /**
   * Takes `bytes[from, to)` and gives payload on. Returns where the body ended (`done` is true then) or `to`; -1 where
   * the framing is broken, now and ever after. Extensions are read and dropped.
   */
  feed(bytes: Buffer, from: number, to: number, sink: PayloadSink): number {
    switch (this.framing) {
      case 'none':
        return from
      case 'close':
        if (to > from) sink.payload(bytes, from, to)
        return to
      case 'length': {
        const end = Math.min(to, from + this.#left)
        this.#left -= end - from
        if (this.#left === 0) this.done = true
        if (end > from) sink.payload(bytes, from, end)
        return end
      }
      case 'chunked':
        return this.#chunks(bytes, from, to, sink)
    }
  }

  #chunks(bytes: Buffer, from: number, to: number, sink: PayloadSink): number {
    let p = from
    while (p < to && !this.done && !this.#broken) {
      if (this.#state === DATA) {
        const end = Math.min(to, p + this.#left)
        this.#left -= end - p
        if (this.#left === 0) this.#state = DATA_CR
        sink.payload(bytes, p, end)
        p = end
      } else this.#broken = !this.#framingByte(bytes[p++] as number)
    }
    return this.#broken ? -1 : p
  }

  /** One byte that is not payload; false where it may not stand here. */
  #framingByte(byte: number): boolean {
    switch (this.#state) {
      case SIZE: {
        const digit = hexValue(byte)
        if (digit >= 0) {
          this.#left = this.#left * 16 + digit
          return ++this.#digits <= SIZE_DIGITS
        }
        if (this.#digits === 0) return false
        this.#line = 0
        this.#state = byte === CR ? SIZE_LF : EXTENSION
        this.#extension = extension(BEFORE_SEMICOLON, byte)
        return byte === CR || this.#extension !== NO_EXTENSION
      }
      case EXTENSION:
        this.#extension = extension(this.#extension, byte)
        if (this.#extension === LINE_CR) this.#state = SIZE_LF
        return this.#extension !== NO_EXTENSION && ++this.#line <= CHUNK_LINE_LIMIT
      case SIZE_LF:
        this.#state = this.#left === 0 ? TRAILER : DATA
        this.#digits = 0
        return byte === LF
      case DATA_CR:
        this.#state = DATA_LF
        return byte === CR
      case DATA_LF:
        this.#state = SIZE
        return byte === LF
      default: {
        const taken = this.#trailers.take(byte)
        this.done = this.#trailers.done
        return taken
      }
    }
  }
}
