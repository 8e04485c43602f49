// Hands what emit.ts makes to a channel.

import type { Channel } from '../transport/transport.ts'
import { type Answer, emitAnswer, emitChunkSize, SCRATCH_BYTES } from './emit.ts'

/** Longest line ahead of a chunk. */
const SIZE_BYTES = 16
const CRLF = Buffer.from('\r\n')
const LAST_CHUNK = Buffer.from('0\r\n\r\n')

/** Writes `bytes[from, to)` as one chunk (RFC 9112 §7.1). */
export function writeChunk(to: Channel, bytes: Buffer, span: { from: number; to: number }, source: Channel): void {
  const { desk } = to
  const at = desk.clear(SIZE_BYTES)
  to.write(desk.bytes, at, emitChunkSize(span.to - span.from, desk.bytes, at), source)
  to.write(bytes, span.from, span.to, source)
  to.write(CRLF, 0, 2, source)
}

/** Writes a response of the mesh's own. */
export function writeAnswer(to: Channel, answer: Answer): void {
  const { desk } = to
  const at = desk.clear(SCRATCH_BYTES)
  to.write(desk.bytes, at, emitAnswer(answer, desk.bytes, at), to)
}

/** Writes the last chunk, and behind it `trailers`: lines as they leave, or null. */
export function writeLastChunk(to: Channel, trailers: Buffer | null, source: Channel): void {
  if (trailers === null) {
    to.write(LAST_CHUNK, 0, LAST_CHUNK.length, source)
    return
  }
  to.write(LAST_CHUNK, 0, LAST_CHUNK.length - 2, source)
  to.write(trailers, 0, trailers.length, source)
  to.write(CRLF, 0, 2, source)
}
