// One HTTP/1.x request of a caller, and the writing of its response.

import { normalizedTarget } from '../../model/authorization/path.ts'
import { MeshError } from '../../model/failure.ts'
import { headEdit } from '../../model/http/header-changes.ts'
import { NO_CHANGES } from '../../model/http/route.ts'
import type { Field, HeaderChanges } from '../../model/policy.ts'
import { type BodyCopy, type BodySink, type Exchange, isIdempotent, REPEAT_LIMIT, type Stop } from '../exchange.ts'
import type { Channel } from '../transport/transport.ts'
import type { Http1Caller } from './caller.ts'
import { hasBody, type ResponseOut } from './emit.ts'
import { EXPECT, FORWARDED_FOR, REQUEST_ID, USER_AGENT } from './fields.ts'
import { type Framing, Head } from './head.ts'
import { writeAnswer, writeChunk, writeLastChunk, writeResponse } from './send.ts'
import { type Addressed, addressed } from './target.ts'
import { SAID } from './recurring.ts'
import { Store } from './store.ts'

const NO_FIELDS: readonly Field[] = []

/** See Exchange. Lives until the caller's next request is read. */
export class Http1Exchange implements Exchange {
  head: Head
  readonly channel: Channel
  readonly method: string
  readonly target: string
  readonly authority: string
  readonly scheme = 'http'
  readonly port: number
  readonly minor: number
  readonly framing: Framing
  readonly userAgent: string | null
  readonly forwardedFor: string | null
  readonly requestId: string
  readonly newId: boolean
  answered = false
  receivedBytes = 0
  sentBytes = 0
  status = 0
  stopped: MeshError | null = null
  bodySink: BodySink | null = null
  changes: readonly HeaderChanges[] = NO_CHANGES.response
  readonly #caller: Http1Caller
  #out: Framing = 'none'
  #close = false
  /** A 100 response has been passed on. */
  #continued = false
  /** What has come of a body that may have to be sent again; null where it is not kept. */
  #kept: Store | null = null
  #keepLimit = 0
  #bodyBegun = false
  /** What comes of the body is read before it is sent: nobody else has it. */
  #isAhead = false
  #copy: BodyCopy | null = null
  #stop: Stop | null = null
  #ended: (() => void) | null = null

  private constructor(caller: Http1Caller, head: Head, method: string, place: Addressed) {
    this.#caller = caller
    this.head = head
    this.channel = caller.channel
    this.method = method
    this.target = place.target
    this.authority = place.authority
    this.port = caller.options.port
    this.minor = head.minor
    this.framing = head.requestFraming()
    this.userAgent = head.first(USER_AGENT, SAID.userAgent)
    this.forwardedFor = head.first(FORWARDED_FOR, SAID.forwardedFor)
    const id = head.first(REQUEST_ID)
    this.newId = id === null
    this.requestId = id ?? caller.options.requestId()
  }

  /**
   * The exchange for a parsed head, or why it cannot be served. CONNECT goes to what was dialled, as any request does: a
   * forward proxy behind a Service stays one. It has no content (RFC 9110 §9.3.6).
   */
  static from(caller: Http1Caller, head: Head): Http1Exchange | MeshError {
    const method = head.text(head.methodFrom, head.methodTo, SAID.method)
    const target = head.text(head.targetFrom, head.targetTo)
    const host = head.host < 0 ? null : head.value(head.host, SAID.host)
    const place =
      usual(method, target, host, caller.soundHost) ?? addressed(method, target, host, caller.options.authority)
    if (typeof place === 'string') return new MeshError('BAD_REQUEST', place)
    const plain = place.target.startsWith('/')
      ? normalizedTarget(place.target, caller.options.pathNormalization)
      : place.target
    if (plain === null) return new MeshError('BAD_REQUEST', 'the request target has no path that can be meant')
    caller.soundHost = host
    if (method === 'CONNECT' && head.requestFraming() !== 'none') {
      return new MeshError('BAD_REQUEST', 'CONNECT with content')
    }
    return new Http1Exchange(caller, head, method, { target: plain, authority: place.authority })
  }

  /** Its head is another request's from now on. */
  forget(): void {
    this.head = FORGOTTEN
  }

  header(name: string): string | undefined {
    return this.head.header(name)
  }

  get received(): boolean {
    return this.#caller.body.done
  }

  get halfClosed(): boolean {
    return this.received && this.#caller.halfClosed
  }

  during(stop: Stop | null, ended: (() => void) | null): void {
    this.#stop = stop
    this.#ended = ended
    if (stop !== null && this.stopped !== null) {
      this.#stop = null
      throw this.stopped
    }
  }

  stop(reason: MeshError): void {
    if (this.stopped !== null) return
    this.stopped = reason
    const stop = this.#stop
    this.#stop = null
    this.bodySink = null
    this.#loseCopy()
    stop?.(reason)
  }

  /** From the caller's connection: FIN has come. */
  callerEnded(): void {
    if (this.halfClosed) this.#ended?.()
  }

  sendBody(sink: BodySink): void {
    this.bodySink = sink
    if (this.#bodyBegun) {
      const kept = this.#kept
      if (kept !== null && kept.length > 0) sink.bodyBytes(kept.bytes, kept.from, kept.to, this.channel)
      if (this.bodySink !== sink) return // it has had enough
      if (this.received) sink.bodyEnd(this.#caller.body.trailers)
      else this.channel.resume()
      return
    }
    this.#bodyBegun = true
    const isShort = this.framing === 'length' && this.head.contentLength <= REPEAT_LIMIT
    if (isShort && isIdempotent(this.method)) this.#keepLimit = Math.max(this.#keepLimit, REPEAT_LIMIT)
    const isHopeless = this.framing === 'length' && this.head.contentLength > this.#keepLimit
    if (this.#keepLimit > 0 && this.framing !== 'none' && !isHopeless) this.#kept = new Store(this.channel.budget)
    this.#caller.startBody()
  }

  readAhead(most: number, told: (body: Buffer, isWhole: boolean) => void): void {
    if (this.framing === 'none') {
      told(Buffer.alloc(0), true)
      return
    }
    this.#kept ??= new Store(this.channel.budget)
    this.#isAhead = true
    const over = (isWhole: boolean): void => {
      const kept = this.#kept as Store
      this.detachBody()
      this.#isAhead = false
      told(kept.bytes.subarray(kept.from, Math.min(kept.to, kept.from + most)), isWhole)
    }
    this.bodySink = {
      bodyBytes: () => {
        const { budget } = this.channel
        if ((this.#kept as Store).length > most) over(false)
        else if (budget.spent) this.stop(budget.failure())
      },
      bodyEnd: () => over(true),
    }
    if (this.#withheld) this.#goOn()
    if (this.#bodyBegun) {
      this.sendBody(this.bodySink)
      return
    }
    this.#bodyBegun = true
    this.#caller.startBody()
  }

  /** Has a caller send its body that waits to be told so. */
  #goOn(): void {
    this.#continued = true
    if (this.head.minor > 0) this.channel.write(CONTINUE, 0, CONTINUE.length, null)
  }

  detachBody(): void {
    this.bodySink = null
    if (this.#bodyBegun && !this.received) this.channel.hold()
  }

  keepBody(bytes: number): void {
    this.#keepLimit = bytes
  }

  get resendable(): boolean {
    return !this.answered && (this.framing === 'none' || !this.#bodyBegun || this.#kept !== null)
  }

  get repeatable(): boolean {
    return this.resendable && isIdempotent(this.method)
  }

  payload(bytes: Buffer, from: number, to: number): void {
    this.receivedBytes += to - from
    if (this.#kept !== null) this.#keep(this.#kept, bytes, from, to)
    this.#copy?.bodyBytes(bytes, from, to)
    this.bodySink?.bodyBytes(bytes, from, to, this.channel)
  }

  /**
   * What is beyond the bounds makes it give up all that was kept. Not while the body has no sink: a held channel may bring what
   * was read in the same turn, nobody else has that, and who said that it can be sent again has been believed.
   */
  #keep(kept: Store, bytes: Buffer, from: number, to: number): void {
    const isBeyond = kept.length + to - from > this.#keepLimit || this.channel.budget.scarce
    if (isBeyond && this.bodySink !== null && !this.#isAhead) this.#dropKept()
    else kept.append(bytes, from, to)
  }

  #dropKept(): void {
    this.#kept?.release()
    this.#kept = null
  }

  /** From the caller's connection: the body is whole. */
  bodyWhole(trailers: Buffer | null): void {
    this.bodySink?.bodyEnd(trailers)
    const copy = this.#copy
    this.#copy = null
    copy?.bodyEnd(trailers)
  }

  copyBody(copy: BodyCopy): void {
    this.#copy = copy
  }

  /** What has not come by now is not copied any more. */
  #loseCopy(): void {
    const copy = this.#copy
    this.#copy = null
    copy?.lost()
  }

  interim(head: Head): void {
    if (head.status === 100 && this.#continued) return // it has been told already
    if (head.status === 100) this.#continued = true
    if (this.head.minor === 0) return // RFC 9110 §15.2: HTTP/1.0 knows none
    writeResponse(this.channel, head, { framing: 'none', connection: null, edit: null })
  }

  respond(head: Head, framing: Framing): void {
    const old = this.head.minor === 0
    this.#out = framing === 'close' || framing === 'chunked' ? (old ? 'close' : 'chunked') : framing
    this.#close = this.#isLast || this.#out === 'close' || this.#withheld
    this.answered = true
    this.#dropKept()
    this.status = head.status
    const connection: ResponseOut['connection'] = this.#close ? 'close' : old ? 'keep-alive' : null
    writeResponse(this.channel, head, { framing: this.#out, connection, edit: headEdit(this.changes) })
  }

  /** Behind a refused CONNECT may stand what was meant for the tunnel: it must not be read as a request. */
  get #isLast(): boolean {
    return !this.head.persistent || this.#caller.closing || this.method === 'CONNECT'
  }

  /** The caller waits with its body for a 100 that does not come: whether it will send it, nobody knows (RFC 9110 §10.1.1). */
  get #withheld(): boolean {
    return !this.received && !this.#continued && this.receivedBytes === 0 && this.head.first(EXPECT) !== null
  }

  bodyBytes(bytes: Buffer, from: number, to: number, source: Channel | null): void {
    this.sentBytes += to - from
    if (this.#out === 'chunked') writeChunk(this.channel, bytes, { from, to }, source)
    else this.channel.write(bytes, from, to, source)
  }

  bodyEnd(trailers: Buffer | null): void {
    if (this.#out === 'chunked') writeLastChunk(this.channel, trailers, this.channel)
    this.bodySink = null
    this.#loseCopy()
    this.#caller.responded(this.#close)
  }

  upgrade(head: Head): Buffer | null {
    this.answered = true
    this.#dropKept()
    this.status = head.status
    writeResponse(this.channel, head, { framing: 'none', connection: 'upgrade', edit: headEdit(this.changes) })
    return this.#caller.leave()
  }

  answer(status: number, body: string | Uint8Array, fields: readonly Field[] = NO_FIELDS): void {
    this.answered = true
    this.status = status
    this.bodySink = null
    this.#dropKept()
    this.#loseCopy()
    const close = this.#isLast || !this.#caller.received()
    const bytes = typeof body === 'string' ? Buffer.from(body) : body
    const isHead = this.method === 'HEAD'
    if (!isHead && hasBody(status)) this.sentBytes += bytes.length
    writeAnswer(this.channel, { status, body: bytes, fields, close, head: isHead, edit: headEdit(this.changes) })
    this.#caller.responded(close)
  }

  abort(): void {
    this.bodySink = null
    this.#dropKept()
    this.#loseCopy()
    this.#caller.abort()
  }
}

/** Says nothing. */
const FORGOTTEN = new Head('request')

const CONTINUE = Buffer.from('HTTP/1.1 100 Continue\r\n\r\n')

/** A path asked of the host that the request before was asked of, which has been looked at then; else null. */
function usual(method: string, target: string, host: string | null, sound: string | null): Addressed | null {
  const isKnown = host !== null && host === sound && method !== 'CONNECT' && target.startsWith('/')
  return isKnown ? { target, authority: host } : null
}
