// What leaves of a message that was understood: written by the product, to be read again by others.

import { emitRequest, emitResponse } from '../../agent/proxy/http1/emit.ts'
import { writeChunk, writeLastChunk } from '../../agent/proxy/http1/send.ts'
import { type Channel, plainDesk } from '../../agent/proxy/transport/transport.ts'
import { fastReading, newParser, type Reading, slowReading, type Stream } from './readings.ts'
import { isDeepStrictEqual } from 'node:util'

const desk = plainDesk()

/** The whole message as it leaves the proxy, or null where the input is not one to be forwarded. */
export function forwarded(stream: Stream): string | null {
  const parser = newParser(stream)
  const reading = fastReading(stream, [], parser)
  const { body, addressed } = reading
  if (body?.verdict !== 'done' && reading.framing !== 'close') return null
  const { head } = parser
  const framing = reading.framing === 'close' ? 'chunked' : head.chunked && body?.trailers ? 'chunked' : reading.framing
  const as = framing as 'none' | 'length' | 'chunked'
  let written: number
  if (stream.kind === 'request') {
    if (addressed == null) return null
    const upgrade = head.upgrade >= 0
    written = emitRequest(
      head,
      { ...addressed, framing: as, requestId: null, clientCert: null, edit: null, upgrade },
      desk.bytes,
      0,
    )
  } else
    written = emitResponse(
      head,
      { framing: bodiless(reading) ? 'none' : as, connection: null, edit: null },
      desk.bytes,
      0,
    )
  const text = desk.bytes.toString('latin1', 0, written)
  if (bodiless(reading)) return text
  return text + bodyText(as, body?.payload ?? '', parser.body.trailers)
}

function bodiless({ framing }: Reading): boolean {
  return framing === 'none'
}

function bodyText(framing: string, payload: string, trailers: Buffer | null): string {
  if (framing !== 'chunked') return payload
  let text = ''
  const write = (bytes: Buffer, from: number, to: number): string => (text += bytes.toString('latin1', from, to))
  const channel = { desk, write }
  const to = channel as unknown as Channel
  const bytes = Buffer.from(payload, 'latin1')
  const half = bytes.length >> 1
  if (half > 0) writeChunk(to, bytes, { from: 0, to: half }, to)
  if (bytes.length > half) writeChunk(to, bytes, { from: half, to: bytes.length }, to)
  writeLastChunk(to, trailers, to)
  return text
}

/** Fields that the proxy itself may say. */
const OWN = ['host', 'connection', 'te', 'upgrade', 'content-length', 'transfer-encoding', 'trailer']
const ADDED = /^x-(forwarded-|request-id$)/

/** Null where what leaves means what came, to the reference; else how they differ. */
export function misunderstanding(stream: Stream): string | null {
  const out = forwarded(stream)
  if (out === null) return null
  const came = slowReading(stream)
  const left = slowReading({ ...stream, text: out, limits: { headBytes: 0xffff, headFields: 200 } })
  const before = { ...meaningOf(came), announced: announced(came) }
  const after = { ...meaningOf(left), announced: left.head?.contentLength }
  const whole = (left.head?.length ?? 0) + (left.body?.length ?? 0) === out.length
  if (whole && isDeepStrictEqual(before, after)) return null
  return `left as ${JSON.stringify(out)}\n came ${JSON.stringify(before)}\n left ${JSON.stringify(after)}`
}

function meaningOf({ head, addressed, body, framing }: Reading) {
  const foreign = (name: string): boolean => !OWN.includes(name.toLowerCase()) && !ADDED.test(name.toLowerCase())
  return {
    method: head?.method,
    addressed,
    status: head?.status,
    reason: head?.reason,
    fields: head?.endToEnd.filter(([name]) => foreign(name)),
    payload: body?.payload,
    trailers: body?.trailers,
    bodiless: framing === 'none',
  }
}

/** The length that goes on with a head: none where there must be none, or where the framing is another (RFC 9110 §8.6). */
function announced({ head, framing }: Reading): number | undefined {
  const { status = 0 } = head ?? {}
  if ((status >= 100 && status < 200) || status === 204) return -1
  return framing === 'chunked' || framing === 'close' ? -1 : head?.contentLength
}
