// Where the parts of an HTTP/1.x head are: the byte state machine (RFC 9112 §2-§5). Pure; strict; any split of the input
// gives the same result.

import { begins, COLON, CR, isBlank, isBlankOrEnd, isUsual, LF, SPACE, TAB, TARGET, TOKEN, VALUE } from './bytes.ts'
import { kindOf, OTHER } from './fields.ts'

/** What a head may take. */
export interface HeadLimits {
  /** Bytes of a head, request or status line included; at most LARGEST_HEAD. */
  readonly headBytes: number
  /** Header lines of a head, and of a trailer section. */
  readonly headFields: number
}

/** Offsets within a head are kept in 16 bits. */
export const LARGEST_HEAD = 0xffff
export const HEAD_LIMITS: HeadLimits = { headBytes: 60 * 1024, headFields: 100 }

/**
 * `more`: the head is not complete. `bad`: not HTTP. `large`: beyond a limit; `long`: already within the request line.
 * `unknown`: a transfer coding that is not known. `version`: HTTP, but of another major version.
 */
export type Parsed = 'more' | 'done' | 'bad' | 'large' | 'long' | 'unknown' | 'version'

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

const VERSION_TEXT = 'HTTP/'
const MAJOR = VERSION_TEXT.length
const DOT = MAJOR + 1
const MINOR = MAJOR + 2
const AFTER_TARGET = Buffer.from(' HTTP/1.1\r\n')
const BEFORE_STATUS = Buffer.from('HTTP/1.1 ')
const SPANS_AT_FIRST = 24
const EMPTY = Buffer.alloc(0)

/** A head being parsed, then parsed. Offsets count from the head's first byte; `bytes` and `base` say where that is. */
export abstract class Scanner {
  readonly kind: 'request' | 'response'
  readonly limits: HeadLimits
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
  /** What each line is: one of the constants of fields.ts. */
  kinds: Uint8Array
  /** Four offsets a line: name from, name to, value from, value to. */
  spans: Uint16Array
  #state = START
  #at = 0
  #skipped = 0
  #major = 1
  #fault: Parsed = 'bad'

  constructor(kind: 'request' | 'response', limits: HeadLimits = HEAD_LIMITS) {
    this.kind = kind
    this.limits = limits
    const fields = Math.min(SPANS_AT_FIRST, limits.headFields)
    this.kinds = new Uint8Array(fields)
    this.spans = new Uint16Array(4 * fields)
  }

  /** Takes a field whose value is `bytes[from, to)`; false where it may not stand. Its index is `count - 1`. */
  protected abstract field(kind: number, from: number, to: number): boolean

  /** Judges the head as a whole. */
  protected abstract conclude(): Parsed

  /** Makes ready for the next head. */
  reset(): void {
    this.bytes = EMPTY
    this.base = this.length = this.status = this.count = this.#at = this.#skipped = 0
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
    const { headBytes } = this.limits
    const at = this.#scan(bytes, base, Math.min(to, base + headBytes))
    if (at < 0) return this.#fault
    this.#at = at - base
    if (this.#state === START && this.length > 0) return this.conclude()
    if (this.#at < headBytes) return 'more'
    return this.#state === TARGET_BYTES ? 'long' : 'large'
  }

  /** Advances the state machine; returns where it stopped, or -1 with #fault set. */
  #scan(bytes: Buffer, base: number, to: number): number {
    let p = base + this.#at
    while (p < to && p >= 0 && this.length === 0) {
      if (this.#state === START) p = this.#wholeStartLine(bytes, p, to)
      if (this.#state === FIELD_START) p = this.#wholeLines(bytes, p, to)
      if (p < 0 || p >= to || this.length > 0) break
      p = this.#state < LINE_LF ? this.#startLine(bytes, p, to) : this.#fieldLine(bytes, p, to)
    }
    return p
  }

  /** One of the usual form that is all there, in one go; returns where the header lines begin, for any other `start`. */
  #wholeStartLine(bytes: Buffer, start: number, to: number): number {
    return this.kind === 'request' ? this.#requestLine(bytes, start, to) : this.#statusLine(bytes, start, to)
  }

  #requestLine(bytes: Buffer, start: number, to: number): number {
    let p = start
    while (p < to && TOKEN[bytes[p] as number] === 1) p++
    const methodTo = p
    if (p === start || p === to || bytes[p] !== SPACE) return start
    const targetFrom = ++p
    while (p < to && TARGET[bytes[p] as number] === 1) p++
    if (p === targetFrom || !begins(bytes, p, to, AFTER_TARGET)) return start
    const { base } = this
    this.methodFrom = start - base
    this.methodTo = methodTo - base
    this.targetFrom = targetFrom - base
    this.targetTo = p - base
    this.minor = this.#major = 1
    this.#state = FIELD_START
    return p + AFTER_TARGET.length
  }

  #statusLine(bytes: Buffer, start: number, to: number): number {
    if (!begins(bytes, start, to, BEFORE_STATUS)) return start
    let p = start + BEFORE_STATUS.length
    let status = 0
    for (const end = p + 3; p < end && p < to; p++) {
      const digit = (bytes[p] as number) - 0x30
      if (digit < 0 || digit > 9) return start
      status = 10 * status + digit
    }
    if (p >= to || bytes[p] !== SPACE) return start
    const reasonFrom = ++p
    while (p < to && VALUE[bytes[p] as number] === 1) p++
    if (p + 1 >= to || bytes[p] !== CR || bytes[p + 1] !== LF) return start
    const { base } = this
    this.status = status
    this.reasonFrom = reasonFrom - base
    this.reasonTo = p - base
    this.minor = this.#major = 1
    this.#state = FIELD_START
    return p + 2
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
        if (p - from <= MINOR + 1) break
        if (byte !== (request ? CR : SPACE)) return -1
        if (this.#major !== 1) return this.#refuse(request ? 'version' : 'bad')
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

  /**
   * Header lines of the usual form that are all there, `name: value` CRLF, and the end of the head, in one go; returns where
   * that ends, or where the first line stands that is another, for the steps of #fieldLine, or -1.
   */
  #wholeLines(bytes: Buffer, start: number, to: number): number {
    const { headFields } = this.limits
    let line = start
    for (;;) {
      let p = line
      while (p < to && TOKEN[bytes[p] as number] === 1) p++
      if (p + 1 >= to) return line
      if (p === line) return this.#headEnd(bytes, line)
      const colon = p
      if (bytes[p] !== COLON || bytes[p + 1] !== SPACE) return line
      p += 2
      const value = p
      while (p < to && isUsual(bytes[p] as number)) p++
      if (p + 1 >= to || bytes[p] !== CR || bytes[p + 1] !== LF || isBlankOrEnd(bytes[value] as number)) return line
      if (this.count === headFields) return this.#refuse('large')
      if (!this.#take(line, colon, value, p)) return -1
      line = p + 2
    }
  }

  /** The empty line that ends a head, where it stands at `at`. */
  #headEnd(bytes: Buffer, at: number): number {
    if (bytes[at] !== CR || bytes[at + 1] !== LF) return at
    this.length = at + 2 - this.base
    this.#state = START
    return at + 2
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
        if (this.count === this.limits.headFields) return this.#refuse('large')
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
    if (index < MAJOR) return byte === VERSION_TEXT.charCodeAt(index)
    if (index === DOT) return byte === 0x2e
    if (index > MINOR) return true
    if (index === MAJOR) this.#major = byte - 0x30
    else this.minor = byte === 0x30 ? 0 : 1 // RFC 9110 §2.5: a higher minor version is spoken to as 1.1
    return byte >= 0x30 && byte <= 0x39
  }

  #refuse(fault: Parsed): -1 {
    this.#fault = fault
    return -1
  }

  #openField(at: number): void {
    if (this.count === this.kinds.length) this.#grow()
    this.spans[4 * this.count] = at
  }

  #closeField(p: number): boolean {
    const { base, spans, count } = this
    const colon = base + (spans[4 * count + 1] as number)
    return this.#take(base + (spans[4 * count] as number), colon, base + (spans[4 * count + 2] as number), p)
  }

  /** Takes the field `bytes[line, colon)` with the value from `value` to `p`, less the blanks at its end. */
  #take(line: number, colon: number, value: number, p: number): boolean {
    const { bytes, base, count } = this
    let to = p
    while (to > value && isBlank(bytes[to - 1] as number)) to--
    const kind = kindOf(bytes, line, colon)
    if (count === this.kinds.length) this.#grow()
    const { spans } = this
    spans[4 * count] = line - base
    spans[4 * count + 1] = colon - base
    spans[4 * count + 2] = value - base
    spans[4 * count + 3] = to - base
    this.kinds[count] = kind
    this.count = count + 1
    return kind === OTHER || this.field(kind, value, to)
  }

  #grow(): void {
    const { headFields } = this.limits
    const kinds = new Uint8Array(headFields)
    const spans = new Uint16Array(4 * headFields)
    kinds.set(this.kinds)
    spans.set(this.spans)
    this.kinds = kinds
    this.spans = spans
  }
}
