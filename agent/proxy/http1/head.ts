// What the head of an HTTP/1.x message means: its framing, what steers the connection, what a request or response says
// (RFC 9112 §6, §9). Pure.

import { COMMA, isBlank, isWord, TOKEN } from './bytes.ts'
import {
  CONNECTION,
  CONTENT_LENGTH,
  FIRST_HOP,
  HOST,
  KEEP_ALIVE,
  NAMED_HOP,
  TE,
  TRAILER,
  TRANSFER_ENCODING,
  UPGRADE,
} from './fields.ts'
import type { Recurring } from './recurring.ts'
import { type Parsed, Scanner } from './scan.ts'

/** What follows the head, as its fields say. `close`: everything until the connection ends. */
export type Framing = 'none' | 'length' | 'chunked' | 'close'

const LARGEST_DIGITS = 15 // of a content-length: stays an exact number

/** A head with its meaning. */
export class Head extends Scanner {
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
  /** Index of the Host field, or -1. */
  host = -1
  /** `TE: trailers` was given. */
  wantsTrailers = false
  #transferEncodings = 0
  #connections = 0
  #options = 0
  #hosts = 0
  #upgradeField = -1
  #upgradeAsked = false

  override reset(): void {
    super.reset()
    this.contentLength = this.keepAliveSeconds = this.host = this.upgrade = this.#upgradeField = -1
    this.chunked = this.close = this.keepAlive = this.wantsTrailers = this.#upgradeAsked = false
    this.#transferEncodings = this.#connections = this.#options = this.#hosts = 0
  }

  protected field(kind: number, from: number, to: number): boolean {
    switch (kind) {
      case HOST:
        this.#hosts++
        this.host = this.count - 1
        return true
      case CONTENT_LENGTH:
        return this.#contentLength(from, to)
      case TRANSFER_ENCODING:
        this.#transferEncodings++
        return this.#transferEncoding(from, to)
      case TE:
        if (this.#lists(from, to, 'trailers')) this.wantsTrailers = true
        return true
      case CONNECTION:
        this.#connections++
        return true
      case UPGRADE:
        this.#upgradeField = this.count - 1
        return true
      case KEEP_ALIVE:
        this.#keepAliveSeconds(from, to)
        return true
      default:
        return true
    }
  }

  /**
   * RFC 9112 §6.3: one number, once. A list of equal numbers, or an equal second field, may be taken or refused; it is
   * refused, as servers and proxies behind us do.
   */
  #contentLength(from: number, to: number): boolean {
    if (this.contentLength >= 0 || from === to || to - from > LARGEST_DIGITS) return false
    let value = 0
    for (let p = from; p < to; p++) {
      const digit = (this.bytes[p] as number) - 0x30
      if (digit < 0 || digit > 9) return false
      value = value * 10 + digit
    }
    this.contentLength = value
    return true
  }

  /** RFC 9112 §6.1: `chunked`, once and last. A coding ahead of it is none that is known; all else has no end. */
  #transferEncoding(from: number, to: number): boolean {
    for (let p = from, ahead = 0; ; p++, ahead++) {
      const start = p
      p = this.#memberEnd(p, to)
      const chunked = this.#isMember(start, p, 'chunked')
      if (p === to) this.chunked = chunked && ahead === 0
      if (p === to || chunked) return chunked && p === to
      if (this.#isMember(start, p, '')) return false
    }
  }

  /** Whether a comma-separated list has `word` (lower case) as one of its members. */
  #lists(from: number, to: number, word: string): boolean {
    for (let p = from; p < to; p++) {
      const start = p
      p = this.#memberEnd(p, to)
      if (this.#isMember(start, p, word)) return true
    }
    return false
  }

  #memberEnd(from: number, to: number): number {
    let p = from
    while (p < to && this.bytes[p] !== COMMA) p++
    return p
  }

  #isMember(from: number, to: number, word: string): boolean {
    let [first, end] = [from, to]
    while (first < end && isBlank(this.bytes[first] as number)) first++
    while (end > first && isBlank(this.bytes[end - 1] as number)) end--
    return isWord(this.bytes, first, end, word)
  }

  #keepAliveSeconds(from: number, to: number): void {
    const text = this.bytes.toString('latin1', from, Math.min(to, from + 64)).toLowerCase()
    const at = text.indexOf('timeout=')
    const seconds = at < 0 ? NaN : Number.parseInt(text.slice(at + 8), 10)
    if (seconds >= 0) this.keepAliveSeconds = seconds
  }

  protected conclude(): Parsed {
    if (this.#transferEncodings > 0) {
      // RFC 9112 §6.1: with a content-length, or in HTTP/1.0, this is how requests are smuggled
      if (this.contentLength >= 0 || this.minor === 0 || this.#transferEncodings > 1) return 'bad'
      if (!this.chunked) return 'unknown'
    }
    if (this.kind === 'request' && (this.#hosts > 1 || (this.#hosts === 0 && this.minor > 0))) return 'bad'
    if (this.kind === 'response' && (this.status < 100 || this.status > 599)) return 'bad'
    if (this.#connections > 0 && !this.#connectionOptions()) return 'large'
    if (this.#upgradeAsked) this.upgrade = this.#upgradeField
    return 'done'
  }

  /** RFC 9110 §7.6.1: `close` and `keep-alive` are heard, every field that is named is hop-by-hop. False: too many. */
  #connectionOptions(): boolean {
    for (let index = 0; index < this.count; index++) {
      if (this.kinds[index] !== CONNECTION) continue
      const to = this.base + (this.spans[4 * index + 3] as number)
      let p = this.base + (this.spans[4 * index + 2] as number)
      while (p < to) {
        const from = p
        while (p < to && TOKEN[this.bytes[p] as number] === 1) p++
        if (p === from) p++
        else if (this.#options++ === this.limits.headFields) return false
        else this.#connectionOption(from, p)
      }
    }
    return true
  }

  #connectionOption(from: number, to: number): void {
    if (isWord(this.bytes, from, to, 'close')) this.close = true
    else if (isWord(this.bytes, from, to, 'keep-alive')) {
      this.keepAlive = true
      return // the field of that name goes no further anyway
    }
    if (isWord(this.bytes, from, to, 'upgrade')) this.#upgradeAsked = true
    const name = this.bytes.toString('latin1', from, to).toLowerCase()
    for (let index = 0; index < this.count; index++) {
      const kind = this.kinds[index] as number
      if ((kind >= FIRST_HOP && kind !== TRAILER) || kind === HOST || kind === CONTENT_LENGTH) continue
      if (this.isNamed(index, name)) this.kinds[index] = NAMED_HOP
    }
  }

  /** Whether field `index` has this name (lower case). */
  isNamed(index: number, name: string): boolean {
    const from = this.base + (this.spans[4 * index] as number)
    return isWord(this.bytes, from, this.base + (this.spans[4 * index + 1] as number), name)
  }

  /** Names of all fields, in lower case, each once. */
  names(): readonly string[] {
    const names = new Set<string>()
    for (let index = 0; index < this.count; index++) {
      names.add(this.text(this.spans[4 * index] as number, this.spans[4 * index + 1] as number).toLowerCase())
    }
    return [...names]
  }

  /** Value of field `index`, one character a byte; `recurring` spares a string where it is as the last time. */
  value(index: number, recurring: Recurring | null = null): string {
    const { spans } = this
    return this.text(spans[4 * index + 2] as number, spans[4 * index + 3] as number, recurring)
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

  /** Likewise, of those fields alone that go any further: none that is for this hop, but those that are written anew. */
  passed(name: string): string | undefined {
    switch (name) {
      case 'upgrade':
        return this.passesUpgrade ? this.value(this.upgrade) : undefined
      case 'te':
        return this.passesTrailers ? 'trailers' : undefined
      case 'connection':
        if (!this.passesUpgrade) return this.passesTrailers ? 'te' : undefined
        return this.passesTrailers ? 'te, upgrade' : 'upgrade'
      case 'transfer-encoding':
        return this.chunked ? 'chunked' : undefined
      case 'trailer':
        return this.chunked ? this.header(name) : undefined
    }
    let value: string | undefined
    for (let index = 0; index < this.count; index++) {
      if ((this.kinds[index] as number) >= FIRST_HOP || !this.isNamed(index, name)) continue
      value = value === undefined ? this.value(index) : `${value},${this.value(index)}`
    }
    return value
  }

  /** Whether `Upgrade` goes on. That to h2c does not: the request is served as HTTP/1.1, as RFC 9110 §7.8 allows. */
  get passesUpgrade(): boolean {
    return this.upgrade >= 0 && !this.value(this.upgrade).toLowerCase().includes('h2c')
  }

  /** Whether `TE: trailers` does: HTTP/1.0 cannot be sent any. */
  get passesTrailers(): boolean {
    return this.wantsTrailers && this.minor > 0
  }

  /** Values of the fields of a name (lower case), one a line. */
  values(name: string): readonly string[] {
    const indices = Array.from({ length: this.count }, (_, index) => index)
    return indices.filter((index) => this.isNamed(index, name)).map((index) => this.value(index))
  }

  /** Value of the first field of a kind, or null. */
  first(kind: number, recurring: Recurring | null = null): string | null {
    for (let index = 0; index < this.count; index++) if (this.kinds[index] === kind) return this.value(index, recurring)
    return null
  }

  text(from: number, to: number, recurring: Recurring | null = null): string {
    const { bytes, base } = this
    return recurring === null
      ? bytes.toString('latin1', base + from, base + to)
      : recurring.of(bytes, base + from, base + to)
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
    if (this.close || (this.minor === 0 && !this.keepAlive)) return false
    // RFC 9110 §8.6: 204 tells no length; who does may well send that body too
    return this.status !== 204 || (this.contentLength <= 0 && !this.chunked)
  }
}
