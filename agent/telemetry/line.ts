// One line of an access log as it is put together: bytes, not strings, for joining strings costs more than all the rest of
// a record. What it holds is JSON or text of one line, whatever went in.

import { isUtf8 } from 'node:buffer'

const FIRST_BYTES = 4096
const KEPT_BYTES = 64 * 1024
const ZERO = 0x30
const QUOTE = 0x22
const BACKSLASH = 0x5c
const INT32_MAX = 0x7fffffff

/** Up to here a loop is quicker than a native copy. */
const FEW = 32
/** Room for any number, a time, or a name of this code. */
const SHORT = 64
/** Bytes of the longest escape of one character: `\u0000`. */
const ESCAPE = 6

export class Line {
  /** What is written so far: the first `length` bytes. */
  bytes = Buffer.allocUnsafeSlow(FIRST_BYTES)
  length = 0

  clear(): void {
    this.length = 0
  }

  /** Bytes as they are. */
  put(part: Uint8Array): void {
    const { length } = part
    this.#room(length)
    const { bytes, length: at } = this
    if (length > FEW) bytes.set(part, at)
    else for (let i = 0; i < length; i++) bytes[at + i] = part[i] as number
    this.length = at + length
  }

  /** Latin-1 text as it is. */
  text(latin1: string): void {
    this.#room(latin1.length)
    this.length += this.bytes.write(latin1, this.length, 'latin1')
  }

  /** A whole number of milliseconds, bytes or the like, from 0 on. */
  int(value: number): void {
    this.#room(SHORT)
    const { bytes } = this
    if (value > INT32_MAX) {
      this.length += bytes.write(String(value), this.length, 'latin1')
      return
    }
    let digits = 1
    for (let bound = 10; value >= bound; bound *= 10) digits++
    let rest = value
    for (let at = this.length + digits - 1; at >= this.length; at--) {
      const tens = (rest / 10) | 0
      bytes[at] = ZERO + rest - 10 * tens
      rest = tens
    }
    this.length += digits
  }

  /** Three digits. */
  thousandths(value: number): void {
    this.#room(SHORT)
    const { bytes } = this
    bytes[this.length++] = ZERO + Math.floor(value / 100)
    bytes[this.length++] = ZERO + (Math.floor(value / 10) % 10)
    bytes[this.length++] = ZERO + (value % 10)
  }

  /** A JSON string of what a peer sent, one character a byte (Latin-1); bytes that are UTF-8 are read as such. */
  quoted(latin1: string): void {
    const { length } = latin1
    this.#room(ESCAPE * length + 2)
    const { bytes, length: at } = this
    bytes[at] = QUOTE
    for (let i = 0; i < length; i++) {
      const code = latin1.charCodeAt(i)
      if (!isPlain(code)) {
        this.length += bytes.write(jsonOf(decoded(latin1)), at, 'latin1')
        return
      }
      bytes[at + 1 + i] = code
    }
    bytes[at + 1 + length] = QUOTE
    this.length = at + length + 2
  }

  /** Gives back what one uncommonly long line took. */
  shrink(): void {
    if (this.bytes.length > KEPT_BYTES) this.bytes = Buffer.allocUnsafeSlow(FIRST_BYTES)
  }

  #room(count: number): void {
    if (this.length + count <= this.bytes.length) return
    const grown = Buffer.allocUnsafeSlow(2 * (this.length + count))
    this.bytes.copy(grown, 0, 0, this.length)
    this.bytes = grown
  }
}

/** Whether a character can stand in JSON as it is, and is one byte of UTF-8. */
function isPlain(code: number): boolean {
  return code >= 0x20 && code <= 0x7e && code !== QUOTE && code !== BACKSLASH
}

/** Text of bytes kept one a character: UTF-8 where they are that, else Latin-1. */
export function decoded(latin1: string): string {
  const bytes = Buffer.from(latin1, 'latin1')
  return isUtf8(bytes) ? bytes.toString('utf8') : latin1
}

/** JSON of a value in ASCII alone. */
export function jsonOf(value: unknown): string {
  return JSON.stringify(value).replace(NOT_ASCII, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

const NOT_ASCII = /[\u007f-\uffff]/g

/** Fields of a record that stay the same for many: encoded once. */
export interface Part<Fields extends object> {
  readonly fields: Fields
  /** The fields as JSON without braces, a comma behind. */
  readonly json: Buffer
}

/** Likewise, as Latin-1: of what there are thousands, for text takes half the memory of a Buffer. */
export interface TextPart<Fields extends object> {
  readonly fields: Fields
  readonly text: string
}

export function textOf(fields: object): string {
  return `${jsonOf(fields).slice(1, -1)},`
}

export function part<Fields extends object>(fields: Fields): Part<Fields> {
  return { fields, json: Buffer.from(textOf(fields), 'latin1') }
}
