// The upstream's side of an HTTP/1.1 connection: sends one request at a time and reads its response.

import { failureOf, lossOf, MeshError } from '../../model/failure.ts'
import { headEdit } from '../../model/http/header-changes.ts'
import type { HeadChanges } from '../../model/http/route.ts'
import { type LocalPart, localPart } from '../../telemetry/record.ts'
import type { BodySink, Errand } from '../exchange.ts'
import { ENDLESS, type Term } from '../plane/identities.ts'
import type { Channel, ChannelSink } from '../transport/transport.ts'
import { Body } from './body.ts'
import { REWRITE_LIMIT } from './emit.ts'
import { Head } from './head.ts'
import { HEAD_LIMITS, type HeadLimits } from './scan.ts'
import { writeChunk, writeLastChunk, writeRequest } from './send.ts'
import { Store } from './store.ts'

/** Interim responses (1xx) ahead of a final one. */
const INTERIM_LIMIT = 16

/** What a rule changes in the request; null keeps it. */
export interface Rewritten {
  readonly target: string | null
  readonly authority: string | null
  readonly changes: Pick<HeadChanges, 'request'>
}

/** Where a connection goes when it is idle; told when it is no longer of use. */
export interface UpstreamOwner {
  unusable(upstream: Http1Upstream): void
}

/** A connection's place among those that its host may have from this node (plane/connections.ts). */
export interface ConnectionTicket {
  /** It is idle in this pool now. `taken`: somebody who waited has it; `wanted`: it is to be closed, for another. */
  rest(upstream: Http1Upstream, pool: string): 'kept' | 'taken' | 'wanted'
  /** It is idle no more. */
  work(): void
  /** It has ended; more than once is as once. */
  release(): void
}

/** How an exchange ended. `upgraded`: the connection now carries what was agreed on. */
export type Carried = 'done' | 'upgraded'

/** Who has an exchange carried. Called amid an event of a channel: none may throw. */
export interface Carrier {
  /** What an application is told of who calls (x-forwarded-client-cert), or null. */
  readonly clientCert: string | null
  /** The response's final head has come. False: it is to be dropped, and the connection with it. */
  heard(head: Head): boolean
  /** The response was dropped, as `heard` said. */
  dropped(): void
  /** The response is through. */
  carried(how: Carried): void
  /** What stopped the exchange, UPSTREAM_RESET or UPSTREAM_BAD_RESPONSE; the connection is closed. */
  failed(reason: MeshError): void
}

/** A connection to an endpoint, for one exchange after another. */
export class Http1Upstream implements ChannelSink, BodySink {
  readonly channel: Channel
  readonly term: Term
  /** This end's address, for the access record. */
  readonly local: LocalPart
  /** Whether this is not the first exchange on the connection. */
  reused = false
  /** Whether a byte of a response to this exchange has come. */
  heard = false
  /** What came behind a 101 response, and what the caller had sent ahead. */
  ahead: { readonly fromUpstream: Buffer | null; readonly fromCaller: Buffer | null } | null = null
  /** Seconds the peer said it keeps an idle connection, or -1. */
  keepAliveSeconds = -1
  owner: UpstreamOwner | null = null
  /** Null where connections to its host are not bounded. Of a tunnel it is left to who carries that. */
  ticket: ConnectionTicket | null = null
  /** Exchanges that it serves at most, and how long it is kept without one where a rule says, in milliseconds. */
  most = Infinity
  keptMs: number | null = null
  #served = 0
  /** While it is kept: when that ends, by the coarse clock. */
  idleUntilMs = 0
  readonly #head: Head
  readonly #body = new Body()
  readonly #store = new Store()
  #exchange: Errand | null = null
  #carrier: Carrier | null = null
  #state: 'idle' | 'head' | 'body' | 'dead' = 'idle'
  #interims = 0
  #sent = false
  #keep = true
  #finished = false
  #chunked = false
  #upgrade = false
  #connect = false

  constructor(channel: Channel, limits: HeadLimits = HEAD_LIMITS, term: Term = ENDLESS) {
    this.channel = channel
    this.term = term
    this.#head = new Head('response', limits)
    this.local = localPart(channel.ends?.local ?? null)
    channel.sink = this
    channel.resume()
  }

  /** Whether another exchange may follow on this connection. */
  get reusable(): boolean {
    return this.#state === 'idle' && this.#keep && !this.channel.dead
  }

  /** Sends the request and passes the response on. Throws what the exchange was stopped for already; nothing is sent then. */
  carry(exchange: Errand, rewritten: Rewritten, carrier: Carrier): void {
    exchange.during(this.#stopped, this.#callerEnded)
    this.#exchange = exchange
    this.#carrier = carrier
    this.#state = 'head'
    this.#head.reset()
    this.#interims = 0
    this.heard = this.#sent = false
    this.#chunked = exchange.framing === 'chunked'
    this.#connect = exchange.method === 'CONNECT'
    this.#upgrade = exchange.head.passesUpgrade
    try {
      this.#sendHead(exchange, rewritten)
    } catch (thrown) {
      this.#fail(failureOf(thrown))
      return
    }
    exchange.sendBody(this)
  }

  bodyBytes(bytes: Buffer, from: number, to: number, source: Channel | null): void {
    if (this.#chunked) writeChunk(this.channel, bytes, { from, to }, source)
    else this.channel.write(bytes, from, to, source)
  }

  bodyEnd(trailers: Buffer | null): void {
    if (this.#chunked) writeLastChunk(this.channel, trailers, this.channel)
    this.#sent = true
    if (this.#exchange?.halfClosed) this.#callerEnded()
  }

  bytes(arena: Buffer, from: number, to: number): void {
    let at = from
    while (at < to && at >= 0) {
      switch (this.#state) {
        case 'head':
          this.heard = true
          at = this.#readHead(arena, at, to)
          break
        case 'body':
          at = this.#readBody(arena, at, to)
          break
        case 'idle': // nobody asked
          this.close()
          return
        case 'dead':
          return
      }
    }
  }

  /** From the exchange's point of view there is one sink for both directions: this is the response's payload. */
  payload(bytes: Buffer, from: number, to: number): void {
    this.#exchange?.bodyBytes(bytes, from, to, this.channel)
  }

  end(): void {
    if (this.#state === 'body' && this.#body.framing === 'close') {
      this.#keep = false
      this.#finish(false)
      return
    }
    this.#broken('the upstream ended the connection')
  }

  drained(): void {}

  closed(): void {
    this.#broken('the upstream closed the connection')
  }

  lost(cause: Error): void {
    this.#broken(`the upstream's connection broke: ${cause.message}`, cause)
  }

  /** Gives up waiting for a response of which nothing has come. */
  lose(reason: MeshError): void {
    if (this.#state === 'head' && !this.heard) this.#fail(reason)
  }

  /** Gives up waiting for a response whose final head has not come: interim ones, or a part of it, are none. */
  expire(reason: MeshError): void {
    if (this.#state === 'head') this.#fail(reason)
  }

  /** Closes it. Not to be called amid an exchange. */
  close(): void {
    this.#state = 'dead'
    this.#store.release()
    this.channel.close()
    this.#leave()
  }

  /**
   * What a request is told on its way, as Istio's sidecars do by default (use_remote_address off, in both directions):
   *
   * - x-forwarded-proto and x-request-id are added where they are missing, and else stay: the first hop decides.
   * - x-forwarded-for stays as it came. A sidecar adds nothing: the caller's address is what accept() says, and who set
   *   the field ahead of the mesh (a gateway) is the one who knows.
   * - No Via: it costs caches and compression (RFC 9110 §7.6.3 asks it of proxies; Envoy adds none either).
   * - x-forwarded-client-cert is what the mesh has proved of the caller, on the way to the application alone; what came under
   *   that name goes no further.
   * - `server` and `date` of a response are the application's, as at Istio's inbound side.
   * - No x-envoy-upstream-service-time, x-envoy-attempt-count or x-envoy-decorator-operation: they would name a proxy that
   *   is not there; the time stands in the access record (upstream_service_time), tries in weft_retries_total.
   *   x-envoy-upstream-rq-timeout-ms is heard (http.ts) and goes no further; others pass as an application's own.
   */
  #sendHead(exchange: Errand, rewritten: Rewritten): void {
    // the target of CONNECT is no path that a rule could rewrite, and its Host says the same
    const target = this.#connect ? exchange.target : (rewritten.target ?? exchange.target)
    const authority = this.#connect ? exchange.authority : (rewritten.authority ?? exchange.authority)
    const isSendable = target === exchange.target || sendable(target) // what came has been looked at
    if (!isSendable || (authority !== exchange.authority && !sendable(authority))) {
      throw new MeshError('BAD_REQUEST', 'the rewritten request target or authority cannot be sent')
    }
    const out = {
      target,
      authority,
      framing: exchange.framing,
      requestId: exchange.newId ? exchange.requestId : null,
      clientCert: this.#carrier?.clientCert ?? null,
      upgrade: this.#upgrade,
      edit: headEdit(rewritten.changes.request),
    }
    writeRequest(this.channel, exchange.head, out, exchange.channel)
  }

  /** Reads a head from the store, or straight from the arena; returns where in the arena it ended. */
  #readHead(arena: Buffer, from: number, to: number): number {
    const store = this.#store
    const before = store.length
    let parsed
    if (before === 0) parsed = this.#head.parse(arena, from, to)
    else {
      store.append(arena, from, to)
      parsed = this.#head.parse(store.bytes, store.from, store.to)
    }
    switch (parsed) {
      case 'more':
        if (before === 0) store.append(arena, from, to)
        return to
      case 'done': {
        const at = from + this.#head.length - before
        this.#onHead(arena, at, to)
        store.release()
        return this.#state === 'dead' ? to : at
      }
      case 'bad':
      case 'large':
      case 'long':
      case 'unknown':
      case 'version':
        this.#fail(new MeshError('UPSTREAM_BAD_RESPONSE', 'the upstream did not answer in HTTP/1.1'))
        return -1
    }
  }

  #onHead(arena: Buffer, at: number, to: number): void {
    const head = this.#head
    const exchange = this.#exchange as Errand
    if (head.status === 101 || (this.#connect && head.status >= 200 && head.status < 300)) {
      this.#onUpgrade(arena, at, to)
      return
    }
    if (head.status < 200) {
      if (++this.#interims > INTERIM_LIMIT) {
        this.#fail(new MeshError('UPSTREAM_BAD_RESPONSE', `more than ${INTERIM_LIMIT} interim responses`))
        return
      }
      exchange.interim(head)
      head.reset()
      return
    }
    if (this.#carrier?.heard(head) === false) {
      this.#drop()
      return
    }
    const framing = head.responseFraming(exchange.method)
    this.#keep = head.persistent && framing !== 'close'
    this.keepAliveSeconds = head.keepAliveSeconds
    this.#body.begin(framing, head.contentLength)
    this.#state = 'body'
    exchange.respond(head, framing)
    if (framing === 'none') this.#finish(at < to)
  }

  #onUpgrade(arena: Buffer, at: number, to: number): void {
    const exchange = this.#exchange as Errand
    if (this.#head.status === 101 && (!this.#upgrade || this.#head.upgrade < 0)) {
      this.#fail(new MeshError('UPSTREAM_BAD_RESPONSE', 'a 101 response that nobody asked for'))
      return
    }
    if (this.#connect) this.#head.contentLength = -1 // the tunnel has none (RFC 9110 §9.3.6)
    const fromUpstream = at < to ? Buffer.from(arena.subarray(at, to)) : null
    this.#carrier?.heard(this.#head) // what was agreed on is not tried again
    this.channel.hold()
    this.ahead = { fromUpstream, fromCaller: exchange.upgrade(this.#head) }
    this.#state = 'dead'
    this.#keep = false
    this.#settle()?.carried('upgraded')
  }

  #readBody(arena: Buffer, from: number, to: number): number {
    const at = this.#body.feed(arena, from, to, this)
    if (at < 0) this.#fail(new MeshError('UPSTREAM_BAD_RESPONSE', 'the response body breaks its framing'))
    else if (this.#body.done) this.#finish(at < to)
    return at
  }

  /**
   * The response is through. Where the request is not, or more has come that nobody asked for, the connection cannot be used
   * again.
   */
  #finish(isMore: boolean): void {
    const exchange = this.#exchange as Errand
    if (isMore || !this.#sent || this.#finished || this.channel.blocked) this.#keep = false
    if (++this.#served >= this.most) this.#keep = false
    this.#state = 'idle'
    const carrier = this.#settle()
    exchange.bodyEnd(this.#body.trailers)
    // neither side's backlog may hold back what the other does next
    if (exchange.channel !== null) {
      exchange.channel.forget(this.channel)
      this.channel.forget(exchange.channel)
    }
    if (!this.#keep) this.close()
    this.reused = true
    carrier?.carried('done')
  }

  #broken(why: string, cause?: Error): void {
    if (this.#state === 'dead') return
    if (this.#exchange === null) this.close()
    // the caller's FIN was passed on, and the application took it as most do: for good
    else if (this.#finished && !this.heard)
      this.#fail(new MeshError('CALLER_RESET', 'the caller left without an answer'))
    else this.#fail(cause === undefined ? new MeshError('UPSTREAM_RESET', why) : lossOf('UPSTREAM_RESET', why, cause))
  }

  #fail(reason: MeshError): void {
    this.#die()?.failed(reason)
  }

  #drop(): void {
    this.#die()?.dropped()
  }

  #die(): Carrier | null {
    this.#state = 'dead'
    this.#store.release()
    this.channel.reset()
    this.#leave()
    return this.#settle()
  }

  #leave(): void {
    this.owner?.unusable(this)
    this.ticket?.release()
  }

  #settle(): Carrier | null {
    const carrier = this.#carrier
    this.#exchange?.during(null, null)
    this.#exchange = this.#carrier = null
    return carrier
  }

  readonly #stopped = (reason: MeshError): void => this.#fail(reason)

  /** A half-close is a half-close: the application decides what it means. */
  readonly #callerEnded = (): void => {
    this.#finished = true
    this.channel.shutdown()
  }
}

/** A request line or Host field may hold it: visible characters of one byte each. */
function sendable(text: string): boolean {
  if (text.length > REWRITE_LIMIT) return false
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code <= 0x20 || code === 0x7f || code > 0xff) return false
  }
  return true
}
