// The caller's side of an HTTP/1.x connection: its requests one after another, pipelined or not.
//
//     head ──head done──▶ decide ──sendBody──▶ body ──body done──▶ respond ──response done──▶ head
//       │                    └──────────────answer (body skipped or complete)──────────────▶ head
//       └──bad──▶ answer, linger                 answer with the body not at hand ──▶ linger ──▶ closed

import { type FailureCode, lossOf, MeshError } from '../../model/failure.ts'
import type { Channel, ChannelSink } from '../transport/transport.ts'
import type { Body } from './body.ts'
import { Http1Exchange } from './request.ts'
import { Reader } from './reader.ts'
import type { CallerOptions, Requests } from './requests.ts'
import type { Parsed } from './scan.ts'
import { writeAnswer } from './send.ts'
import { Store } from './store.ts'

/** Bytes kept of what a caller sends ahead while its request is being decided or answered; beyond, it is not read. */
const AHEAD_LIMIT = 64 * 1024
/** After a last response: how long, and how many bytes, what the caller still sends is read away (RFC 9112 §9.6). */
const LINGER_MS = 2000
const LINGER_BYTES = 4 * 1024 * 1024

const NO_BODY = { done: true, trailers: null } as const

/** What most heads stay within. */
const USUAL_HEAD = 4 * 1024

type State = 'head' | 'decide' | 'body' | 'respond' | 'linger' | 'closed'

/** Why a head is no request that can be served. */
const UNREADABLE: Readonly<Record<Exclude<Parsed, 'more' | 'done'>, [FailureCode, string]>> = {
  large: ['HEAD_TOO_LARGE', 'the request head is beyond the limits'],
  long: ['TARGET_TOO_LONG', 'the request target is beyond the limit of a head'],
  version: ['VERSION_NOT_SUPPORTED', 'not a request of HTTP/1'],
  unknown: ['NOT_IMPLEMENTED', 'a transfer coding that is not known'],
  bad: ['BAD_REQUEST', 'not an HTTP/1.1 request'],
}

/**
 * Reads requests from a channel, one exchange at a time: the next begins when `next` is called again. Calls and not promises,
 * for a request that finds a kept connection is then on its way within the event that brought it.
 */
export class Http1Caller implements ChannelSink {
  readonly channel: Channel
  readonly options: CallerOptions
  readonly store: Store
  /** The last Host that was found to name a host. */
  soundHost: string | null = null
  /** When the first byte of the head now being read came, by the coarse clock; null between heads. */
  headSince: number | null = null
  /** Of the request under way, from its first byte until the next is waited for; null: the connection rests. */
  #reader: Reader | null = null
  #served: Http1Exchange | null = null
  #state: State = 'head'
  readonly #requests: Requests
  /** The next request is waited for. */
  #isAwaited = false
  #isReading = false
  #exchange: Http1Exchange | null = null
  #ended = false
  #closeAfter = false
  #lingered = 0
  #lingerTimer: NodeJS.Timeout | null = null

  /** `first`: bytes that were read before it was known that this is HTTP. */
  constructor(channel: Channel, options: CallerOptions, requests: Requests, first: Buffer | null) {
    this.channel = channel
    this.#requests = requests
    this.options = options
    this.store = new Store(channel.budget)
    if (first !== null) this.store.append(first, 0, first.length)
    channel.sink = this
  }

  /** When a byte last passed, by the coarse clock. */
  get activeAt(): number {
    return this.channel.activeAt
  }

  /** Since when the rest of a request body is waited for that nobody has answered yet, by the coarse clock; else null. */
  get bodySince(): number | null {
    const { channel } = this
    const isAwaited = this.#state === 'body' && this.#exchange?.answered === false && !channel.still && !this.#ended
    return isAwaited ? channel.activeAt : null
  }

  /** True between two requests: closing now loses nothing. */
  get idle(): boolean {
    return this.#state === 'head' && this.store.length === 0
  }

  /** Of the request under way; of none it is through. */
  get body(): Pick<Body, 'done' | 'trailers'> {
    return this.#reader?.body ?? NO_BODY
  }

  /** Reads the next request, or tells that there is none. */
  next(): void {
    if (this.#closeAfter && this.#state !== 'linger' && this.#state !== 'closed') this.#finish()
    this.#isAwaited = true
    if (this.#state === 'linger' && this.channel.blocked) return // the last response has to leave yet
    if (this.#state === 'closed' || this.#state === 'linger' || this.channel.dead) {
      this.#tell(null)
      return
    }
    this.#state = 'head'
    this.#exchange = null
    this.store.compact()
    this.headSince = this.store.length > 0 ? this.channel.activeAt : null
    this.#served?.forget()
    this.#reader?.giveBack()
    this.#served = this.#reader = null
    this.channel.resume()
    this.#readHeads()
  }

  bytes(arena: Buffer, from: number, to: number): void {
    switch (this.#state) {
      case 'body': {
        const at = this.#feedBody(arena, from, to)
        if (at >= 0 && at < to) this.#ahead(arena, at, to)
        return
      }
      case 'head':
        this.headSince ??= this.channel.activeAt
        this.store.append(arena, from, to)
        if (this.#isAwaited && !this.channel.blocked) this.#readHeads()
        else if (this.store.length > AHEAD_LIMIT) this.channel.hold()
        this.#giveUpIfSpent()
        return
      case 'decide':
      case 'respond':
        this.#ahead(arena, from, to)
        return
      case 'linger':
        this.#lingered += to - from
        if (this.#lingered > LINGER_BYTES) this.#close()
        return
      case 'closed':
    }
  }

  end(): void {
    this.#ended = true
    switch (this.#state) {
      case 'head':
        this.#readHeads()
        return
      case 'body':
        this.#exchange?.stop(new MeshError('CALLER_RESET', 'the caller ended its side within a request body'))
        return
      case 'decide':
      case 'respond':
        this.#exchange?.callerEnded()
        return
      case 'linger':
        if (!this.channel.blocked) this.#close()
        return
      case 'closed':
    }
  }

  drained(): void {
    if (this.#state === 'linger') {
      this.#tell(null)
      this.#linger()
      return
    }
    if (this.#state !== 'head' || !this.#isAwaited) return
    this.channel.resume()
    this.#readHeads()
  }

  closed(): void {
    this.#gone(new MeshError('CALLER_RESET', 'the caller closed the connection'))
  }

  lost(cause: Error): void {
    this.#gone(lossOf('CALLER_RESET', `the caller's connection broke: ${cause.message}`, cause))
  }

  /** Ends the connection from this side: at once where idle, else behind the response under way, if that can still tell. */
  drain(): void {
    if (this.#exchange?.answered === true) return
    this.#closeAfter = true
    if (!this.idle || !this.#isAwaited) return
    this.#finish()
    if (!this.channel.blocked) this.#tell(null)
  }

  /** Ends the connection now: an idle one in order, one with a request under way by a reset. */
  expire(reason: MeshError): void {
    if (this.idle) this.drain()
    else if (this.#state === 'head' && reason.kind.status > 0) this.#refuse(reason)
    else if (this.#exchange === null || this.#state === 'linger') this.#close()
    else this.#exchange.stop(reason)
  }

  /** From the exchange: whether the caller's FIN has come and nothing stands behind this request. */
  get halfClosed(): boolean {
    return this.#ended && this.store.length === 0
  }

  /** From the exchange: the request's body goes on to it, what is here already first. */
  startBody(): void {
    this.#state = 'body'
    const { store } = this
    const exchange = this.#exchange
    const at = this.#feedBody(store.bytes, store.from, store.to)
    if (at >= 0) store.from = at
    if (this.body.done || exchange?.bodySink !== null) this.channel.resume() // else it has had enough already
    if (this.#ended && !this.body.done) this.end()
  }

  /** From the exchange: the response is through. `close`: nothing can follow it on this connection. */
  responded(close: boolean): void {
    if (this.#state === 'closed') return
    if (!this.body.done) this.#skipBody()
    if (close || !this.body.done) this.#closeAfter = true
    this.#state = 'respond'
    this.#exchange = null
    if (this.#closeAfter) this.#finish()
  }

  /** From the exchange: the response cannot be completed. */
  abort(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.store.release()
    this.channel.reset()
  }

  /** From the exchange: this connection now carries something else. Returns what came ahead. */
  leave(): Buffer | null {
    this.#state = 'closed'
    this.channel.hold()
    const { store } = this
    const rest = store.length > 0 ? Buffer.from(store.bytes.subarray(store.from, store.to)) : null
    store.release()
    return rest
  }

  /** From the exchange: whether all of the request is here; a body that nobody will want is read away as far as it is. */
  received(): boolean {
    if (!this.body.done) this.#skipBody()
    return this.body.done
  }

  /** Discards what is at hand of a body that nobody wants; whether that was all of it shows in `body.done`. */
  #skipBody(): void {
    const { store } = this
    const at = this.#reader?.body.feed(store.bytes, store.from, store.to, { payload() {} }) ?? -1
    if (at >= 0) store.from = at
  }

  #ahead(arena: Buffer, from: number, to: number): void {
    this.store.append(arena, from, to)
    if (this.#reader !== null) this.#reader.head.bytes = this.store.bytes // it may have moved
    if (this.store.length > AHEAD_LIMIT) this.channel.hold()
    this.#giveUpIfSpent()
  }

  /** Where the pod holds too much, who holds more than a usual head of it goes. */
  #giveUpIfSpent(): void {
    const { budget } = this.channel
    if (!budget.spent || this.store.length <= USUAL_HEAD) return
    this.channel.reset()
    this.#gone(budget.failure())
  }

  /** Has served what is here. A request that is answered at once has the next one read by this very loop. */
  #readHeads(): void {
    if (this.#isReading) return
    this.#isReading = true
    try {
      // once the last response has left: what comes behind a backlog waits for `drained`
      while (this.#isAwaited && this.#state === 'head' && !this.channel.blocked) if (!this.#readHead()) return
    } finally {
      this.#isReading = false
    }
  }

  /** Whether a request was read, and given on. */
  #readHead(): boolean {
    const { store } = this
    if (store.length === 0) {
      if (this.#ended) this.#endedInHead()
      return false
    }
    const reader = (this.#reader ??= Reader.lent(this.options.limits))
    const parsed = reader.head.parse(store.bytes, store.from, store.to)
    switch (parsed) {
      case 'done':
        return this.#begin(reader)
      case 'more':
        if (this.#ended) this.#endedInHead()
        return false
      default:
        return this.#refuse(new MeshError(...UNREADABLE[parsed]))
    }
  }

  #begin({ head, body }: Reader): boolean {
    const { store } = this
    store.from += head.length
    this.headSince = null
    body.begin(head.requestFraming(), head.contentLength)
    this.#state = 'decide'
    const exchange = Http1Exchange.from(this, head)
    if (exchange instanceof MeshError) return this.#refuse(exchange)
    this.#isAwaited = false
    this.#exchange = this.#served = exchange
    if (this.options.lastResponse) this.#closeAfter = true
    this.#requests.serve(exchange)
    return true
  }

  /** Whether the response under way is the connection's last, as far as is known. */
  get closing(): boolean {
    return this.#closeAfter
  }

  /** Feeds body bytes on; returns where the body ended, or -1 where the request is broken. */
  #feedBody(bytes: Buffer, from: number, to: number): number {
    const exchange = this.#exchange as Http1Exchange
    const { body } = this.#reader as Reader
    const at = body.feed(bytes, from, to, exchange)
    if (at < 0) {
      exchange.stop(new MeshError('BAD_REQUEST', 'the request body breaks its framing'))
      return -1
    }
    if (body.done && this.#state === 'body') {
      this.#state = 'respond'
      exchange.bodyWhole(body.trailers)
    }
    return at
  }

  #endedInHead(): void {
    const isPartial = this.store.length > 0
    this.#finish()
    this.#tell(isPartial ? new MeshError('CALLER_RESET', 'the caller ended its side within a request head') : null)
  }

  /** Answers what cannot be read: no request. */
  #refuse(reason: MeshError): false {
    const { status } = reason.kind
    const body = Buffer.from(reason.message)
    writeAnswer(this.channel, { status, body, fields: [], close: true, head: false, edit: null })
    this.#closeAfter = true
    this.#finish()
    this.#tell(reason)
    return false
  }

  #gone(reason: MeshError): void {
    if (this.#state === 'closed') return
    const between = this.idle || this.#state === 'linger'
    this.#state = 'closed'
    this.store.release()
    if (this.#lingerTimer !== null) clearTimeout(this.#lingerTimer)
    this.#tell(between ? null : reason)
    this.#exchange?.stop(reason)
  }

  /** Sends FIN behind the last response; a slow caller takes its time to read that. */
  #finish(): void {
    this.store.release()
    this.#state = 'linger'
    this.channel.shutdown()
    if (!this.channel.blocked) this.#linger()
  }

  /** Reads away what the caller still sends, so that a reset does not overtake the response. */
  #linger(): void {
    if (this.#ended) {
      this.#close()
      return
    }
    this.channel.resume()
    this.#lingerTimer = setTimeout(() => this.#close(), LINGER_MS)
    this.#lingerTimer.unref()
  }

  #close(): void {
    this.#state = 'closed'
    if (this.#lingerTimer !== null) clearTimeout(this.#lingerTimer)
    this.channel.close()
    this.#tell(null)
  }

  /** Whoever waits for a request hears that there is none. */
  #tell(reason: MeshError | null): void {
    if (!this.#isAwaited) return
    this.#isAwaited = false
    this.#requests.finished(reason)
  }
}
