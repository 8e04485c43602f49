// The fields behind a chunked body: which of them may go on, and their lines as they leave (RFC 9110 §6.5). Pure.

import { COLON, CR, LF, SPACE, TAB, TOKEN, VALUE } from './bytes.ts'

/** Bytes of a trailer section, and its fields. */
export const TRAILER_LIMIT = 8 * 1024
export const TRAILER_FIELDS = 100

/**
 * RFC 9110 §6.5.1: what frames, routes, authenticates, steers the receiver or describes the content says so ahead of it.
 * Behind it such fields are dropped, and so is what a proxy tells about its caller.
 */
const NEVER: ReadonlySet<string> = new Set(
  `transfer-encoding content-length trailer connection keep-alive proxy-connection te upgrade host
  authorization proxy-authorization www-authenticate proxy-authenticate cookie set-cookie
  cache-control expect max-forwards pragma range if-match if-none-match if-modified-since if-unmodified-since if-range
  age date expires location retry-after vary warning content-encoding content-type content-range
  forwarded via x-real-ip x-request-id`.split(/\s+/),
)
const NEVER_BEGINNING = ['x-forwarded-', 'x-envoy-']

const FIELD_START = 0
const NAME = 1
const VALUE_START = 2
const VALUE_BYTES = 3
const LINE_LF = 4
const END_LF = 5

const NONE = Buffer.alloc(0)

/** Reads one trailer section after another. Most are empty: memory is taken with the first field. */
export class Trailers {
  done = false
  /** What may go on, as `name: value` CRLF for each. */
  #out: Buffer = NONE
  #state = FIELD_START
  #read = 0
  #fields = 0
  #at = 0
  #line = 0
  #value = 0

  /** Makes ready for another section. */
  reset(): void {
    this.done = false
    this.#out = NONE
    this.#state = FIELD_START
    this.#read = this.#fields = this.#at = 0
  }

  /** The lines that may go on, or null where there are none. Valid until the next body. */
  get lines(): Buffer | null {
    return this.#at === 0 ? null : this.#out.subarray(0, this.#at)
  }

  /** Takes the section's next byte; false where it may not stand here, or the section is beyond its limits. */
  take(byte: number): boolean {
    if (++this.#read > TRAILER_LIMIT) return false
    switch (this.#state) {
      case FIELD_START:
        this.#state = byte === CR ? END_LF : NAME
        if (byte === CR) return true
        if (this.#out === NONE) this.#out = Buffer.allocUnsafe(TRAILER_LIMIT + TRAILER_FIELDS) // a blank more in each line
        this.#line = this.#at
        this.#put(byte)
        return TOKEN[byte] === 1 && ++this.#fields <= TRAILER_FIELDS // a folded line begins with a blank
      case NAME:
        this.#put(byte)
        if (TOKEN[byte] === 1) return true
        this.#put(SPACE)
        this.#value = this.#at
        this.#state = VALUE_START
        return byte === COLON
      case VALUE_START:
        if (byte === SPACE || byte === TAB) return true
        this.#state = VALUE_BYTES
        return this.#valueByte(byte)
      case VALUE_BYTES:
        return this.#valueByte(byte)
      case LINE_LF:
        this.#state = FIELD_START
        return byte === LF
      default:
        this.done = byte === LF
        return this.done
    }
  }

  #valueByte(byte: number): boolean {
    if (VALUE[byte] === 1) {
      this.#put(byte)
      return true
    }
    this.#closeLine()
    this.#state = LINE_LF
    return byte === CR
  }

  /** Ends a line without the blanks behind its value, or takes it back where it may not go on. */
  #closeLine(): void {
    const out = this.#out
    const name = out.toString('latin1', this.#line, this.#value - 2).toLowerCase()
    if (NEVER.has(name) || NEVER_BEGINNING.some((beginning) => name.startsWith(beginning))) {
      this.#at = this.#line
      return
    }
    while (this.#at > this.#value && (out[this.#at - 1] === SPACE || out[this.#at - 1] === TAB)) this.#at--
    this.#put(CR)
    this.#put(LF)
  }

  #put(byte: number): void {
    this.#out[this.#at++] = byte
  }
}
