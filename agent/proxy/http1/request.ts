// One HTTP/1.x request of a caller, and the writing of its response.

import { MeshError } from '../../model/failure.ts'
import type { BodySink, Exchange, Stop } from '../exchange.ts'
import type { Channel } from '../transport/transport.ts'
import type { Http1Caller } from './caller.ts'
import { emitAnswer, emitResponse, hasBody, type ResponseOut } from './emit.ts'
import { REQUEST_ID } from './fields.ts'
import type { Framing, Head } from './head.ts'
import { scratch, writeChunk, writeLastChunk } from './send.ts'
import { addressed } from './target.ts'

/** See Exchange. Lives until the caller's next request is read. */
export class Http1Exchange implements Exchange {
  readonly head: Head
  readonly channel: Channel
  readonly method: string
  readonly target: string
  readonly authority: string
  readonly scheme = 'http'
  readonly port: number
  readonly framing: Framing
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
  #stop: Stop | null = null
  #ended: (() => void) | null = null

  private constructor(caller: Http1Caller, head: Head, place: { target: string; authority: string; method: string }) {
    this.#caller = caller
    this.head = head
    this.channel = caller.channel
    this.method = place.method
    this.target = place.target
    this.authority = place.authority
    this.port = caller.options.port
    this.framing = head.requestFraming()
    const id = head.first(REQUEST_ID)
    this.newId = id === null
    this.requestId = id ?? caller.options.requestId()
  }

  /** The exchange for a parsed head, or why it cannot be served. */
  static from(caller: Http1Caller, head: Head): Http1Exchange | MeshError {
    const method = head.text(head.methodFrom, head.methodTo)
    const target = head.text(head.targetFrom, head.targetTo)
    if (method === 'CONNECT') return new MeshError('NOT_IMPLEMENTED', 'CONNECT is not served')
    const host = head.host < 0 ? null : head.value(head.host)
    const place = addressed(method, target, host, caller.options.authority)
    if (typeof place === 'string') return new MeshError('BAD_REQUEST', place)
    return new Http1Exchange(caller, head, { ...place, method })
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
    this.#caller.startBody()
  }

  payload(bytes: Buffer, from: number, to: number): void {
    this.receivedBytes += to - from
    this.bodySink?.bodyBytes(bytes, from, to, this.channel)
  }

  interim(head: Head): void {
    if (this.head.minor === 0) return // RFC 9110 §15.2: HTTP/1.0 knows none
    const length = emitResponse(head, { framing: 'none', connection: null }, scratch)
    this.channel.write(scratch, 0, length, this.channel)
  }

  respond(head: Head, framing: Framing): void {
    const old = this.head.minor === 0
    this.#out = framing === 'close' || framing === 'chunked' ? (old ? 'close' : 'chunked') : framing
    this.#close = !this.head.persistent || this.#caller.closing || this.#out === 'close'
    this.answered = true
    this.status = head.status
    const connection: ResponseOut['connection'] = this.#close ? 'close' : old ? 'keep-alive' : null
    const length = emitResponse(head, { framing: this.#out, connection }, scratch)
    this.channel.write(scratch, 0, length, this.channel)
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
    const length = emitResponse(head, { framing: 'none', connection: 'upgrade' }, scratch)
    this.channel.write(scratch, 0, length, this.channel)
    return this.#caller.leave()
  }

  answer(status: number, text: string): void {
    this.answered = true
    this.status = status
    this.bodySink = null
    const close = !this.head.persistent || this.#caller.closing || !this.#caller.received()
    const length = emitAnswer({ status, text, close, head: this.method === 'HEAD' }, scratch)
    if (this.method !== 'HEAD' && hasBody(status)) this.sentBytes += Buffer.byteLength(text)
    this.channel.write(scratch, 0, length, this.channel)
    this.#caller.responded(close)
  }

  abort(): void {
    this.bodySink = null
    this.#caller.abort()
  }
}
