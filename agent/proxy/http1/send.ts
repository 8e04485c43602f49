// Hands what emit.ts makes to a channel.

import { type Channel, DESK_BYTES } from '../transport/transport.ts'
import {
  type Answer,
  answerBytes,
  emitAnswer,
  emitChunkSize,
  emitRequest,
  emitResponse,
  hasBody,
  type RequestOut,
  type ResponseOut,
  SCRATCH_BYTES,
} from './emit.ts'
import type { Head } from './head.ts'

/** Longest line ahead of a chunk. */
const SIZE_BYTES = 16
const CRLF = Buffer.from('\r\n')
const LAST_CHUNK = Buffer.from('0\r\n\r\n')

/** Writes `bytes[from, to)` as one chunk (RFC 9112 §7.1). */
export function writeChunk(
  to: Channel,
  bytes: Buffer,
  span: { from: number; to: number },
  source: Channel | null,
): void {
  const { desk } = to
  const at = desk.clear(SIZE_BYTES)
  to.write(desk.bytes, at, emitChunkSize(span.to - span.from, desk.bytes, at), source)
  to.write(bytes, span.from, span.to, source)
  to.write(CRLF, 0, 2, source)
}

/** Writes a request's head. */
export function writeRequest(to: Channel, head: Head, how: RequestOut, source: Channel | null): void {
  const { desk } = to
  const length = how.edit === null ? SCRATCH_BYTES : SCRATCH_BYTES + how.edit.lines.length
  const isShort = length <= DESK_BYTES
  const out = isShort ? desk.bytes : Buffer.allocUnsafe(length)
  const at = isShort ? desk.clear(length) : 0
  to.write(out, at, emitRequest(head, how, out, at), source)
}

/** Writes a response's head. */
export function writeResponse(to: Channel, head: Head, how: ResponseOut): void {
  const { desk } = to
  const length = how.edit === null ? SCRATCH_BYTES : SCRATCH_BYTES + how.edit.lines.length
  const isShort = length <= DESK_BYTES
  const out = isShort ? desk.bytes : Buffer.allocUnsafe(length)
  const at = isShort ? desk.clear(length) : 0
  to.write(out, at, emitResponse(head, how, out, at), to)
}

/** Writes a response of the mesh's own. */
export function writeAnswer(to: Channel, answer: Answer): void {
  const { desk } = to
  const length = answerBytes(answer)
  const isShort = length <= DESK_BYTES
  const out = isShort ? desk.bytes : Buffer.allocUnsafe(length)
  const at = isShort ? desk.clear(length) : 0
  to.write(out, at, emitAnswer(answer, out, at), to)
  if (answer.head || !hasBody(answer.status) || answer.body.length === 0) return
  const { buffer, byteOffset, byteLength } = answer.body
  to.write(Buffer.from(buffer, byteOffset, byteLength), 0, byteLength, to)
}

/** Writes the last chunk, and behind it `trailers`: lines as they leave, or null. */
export function writeLastChunk(to: Channel, trailers: Buffer | null, source: Channel | null): void {
  if (trailers === null) {
    to.write(LAST_CHUNK, 0, LAST_CHUNK.length, source)
    return
  }
  to.write(LAST_CHUNK, 0, LAST_CHUNK.length - 2, source)
  to.write(trailers, 0, trailers.length, source)
  to.write(CRLF, 0, 2, source)
}
