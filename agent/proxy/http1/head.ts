// The head of an HTTP/1.x message, parsed from bytes into offsets (RFC 9112 §2-§6). Pure; strict; any split of the
// input gives the same result.

import { COLON, COMMA, CR, isWord, LF, SPACE, TAB, TARGET, TOKEN, VALUE } from './bytes.ts'
import {
  CONNECTION,
  CONTENT_LENGTH,
  FIRST_HOP,
  HOST,
  KEEP_ALIVE,
  kindOf,
  NAMED_HOP,
  TRANSFER_ENCODING,
  UPGRADE,
} from './fields.ts'

/** Bytes of a head, request or status line included. */
export const HEAD_LIMIT = 60 * 1024
/** Header lines of a head. */
export const FIELD_LIMIT = 100

/** `more`: the head is not complete. `bad`: not HTTP/1.x. `large`: beyond a limit. `unknown`: a transfer coding we lack. */
export type Parsed = 'more' | 'done' | 'bad' | 'large' | 'unknown'

/** What follows the head, as its fields say. `close`: everything until the connection ends. */
export type Framing = 'none' | 'length' | 'chunked' | 'close'

const START = 0
const START_LF = 1
const METHOD = 2
const TARGET_BYTES = 3
const REQUEST_VERSION = 4
const RESPONSE_VERSION = 5
const STATUS = 6
const REASON = 7
const LINE_LF = 8
const FIELD_START = 9
const NAME = 10
const VALUE_START = 11
const VALUE_BYTES = 12
const VALUE_LF = 13
const END_LF = 14

const VERSION_TEXT = 'HTTP/1.'
const LARGEST_DIGITS = 15 // of a content-length: stays an exact number
const SPANS_AT_FIRST = 24

/** A head being parsed, then parsed. Offsets count from the head's first byte; `bytes` and `base` say where that is. */
export class Head {
  readonly kind: 'request' | 'response'
  bytes: Buffer = EMPTY
  base = 0
  /** Bytes of the whole head, once done. */
  length = 0
  methodFrom = 0
  methodTo = 0
  targetFrom = 0
  targetTo = 0
  /** HTTP/1.`minor` */
  minor = 1
  status = 0
  reasonFrom = 0
  reasonTo = 0
  /** Number of header lines. */
  count = 0
  /** What each line is: one of the constants above. */
  kinds = new Uint8Array(SPANS_AT_FIRST)
  /** Four offsets a line: name from, name to, value from, value to. */
  spans = new Uint16Array(4 * SPANS_AT_FIRST)
  /** Value of content-length, or -1. */
  contentLength = -1
  chunked = false
  /** `Connection: close` was given. */
  close = false
  /** `Connection: keep-alive` was given. */
  keepAlive = false
  /** `Connection: upgrade` with an Upgrade field: index of that field, or -1. */
  upgrade = -1
  /** Seconds of `Keep-Alive: timeout=`, or -1. */
  keepAliveSeconds = -1
  host = -1
  #state = START
  #at = 0
  #skipped = 0
  #transferEncodings = 0
  #connections = 0
  #hosts = 0
  #upgradeField = -1
  #upgradeAsked = false
  #fault: Parsed = 'bad'

  constructor(kind: 'request' | 'response') {
    this.kind = kind
  }

  /** Makes ready for the next head. */
  reset(): void {
    this.bytes = EMPTY
    this.base = this.length = this.status = this.count = this.#at = this.#skipped = 0
    this.contentLength = this.keepAliveSeconds = this.host = this.upgrade = this.#upgradeField = -1
    this.chunked = this.close = this.keepAlive = this.#upgradeAsked = false
    this.#transferEncodings = this.#connections = this.#hosts = 0
    this.#state = START
    this.#fault = 'bad'
  }

  /**
   * Parses on. The head begins at `bytes[base]`; bytes up to `to` are there. After `more`, call again with the same
   * bytes (anywhere in memory) and more behind them: work already done is not repeated.
   */
  parse(bytes: Buffer, base: number, to: number): Parsed {
    this.bytes = bytes
    this.base = base
    const limit = Math.min(to, base + HEAD_LIMIT)
    const at = this.#scan(bytes, base, limit)
    if (at < 0) return this.#fault
    this.#at = at - base
    if (this.#state === START && this.length > 0) return this.#conclude()
    return this.#at >= HEAD_LIMIT ? 'large' : 'more'
  }

  /** Advances the state machine; returns where it stopped, or -1 with #fault set. */
  #scan(bytes: Buffer, base: number, to: number): number {
    let p = base + this.#at
    while (p < to && p >= 0) {
      p = this.#state < LINE_LF ? this.#startLine(bytes, p, to) : this.#fieldLine(bytes, p, to)
      if (this.#state === START && this.length > 0) break
    }
    return p
  }

  /** One step within the request or status line. */
  #startLine(bytes: Buffer, start: number, to: number): number {
    const { base } = this
    let p = start
    const byte = bytes[p] as number
    switch (this.#state) {
      case START:
        if (byte === CR && this.kind === 'request' && this.#skipped < 1) {
          this.#state = START_LF // RFC 9112 §2.2: one empty line ahead of a request is passed over
          p++
          break
        }
        if (TOKEN[byte] === 0) return -1
        this.methodFrom = p - base
        this.#state = this.kind === 'request' ? METHOD : RESPONSE_VERSION
        break
      case START_LF:
        if (byte !== LF) return -1
        this.#skipped++
        this.#state = START
        p++
        break
      case METHOD:
        while (p < to && TOKEN[bytes[p] as number] === 1) p++
        if (p === to) break
        if (bytes[p] !== SPACE) return -1
        this.methodTo = p - base
        this.targetFrom = ++p - base
        this.#state = TARGET_BYTES
        break
      case TARGET_BYTES:
        while (p < to && TARGET[bytes[p] as number] === 1) p++
        if (p === to) break
        if (bytes[p] !== SPACE) return -1
        this.targetTo = p - base
        if (this.targetTo === this.targetFrom) return -1
        p++
        this.#state = REQUEST_VERSION
        break
      case REQUEST_VERSION:
      case RESPONSE_VERSION: {
        const request = this.#state === REQUEST_VERSION
        const from = base + (request ? this.targetTo + 1 : this.methodFrom)
        if (!this.#version(bytes, from, p)) return -1
        p++
        if (p - from < VERSION_TEXT.length + 2) break
        if (byte !== (request ? CR : SPACE)) return -1
        this.#state = request ? LINE_LF : STATUS
        this.reasonFrom = p - base
        break
      }
      case STATUS: {
        const digits = p - base - this.reasonFrom
        if (digits === 3) {
          if (byte === CR) {
            this.reasonFrom = this.reasonTo = p - base
            this.#state = LINE_LF
          } else if (byte === SPACE) {
            this.reasonFrom = p + 1 - base
            this.#state = REASON
          } else return -1
        } else {
          if (byte < 0x30 || byte > 0x39) return -1
          this.status = this.status * 10 + (byte - 0x30)
        }
        p++
        break
      }
      case REASON:
        while (p < to && VALUE[bytes[p] as number] === 1) p++
        if (p === to) break
        if (bytes[p] !== CR) return -1
        this.reasonTo = p - base
        p++
        this.#state = LINE_LF
        break
    }
    return p
  }

  /** One step within the header lines. */
  #fieldLine(bytes: Buffer, start: number, to: number): number {
    const { base } = this
    let p = start
    const byte = bytes[p] as number
    switch (this.#state) {
      case LINE_LF:
      case VALUE_LF:
        if (byte !== LF) return -1
        p++
        this.#state = FIELD_START
        break
      case FIELD_START:
        if (byte === CR) {
          this.#state = END_LF
          p++
          break
        }
        if (TOKEN[byte] === 0) return -1 // also a folded line (obs-fold), which begins with a blank
        if (this.count === FIELD_LIMIT) return this.#refuse('large')
        this.#openField(p - base)
        this.#state = NAME
        break
      case NAME:
        while (p < to && TOKEN[bytes[p] as number] === 1) p++
        if (p === to) break
        if (bytes[p] !== COLON) return -1
        this.spans[4 * this.count + 1] = p - base
        p++
        this.#state = VALUE_START
        break
      case VALUE_START:
        if (byte === SPACE || byte === TAB) {
          p++
          break
        }
        this.spans[4 * this.count + 2] = p - base
        this.#state = VALUE_BYTES
        break
      case VALUE_BYTES:
        while (p < to && VALUE[bytes[p] as number] === 1) p++
        if (p === to) break
        if (bytes[p] !== CR) return -1
        if (!this.#closeField(p)) return -1
        p++
        this.#state = VALUE_LF
        break
      case END_LF:
        if (byte !== LF) return -1
        p++
        this.length = p - base
        this.#state = START
        return p
    }
    return p
  }

  #version(bytes: Buffer, from: number, p: number): boolean {
    const index = p - from
    const byte = bytes[p] as number
    if (index < VERSION_TEXT.length) return byte === VERSION_TEXT.charCodeAt(index)
    if (index > VERSION_TEXT.length) return true
    this.minor = byte === 0x30 ? 0 : 1 // RFC 9112 §2.3: a higher minor version is spoken to as 1.1
    return byte >= 0x30 && byte <= 0x39
  }

  #refuse(fault: Parsed): -1 {
    this.#fault = fault
    return -1
  }

  #openField(at: number): void {
    if (this.count === this.kinds.length) {
      const kinds = new Uint8Array(FIELD_LIMIT)
      const spans = new Uint16Array(4 * FIELD_LIMIT)
      kinds.set(this.kinds)
      spans.set(this.spans)
      this.kinds = kinds
      this.spans = spans
    }
    this.spans[4 * this.count] = at
  }

  /** Ends a field whose value stops before `p`: trims it, names it, and reads what steers the connection. */
  #closeField(p: number): boolean {
    const { bytes, base, spans, count } = this
    const from = base + (spans[4 * count + 2] as number)
    let to = p
    while (to > from && (bytes[to - 1] === SPACE || bytes[to - 1] === TAB)) to--
    spans[4 * count + 3] = to - base
    const kind = kindOf(bytes, base + (spans[4 * count] as number), base + (spans[4 * count + 1] as number))
    this.kinds[count] = kind
    this.count++
    switch (kind) {
      case HOST:
        this.#hosts++
        this.host = count
        return true
      case CONTENT_LENGTH:
        return this.#contentLength(from, to)
      case TRANSFER_ENCODING:
        this.#transferEncodings++
        if (isWord(bytes, from, to, 'chunked')) this.chunked = true
        return true
      case CONNECTION:
        this.#connections++
        return true
      case UPGRADE:
        this.#upgradeField = count
        return true
      case KEEP_ALIVE:
        this.#keepAliveSeconds(from, to)
        return true
      default:
        return true
    }
  }

  /** RFC 9112 §6.3: a list of equal values is one value; anything else that is not one number is refused. */
  #contentLength(from: number, to: number): boolean {
    let p = from
    for (;;) {
      let value = 0
      let digits = 0
      for (; p < to; p++, digits++) {
        const digit = (this.bytes[p] as number) - 0x30
        if (digit < 0 || digit > 9) break
        value = value * 10 + digit
      }
      if (digits === 0 || digits > LARGEST_DIGITS) return false
      if (this.contentLength >= 0 && this.contentLength !== value) return false
      this.contentLength = value
      while (p < to && (this.bytes[p] === SPACE || this.bytes[p] === TAB)) p++
      if (p === to) return true
      if (this.bytes[p] !== COMMA) return false
      p++
      while (p < to && (this.bytes[p] === SPACE || this.bytes[p] === TAB)) p++
    }
  }

  #keepAliveSeconds(from: number, to: number): void {
    const text = this.bytes.toString('latin1', from, Math.min(to, from + 64)).toLowerCase()
    const at = text.indexOf('timeout=')
    const seconds = at < 0 ? NaN : Number.parseInt(text.slice(at + 8), 10)
    if (seconds >= 0) this.keepAliveSeconds = seconds
  }

  /** Judges the head as a whole. */
  #conclude(): Parsed {
    if (this.#transferEncodings > 0) {
      // RFC 9112 §6.1: with a content-length, or in HTTP/1.0, this is how requests are smuggled
      if (this.contentLength >= 0 || this.minor === 0 || this.#transferEncodings > 1) return 'bad'
      if (!this.chunked) return 'unknown'
    }
    if (this.kind === 'request' && (this.#hosts > 1 || (this.#hosts === 0 && this.minor > 0))) return 'bad'
    if (this.kind === 'response' && (this.status < 100 || this.status > 599)) return 'bad'
    if (this.#connections > 0) this.#connectionOptions()
    if (this.#upgradeAsked) this.upgrade = this.#upgradeField
    return 'done'
  }

  /** RFC 9110 §7.6.1: `close` and `keep-alive` are heard, every field that is named is hop-by-hop. */
  #connectionOptions(): void {
    for (let index = 0; index < this.count; index++) {
      if (this.kinds[index] !== CONNECTION) continue
      const to = this.base + (this.spans[4 * index + 3] as number)
      let p = this.base + (this.spans[4 * index + 2] as number)
      while (p < to) {
        const from = p
        while (p < to && TOKEN[this.bytes[p] as number] === 1) p++
        if (p > from) this.#connectionOption(from, p)
        else p++
      }
    }
  }

  #connectionOption(from: number, to: number): void {
    if (isWord(this.bytes, from, to, 'close')) this.close = true
    else if (isWord(this.bytes, from, to, 'keep-alive')) this.keepAlive = true
    else if (isWord(this.bytes, from, to, 'upgrade')) this.#upgradeAsked = true
    const name = this.bytes.toString('latin1', from, to).toLowerCase()
    for (let index = 0; index < this.count; index++) {
      const kind = this.kinds[index] as number
      if (kind >= FIRST_HOP || kind === HOST || kind === CONTENT_LENGTH) continue
      if (this.isNamed(index, name)) this.kinds[index] = NAMED_HOP
    }
  }

  /** Whether field `index` has this name (lower case). */
  isNamed(index: number, name: string): boolean {
    const from = this.base + (this.spans[4 * index] as number)
    return isWord(this.bytes, from, this.base + (this.spans[4 * index + 1] as number), name)
  }

  /** Value of field `index`, one character a byte. */
  value(index: number): string {
    const { spans, base } = this
    return this.bytes.toString(
      'latin1',
      base + (spans[4 * index + 2] as number),
      base + (spans[4 * index + 3] as number),
    )
  }

  /** Value of the fields of a name (lower case), several joined by `,`; undefined where there is none. */
  header(name: string): string | undefined {
    let value: string | undefined
    for (let index = 0; index < this.count; index++) {
      if (!this.isNamed(index, name)) continue
      value = value === undefined ? this.value(index) : `${value},${this.value(index)}`
    }
    return value
  }

  /** Value of the first field of a kind, or null. */
  first(kind: number): string | null {
    for (let index = 0; index < this.count; index++) if (this.kinds[index] === kind) return this.value(index)
    return null
  }

  text(from: number, to: number): string {
    return this.bytes.toString('latin1', this.base + from, this.base + to)
  }

  /** What follows a request (RFC 9112 §6.3). */
  requestFraming(): Framing {
    return this.chunked ? 'chunked' : this.contentLength > 0 ? 'length' : 'none'
  }

  /** What follows a response to a request of this method (RFC 9112 §6.3). */
  responseFraming(method: string): Framing {
    if (method === 'HEAD' || this.status < 200 || this.status === 204 || this.status === 304) return 'none'
    if (this.chunked) return 'chunked'
    return this.contentLength < 0 ? 'close' : this.contentLength === 0 ? 'none' : 'length'
  }

  /** Whether the sender keeps the connection for another message (RFC 9112 §9.3). */
  get persistent(): boolean {
    return !this.close && (this.minor > 0 || this.keepAlive)
  }
}

const EMPTY = Buffer.alloc(0)
