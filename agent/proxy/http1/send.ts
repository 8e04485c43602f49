// Hands what emit.ts makes to a channel.

import type { Channel } from '../transport/transport.ts'
import { emitChunkSize, SCRATCH_BYTES } from './emit.ts'

/** One for the whole thread: what is written from it is copied before its next use. */
export const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)

const CRLF = Buffer.from('\r\n')
const LAST_CHUNK = Buffer.from('0\r\n\r\n')

/** Writes `bytes[from, to)` as one chunk (RFC 9112 §7.1). */
export function writeChunk(to: Channel, bytes: Buffer, span: { from: number; to: number }, source: Channel): void {
  to.write(scratch, 0, emitChunkSize(span.to - span.from, scratch, 0), source)
  to.write(bytes, span.from, span.to, source)
  to.write(CRLF, 0, 2, source)
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
