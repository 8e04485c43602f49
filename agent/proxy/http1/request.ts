// One HTTP/1.x request of a caller, and the writing of its response.

import { MeshError } from '../../model/failure.ts'
import { type BodySink, type Exchange, isIdempotent, REPEAT_LIMIT, type Stop } from '../exchange.ts'
import type { Channel } from '../transport/transport.ts'
import type { Http1Caller } from './caller.ts'
import { emitResponse, hasBody, type ResponseOut, SCRATCH_BYTES } from './emit.ts'
import { EXPECT, FORWARDED_FOR, REQUEST_ID, USER_AGENT } from './fields.ts'
import type { Framing, Head } from './head.ts'
import { writeAnswer, writeChunk, writeLastChunk } from './send.ts'
import { type Addressed, addressed } from './target.ts'
import type { Said } from './recurring.ts'

/** See Exchange. Lives until the caller's next request is read. */
export class Http1Exchange implements Exchange {
  readonly head: Head
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
  readonly #caller: Http1Caller
  #out: Framing = 'none'
  #close = false
  /** A 100 response has been passed on. */
  #continued = false
  /** What has come of a body that may have to be sent again; null where it is not kept. */
  #kept: Buffer[] | null = null
  #bodyBegun = false
  #stop: Stop | null = null
  #ended: (() => void) | null = null

  private constructor(caller: Http1Caller, head: Head, method: string, place: Addressed) {
    const { said } = caller
    this.#caller = caller
    this.head = head
    this.channel = caller.channel
    this.method = method
    this.target = place.target
    this.authority = place.authority
    this.port = caller.options.port
    this.minor = head.minor
    this.framing = head.requestFraming()
    this.userAgent = head.first(USER_AGENT, said.userAgent)
    this.forwardedFor = head.first(FORWARDED_FOR, said.forwardedFor)
    const id = head.first(REQUEST_ID)
    this.newId = id === null
    this.requestId = id ?? caller.options.requestId()
  }

  /**
   * The exchange for a parsed head, or why it cannot be served. CONNECT goes to what was dialled, as any request does: a
   * forward proxy behind a Service stays one. It has no content (RFC 9110 §9.3.6).
   */
  static from(caller: Http1Caller, head: Head): Http1Exchange | MeshError {
    const { said } = caller
    const method = head.text(head.methodFrom, head.methodTo, said.method)
    const target = head.text(head.targetFrom, head.targetTo)
    const host = head.host < 0 ? null : head.value(head.host, said.host)
    const place = usual(method, target, host, said) ?? addressed(method, target, host, caller.options.authority)
    if (typeof place === 'string') return new MeshError('BAD_REQUEST', place)
    said.soundHost = host
    if (method === 'CONNECT' && head.requestFraming() !== 'none') {
      return new MeshError('BAD_REQUEST', 'CONNECT with content')
    }
    return new Http1Exchange(caller, head, method, place)
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
    stop?.(reason)
  }

  /** From the caller's connection: FIN has come. */
  callerEnded(): void {
    if (this.halfClosed) this.#ended?.()
  }

  sendBody(sink: BodySink): void {
    this.bodySink = sink
    if (this.#bodyBegun) {
      for (const bytes of this.#kept ?? []) sink.bodyBytes(bytes, 0, bytes.length, this.channel)
      if (this.received) sink.bodyEnd(null) // of known length: without trailers
      return
    }
    this.#bodyBegun = true
    const isKept = this.framing === 'length' && this.head.contentLength <= REPEAT_LIMIT && isIdempotent(this.method)
    if (isKept) this.#kept = []
    this.#caller.startBody()
  }

  get repeatable(): boolean {
    return !this.answered && isIdempotent(this.method) && (this.framing === 'none' || this.#kept !== null)
  }

  payload(bytes: Buffer, from: number, to: number): void {
    this.receivedBytes += to - from
    this.#kept?.push(Buffer.from(bytes.subarray(from, to)))
    this.bodySink?.bodyBytes(bytes, from, to, this.channel)
  }

  interim(head: Head): void {
    if (head.status === 100) this.#continued = true
    if (this.head.minor === 0) return // RFC 9110 §15.2: HTTP/1.0 knows none
    this.#respond(head, { framing: 'none', connection: null })
  }

  respond(head: Head, framing: Framing): void {
    const old = this.head.minor === 0
    this.#out = framing === 'close' || framing === 'chunked' ? (old ? 'close' : 'chunked') : framing
    this.#close = this.#isLast || this.#out === 'close' || this.#withheld
    this.answered = true
    this.#kept = null
    this.status = head.status
    const connection: ResponseOut['connection'] = this.#close ? 'close' : old ? 'keep-alive' : null
    this.#respond(head, { framing: this.#out, connection })
  }

  #respond(head: Head, how: ResponseOut): void {
    const { channel } = this
    const { desk } = channel
    const at = desk.clear(SCRATCH_BYTES)
    channel.write(desk.bytes, at, emitResponse(head, how, desk.bytes, at), channel)
  }

  /** Behind a refused CONNECT may stand what was meant for the tunnel: it must not be read as a request. */
  get #isLast(): boolean {
    return !this.head.persistent || this.#caller.closing || this.method === 'CONNECT'
  }

  /** The caller waits with its body for a 100 that does not come: whether it will send it, nobody knows (RFC 9110 §10.1.1). */
  get #withheld(): boolean {
    return !this.received && !this.#continued && this.receivedBytes === 0 && this.head.first(EXPECT) !== null
  }

  bodyBytes(bytes: Buffer, from: number, to: number, source: Channel): void {
    this.sentBytes += to - from
    if (this.#out === 'chunked') writeChunk(this.channel, bytes, { from, to }, source)
    else this.channel.write(bytes, from, to, source)
  }

  bodyEnd(trailers: Buffer | null): void {
    if (this.#out === 'chunked') writeLastChunk(this.channel, trailers, this.channel)
    this.bodySink = null
    this.#caller.responded(this.#close)
  }

  upgrade(head: Head): Buffer | null {
    this.answered = true
    this.status = head.status
    this.#respond(head, { framing: 'none', connection: 'upgrade' })
    return this.#caller.leave()
  }

  answer(status: number, text: string): void {
    this.answered = true
    this.status = status
    this.bodySink = null
    const close = this.#isLast || !this.#caller.received()
    if (this.method !== 'HEAD' && hasBody(status)) this.sentBytes += Buffer.byteLength(text)
    writeAnswer(this.channel, { status, text, close, head: this.method === 'HEAD' })
    this.#caller.responded(close)
  }

  abort(): void {
    this.bodySink = null
    this.#caller.abort()
  }
}

/** A path asked of the host that the request before was asked of, which has been looked at then; else null. */
function usual(method: string, target: string, host: string | null, said: Said): Addressed | null {
  const isKnown = host !== null && host === said.soundHost && method !== 'CONNECT' && target.startsWith('/')
  return isKnown ? { target, authority: host } : null
}
