// WebSocket as far as the Kubernetes API needs it: whole binary messages both ways over a connection that was upgraded, no
// extension. Frames are read and written here; who connects, and what the messages mean, others say.
// Source: RFC 6455.

import { createHash, randomBytes } from 'node:crypto'
import type { Duplex } from 'node:stream'

/** The longest message that is taken; what is sent stays below it. */
export const MESSAGE_LIMIT_BYTES = 1024 * 1024
/** Parts of one message: many small ones cost more than they hold. */
const PARTS_LIMIT = 1024
/** How long the other end may take to answer a close. */
const CLOSE_WITHIN_MS = 2_000
/** RFC 6455, 1.3: shows that the server read the key as a WebSocket's. */
const ACCEPT_SUFFIX = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

const OPCODE = { more: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const
/** RFC 6455, 7.4.1. */
export const CLOSE = { normal: 1000, protocol: 1002, unsupported: 1003, tooBig: 1009, failed: 1011 } as const

/** Why a connection is given up, with the code that the other end is told. */
export class WebSocketFault extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

/** Whether a value of Sec-WebSocket-Key is one: 16 bytes in base64. */
export function isKey(key: string): boolean {
  return /^[A-Za-z0-9+/]{21}[AQgw]==$/.test(key)
}

/** Sec-WebSocket-Accept for a Sec-WebSocket-Key. */
export function acceptOf(key: string): string {
  return createHash('sha1')
    .update(key + ACCEPT_SUFFIX)
    .digest('base64')
}

export interface Frame {
  readonly isFinal: boolean
  readonly opcode: number
  readonly payload: Buffer
}

/** One frame on the wire. `mask` is four random bytes; only a client masks, and always. */
export function encodeFrame({ isFinal, opcode, payload }: Frame, mask: Buffer | null): Buffer {
  const { length } = payload
  const extra = length < 126 ? 0 : length < 65_536 ? 2 : 8
  const head = Buffer.alloc(2 + extra)
  head[0] = (isFinal ? 0x80 : 0) | opcode
  head[1] = (mask === null ? 0 : 0x80) | (extra === 0 ? length : extra === 2 ? 126 : 127)
  if (extra === 2) head.writeUInt16BE(length, 2)
  if (extra === 8) head.writeBigUInt64BE(BigInt(length), 2)
  return mask === null ? Buffer.concat([head, payload]) : Buffer.concat([head, mask, masked(payload, mask)])
}

/** Masks, and takes the mask off again: it is the same. */
function masked(payload: Buffer, mask: Buffer): Buffer {
  const out = Buffer.allocUnsafe(payload.length)
  for (let at = 0; at < payload.length; at++) out[at] = (payload[at] as number) ^ (mask[at & 3] as number)
  return out
}

/** Cuts what comes in into frames. Holds no more than one frame's length. */
export class FrameReader {
  readonly #expectsMask: boolean
  #rest: Buffer = Buffer.alloc(0)

  /** `from` is who sends: clients mask, servers do not. */
  constructor(from: 'client' | 'server') {
    this.#expectsMask = from === 'client'
  }

  /** The frames that are whole with these bytes. Throws WebSocketFault at what is none, or too long. */
  *take(bytes: Buffer): Generator<Frame> {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    for (let frame = this.#next(); frame !== null; frame = this.#next()) yield frame
  }

  #next(): Frame | null {
    const held = this.#rest
    if (held.length < 2) return null
    const [first, second] = [held.readUInt8(0), held.readUInt8(1)]
    const [isFinal, opcode, isMasked] = [(first & 0x80) !== 0, first & 0x0f, (second & 0x80) !== 0]
    if ((first & 0x70) !== 0) throw new WebSocketFault(CLOSE.protocol, 'a frame of an extension that was not agreed on')
    if (isMasked !== this.#expectsMask)
      throw new WebSocketFault(CLOSE.protocol, 'a frame that is masked as it must not be')
    const short = second & 0x7f
    if (opcode >= OPCODE.close && (!isFinal || short > 125)) {
      throw new WebSocketFault(CLOSE.protocol, 'a control frame that is long or in parts')
    }
    const extra = short < 126 ? 0 : short === 126 ? 2 : 8
    const start = 2 + extra + (isMasked ? 4 : 0)
    if (held.length < 2 + extra) return null
    const length = extra === 0 ? short : extra === 2 ? held.readUInt16BE(2) : Number(held.readBigUInt64BE(2))
    // judged before it is there, so that no more than it is ever held
    if (length > MESSAGE_LIMIT_BYTES) throw new WebSocketFault(CLOSE.tooBig, `a frame of ${length} bytes`)
    if (held.length < start + length) return null
    const payload = held.subarray(start, start + length)
    this.#rest = held.subarray(start + length)
    return {
      isFinal,
      opcode,
      payload: isMasked ? masked(payload, held.subarray(start - 4, start)) : Buffer.from(payload),
    }
  }
}

export interface WebSocketEvents {
  message(payload: Buffer): void
  /** What was sent is on its way, after a `send` that returned false. */
  drain(): void
  /** Called once, at the end: null where it was closed in order, by either end; else why it was not. */
  end(fault: Error | null): void
}

/** One end of an upgraded connection, which it owns from then on. */
export class WebSocketLink {
  readonly #socket: Duplex
  readonly #masks: boolean
  readonly #reader: FrameReader
  readonly #events: WebSocketEvents
  /** Of a message that comes in parts. */
  #parts: Buffer[] = []
  #partBytes = 0
  #isInParts = false
  #hasClosed = false
  #hasEnded = false
  #fault: Error | null = null

  /** `head` are bytes that came with the upgrade. */
  constructor(socket: Duplex, end: 'client' | 'server', head: Buffer, events: WebSocketEvents) {
    this.#socket = socket
    this.#masks = end === 'client'
    this.#reader = new FrameReader(end === 'client' ? 'server' : 'client')
    this.#events = events
    socket.on('error', (error: Error) => (this.#fault ??= error))
    socket.on('end', () => this.#broken())
    socket.on('close', () => this.#broken())
    socket.on('drain', () => events.drain())
    if (head.length > 0) socket.unshift(head) // so that a pause holds it back like what comes later
    socket.on('data', (bytes: Buffer) => this.#take(bytes))
  }

  /** Sends one message. False: more is buffered than should be, `drain` comes. Nothing is sent after a close. */
  send(payload: Buffer): boolean {
    if (this.#hasClosed || this.#hasEnded) return true
    return this.#write(OPCODE.binary, payload)
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** Ends it in order, after what was sent. The other end is given a little time to agree. Idempotent. */
  close(code: number = CLOSE.normal, reason = ''): void {
    if (this.#hasClosed || this.#hasEnded) return
    this.#hasClosed = true
    const payload = Buffer.alloc(2 + Math.min(Buffer.byteLength(reason), 123))
    payload.writeUInt16BE(code)
    payload.write(reason, 2)
    this.#write(OPCODE.close, payload)
    this.#socket.resume() // its answer is waited for
    setTimeout(() => this.destroy(), CLOSE_WITHIN_MS).unref()
  }

  /** Ends it at once. */
  destroy(): void {
    this.#socket.destroy()
    this.#broken()
  }

  #take(bytes: Buffer): void {
    try {
      for (const frame of this.#reader.take(bytes)) {
        if (this.#hasEnded) return
        this.#handle(frame)
      }
    } catch (error) {
      if (!(error instanceof WebSocketFault)) throw error
      this.close(error.code, error.message)
      this.#socket.end()
      this.#end(error)
    }
  }

  #handle({ isFinal, opcode, payload }: Frame): void {
    switch (opcode) {
      case OPCODE.ping:
        if (!this.#hasClosed) this.#write(OPCODE.pong, payload)
        return
      case OPCODE.pong:
        return
      case OPCODE.close:
        return this.#closed(payload)
      case OPCODE.binary:
      case OPCODE.more:
        return this.#gather(isFinal, opcode, payload)
      case OPCODE.text:
        throw new WebSocketFault(CLOSE.unsupported, 'a message of text')
      default:
        throw new WebSocketFault(CLOSE.protocol, `a frame of the unknown kind ${opcode}`)
    }
  }

  #gather(isFinal: boolean, opcode: number, payload: Buffer): void {
    if ((opcode === OPCODE.more) !== this.#isInParts) throw new WebSocketFault(CLOSE.protocol, 'parts out of order')
    this.#partBytes += payload.length
    if (this.#partBytes > MESSAGE_LIMIT_BYTES || this.#parts.length >= PARTS_LIMIT)
      throw new WebSocketFault(CLOSE.tooBig, 'a message that is too long')
    if (payload.length > 0) this.#parts.push(payload)
    this.#isInParts = !isFinal
    if (!isFinal) return
    const message = this.#parts.length === 1 ? (this.#parts[0] as Buffer) : Buffer.concat(this.#parts)
    this.#parts = []
    this.#partBytes = 0
    if (!this.#hasClosed) this.#events.message(message)
  }

  #closed(payload: Buffer): void {
    const code = payload.length < 2 ? CLOSE.normal : payload.readUInt16BE(0)
    const reason = payload.subarray(2).toString('utf8')
    this.close()
    this.#socket.end()
    // 1001: it goes away, as a server that is stopped says
    const isOrderly = code === CLOSE.normal || code === 1001 || code === 1005
    this.#end(isOrderly ? null : new Error(`closed with code ${code}${reason === '' ? '' : `: ${reason}`}`))
  }

  /** The connection below is over: in order only after a close. */
  #broken(): void {
    this.#end(this.#hasClosed ? null : (this.#fault ?? new Error('the connection broke off')))
  }

  #end(fault: Error | null): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#events.end(fault)
    if (!this.#socket.writableEnded) this.#socket.end()
  }

  #write(opcode: number, payload: Buffer): boolean {
    if (this.#socket.destroyed || this.#socket.writableEnded) return true
    return this.#socket.write(encodeFrame({ isFinal: true, opcode, payload }, this.#masks ? randomBytes(4) : null))
  }
}
