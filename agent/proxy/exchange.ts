// One request and its response between a caller's connection and an upstream's, whatever the HTTP version of either.

import type { MeshError } from '../model/failure.ts'
import type { RequestFacts } from '../model/http/match.ts'
import type { Field, HeaderChanges } from '../model/policy.ts'
import type { Framing, Head } from './http1/head.ts'
import type { Channel } from './transport/transport.ts'

/** Where a body flows to. `source` is not read while the destination has a backlog; null: nobody waits. */
export interface BodySink {
  bodyBytes(bytes: Buffer, from: number, to: number, source: Channel | null): void
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

/** Keeps what passes of a request's body, beside where that goes. It holds nobody back. */
export interface BodyCopy {
  bodyBytes(bytes: Buffer, from: number, to: number): void
  /** All of it has passed. */
  bodyEnd(trailers: Buffer | null): void
  /** No more of it will: the request was given up, or answered before it was whole. */
  lost(): void
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

/** What an upstream is given to do: a request to be sent, and who takes the response. */
export interface Errand extends ResponseSink {
  readonly method: string
  /** Request target in origin form. */
  readonly target: string
  readonly authority: string
  /** The head as it came. */
  readonly head: Head
  /** How the caller delimits the request's body. */
  readonly framing: Framing
  /** The id the request came with, else the one it leaves with. */
  readonly requestId: string
  /** Whether `requestId` was made here. */
  readonly newId: boolean
  /** The caller ended its side behind this request (FIN): to be passed on. */
  readonly halfClosed: boolean
  /** The connection to the caller; null where nobody waits for the response. */
  readonly channel: Channel | null
  /**
   * Names what is under way for this request: `stop` is called where it must end, `ended` where the caller sends FIN
   * behind the complete request. Throws at once where the request was stopped already. Null: nothing is under way.
   */
  during(stop: Stop | null, ended: (() => void) | null): void
  /** Sends the request's body to `sink`, from its first byte on. Called again only where the request may be sent again. */
  sendBody(sink: BodySink): void
  /**
   * Passes a 101 response, or a 2xx one to CONNECT, on and gives the connection up to whatever was agreed upon; returns
   * what the caller sent ahead.
   */
  upgrade(head: Head): Buffer | null
}

/** One request of a caller. The corridor reads it, sends it somewhere, or answers it. */
export interface Exchange extends RequestFacts, Errand {
  /** HTTP/1.`minor`. */
  readonly minor: number
  /** As they came, for its record. */
  readonly userAgent: string | null
  readonly forwardedFor: string | null
  /** Whether a final response head has gone to the caller. */
  readonly answered: boolean
  /** The request's last byte has come. */
  readonly received: boolean
  /** Body bytes, framing not counted. */
  receivedBytes: number
  sentBytes: number
  /** Status the caller got, 0 for none. */
  readonly status: number
  /** The connection to the caller. */
  readonly channel: Channel
  /** What is changed in the final head of the response, whoever gives it. */
  changes: readonly HeaderChanges[]
  /** Stops what is under way: the first reason stands. */
  stop(reason: MeshError): void
  /** Why it was stopped, or null. */
  readonly stopped: MeshError | null
  /** Has the body kept beside, from its first byte on: to be said before it is sent. One at most. */
  copyBody(copy: BodyCopy): void
  /** The sink of the body is gone, and another may come: until then the caller is not read. */
  detachBody(): void
  /** Before the body is sent: up to so many bytes of it are kept, in case that it is sent again. */
  keepBody(bytes: number): void
  /**
   * Reads the body before it is sent, until it is whole or longer than `most`, and then tells what came, `most` of it at most;
   * not once the exchange was stopped. All of it is sent as if nothing had been read. A caller that waits to be told to
   * continue (RFC 9110 §10.1.1) is told.
   */
  readAhead(most: number, told: (body: Buffer, isWhole: boolean) => void): void
  /** Whether the whole request can be sent once more: nothing of its body is gone, and nobody has answered. */
  readonly resendable: boolean
  /** Whether it may be sent once more of the mesh's own accord: twice is as once. */
  readonly repeatable: boolean
  /** Answers from here. A body is plain text where no field says what it is; a text leaves as UTF-8. */
  answer(status: number, body: string | Uint8Array, fields?: readonly Field[]): void
  /** Breaks off a response that cannot be completed: the caller sees a reset. */
  abort(): void
}
