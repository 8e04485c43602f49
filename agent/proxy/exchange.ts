// One request and its response between a caller's connection and an upstream's, whatever the HTTP version of either.

import type { MeshError } from '../model/failure.ts'
import type { RequestFacts } from '../model/match.ts'
import type { Framing, Head } from './http1/head.ts'
import type { Channel } from './transport/transport.ts'

/** Where a body flows to. `source` is not read while the destination has a backlog. */
export interface BodySink {
  bodyBytes(bytes: Buffer, from: number, to: number, source: Channel): void
  /** `trailers`: their lines as they leave (RFC 9110 §6.5), for a body that leaves in chunks; null for none. */
  bodyEnd(trailers: Buffer | null): void
}

/** Takes a response as it comes from the upstream. */
export interface ResponseSink extends BodySink {
  /** An interim response (1xx but 101): any number, ahead of the final one. */
  interim(head: Head): void
  /** The final head. `framing` says how the upstream delimits what follows. */
  respond(head: Head, framing: Framing): void
}

/** Longest body that is kept while a pooled connection may turn out to be closed. */
export const REPEAT_LIMIT = 16 * 1024

const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'])

/** RFC 9110 §9.2.2: doing it twice is as doing it once. */
export function isIdempotent(method: string): boolean {
  return IDEMPOTENT.has(method)
}

/** What may be stopped: by the caller's going away, a deadline, or shutdown. */
export type Stop = (reason: MeshError) => void

/** One request of a caller. The corridor reads it, sends it somewhere, or answers it. */
export interface Exchange extends RequestFacts, ResponseSink {
  /** The head as it came. */
  readonly head: Head
  /** How the caller delimits the request's body. */
  readonly framing: Framing
  /** HTTP/1.`minor`. */
  readonly minor: number
  /** As they came, for its record. */
  readonly userAgent: string | null
  readonly forwardedFor: string | null
  /** The id the request came with, else the one it leaves with. */
  readonly requestId: string
  /** Whether `requestId` was made here. */
  readonly newId: boolean
  /** Whether a final response head has gone to the caller. */
  readonly answered: boolean
  /** The request's last byte has come. */
  readonly received: boolean
  /** The caller ended its side behind this request (FIN): to be passed on. */
  readonly halfClosed: boolean
  /** Body bytes, framing not counted. */
  receivedBytes: number
  sentBytes: number
  /** Status the caller got, 0 for none. */
  readonly status: number
  /** The connection to the caller. */
  readonly channel: Channel
  /**
   * Names what is under way for this exchange: `stop` is called where it must end, `ended` where the caller sends FIN
   * behind the complete request. Throws at once where the exchange was stopped already. Null: nothing is under way.
   */
  during(stop: Stop | null, ended: (() => void) | null): void
  /** Stops what is under way: the first reason stands. */
  stop(reason: MeshError): void
  /** Why it was stopped, or null. */
  readonly stopped: MeshError | null
  /** Sends the request's body to `sink`, from its first byte on. Called again only where it is `repeatable`. */
  sendBody(sink: BodySink): void
  /** Whether the whole request can be sent once more: nothing of its body is gone, and twice is as once. */
  readonly repeatable: boolean
  /** Answers from here, in plain text. */
  answer(status: number, text: string): void
  /**
   * Passes a 101 response, or a 2xx one to CONNECT, on and gives the connection up to whatever was agreed upon; returns
   * what the caller sent ahead.
   */
  upgrade(head: Head): Buffer | null
  /** Breaks off a response that cannot be completed: the caller sees a reset. */
  abort(): void
}
