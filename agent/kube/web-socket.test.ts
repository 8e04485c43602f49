import assert from 'node:assert/strict'
import { duplexPair } from 'node:stream'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  acceptOf,
  encodeFrame,
  type Frame,
  FrameReader,
  isKey,
  MESSAGE_LIMIT_BYTES,
  WebSocketLink,
} from './web-socket.ts'

const BINARY = 2
const bytes = (...all: number[]): Buffer => Buffer.from(all)

/** All frames of bytes that come in pieces of so many. */
function read(wire: Buffer, from: 'client' | 'server', pieceBytes: number): Frame[] {
  const reader = new FrameReader(from)
  const frames: Frame[] = []
  for (let at = 0; at < wire.length; at += pieceBytes) frames.push(...reader.take(wire.subarray(at, at + pieceBytes)))
  return frames
}

describe('a frame', () => {
  test('is on the wire as RFC 6455 shows it', () => {
    const hello = { isFinal: true, opcode: 1, payload: Buffer.from('Hello') }
    assert.deepEqual(encodeFrame(hello, null), bytes(0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f))
    const mask = bytes(0x37, 0xfa, 0x21, 0x3d)
    const wire = bytes(0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58)
    assert.deepEqual(encodeFrame(hello, mask), wire)
    assert.equal(acceptOf('dGhlIHNhbXBsZSBub25jZQ=='), 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=')
  })

  test('comes back as it was sent, however the bytes are cut', () => {
    const length = fc.oneof(fc.nat(300), fc.constantFrom(125, 126, 65_535, 65_536, MESSAGE_LIMIT_BYTES))
    const frame = fc.record({ isFinal: fc.boolean(), opcode: fc.constantFrom(0, BINARY), length })
    const mask = fc.option(fc.uint8Array({ minLength: 4, maxLength: 4 }))
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 4 }),
        mask,
        fc.integer({ min: 1, max: 70_000 }),
        (drawn, four, piece) => {
          const frames = drawn.map(({ length: size, ...rest }, at) => ({
            ...rest,
            payload: Buffer.alloc(size, at + 1),
          }))
          const wire = Buffer.concat(frames.map((each) => encodeFrame(each, four === null ? null : Buffer.from(four))))
          const cut = Math.max(piece, Math.ceil(wire.length / 2_000))
          assert.deepEqual(read(wire, four === null ? 'server' : 'client', cut), frames)
        },
      ),
      { numRuns: 50 },
    )
  })

  test('that is none is refused with a code, and one that is too long before it is there', () => {
    const rows: [wire: Buffer, code: number][] = [
      [bytes(0xc2, 0x00), 1002], // an extension's bit
      [bytes(0x82, 0x80, 0, 0, 0, 0), 1002], // masked by a server
      [bytes(0x09, 0x00), 1002], // a ping in parts
      [bytes(0x89, 0x7e, 0x00, 0x80), 1002], // a long ping
      [bytes(0x82, 0x7f, 0, 0, 0, 0, 0, 0x10, 0, 1), 1009],
      [bytes(0x82, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), 1009],
    ]
    for (const [wire, code] of rows)
      assert.throws(() => read(wire, 'server', wire.length), { code }, wire.toString('hex'))
    assert.throws(() => read(bytes(0x82, 0x00), 'client', 2), { code: 1002 })
  })

  test('arbitrary bytes are frames or a fault, never anything else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom('client', 'server'), (wire, from) => {
        try {
          read(Buffer.from(wire), from, 7)
        } catch (error) {
          assert.equal((error as Error).constructor.name, 'WebSocketFault')
        }
      }),
    )
  })
})

test('a key is 16 bytes in base64', () => {
  assert.ok(isKey('dGhlIHNhbXBsZSBub25jZQ=='))
  for (const key of [
    '',
    'dGhlIHNhbXBsZSBub25jZQ',
    'dGhlIHNhbXBsZSBub25jZQ==x',
    'dGhlIHNhbXBsZSBub25jZR==',
    '*'.repeat(24),
  ]) {
    assert.ok(!isKey(key), key)
  }
})

/** A link and the bare other side of its connection. */
function linked(end: 'client' | 'server') {
  const [near, far] = duplexPair()
  const heard: (Buffer | Error | null)[] = []
  const { promise: ended, resolve } = Promise.withResolvers<Error | null>()
  const link = new WebSocketLink(near, end, Buffer.alloc(0), {
    message: (payload) => void heard.push(payload),
    drain: () => undefined,
    end: (fault) => resolve(fault),
  })
  const frame = (opcode: number, payload: Buffer, isFinal = true): void => {
    far.write(encodeFrame({ isFinal, opcode, payload }, end === 'server' ? bytes(1, 2, 3, 4) : null))
  }
  return { link, far, heard, ended, frame }
}

describe('a link', () => {
  test('gives messages whole, also those in parts with a ping between, which it answers', async () => {
    const { far, heard, ended, frame } = linked('server')
    const saying = far.toArray() as Promise<Buffer[]>
    frame(BINARY, Buffer.from('a'), false)
    frame(9, Buffer.from('here?'))
    frame(0, Buffer.from('b'))
    frame(8, bytes(0x03, 0xe8))
    assert.equal(await ended, null)
    assert.deepEqual(heard, [Buffer.from('ab')])
    const frames = read(Buffer.concat(await saying), 'server', 1)
    assert.deepEqual(
      frames.map(({ opcode, payload }) => [opcode, payload.toString('latin1')]),
      [
        [10, 'here?'],
        [8, '\x03\xe8'],
      ],
    )
  })

  test('that is closed from here says all it has to, and ends in order once the other side agrees', async () => {
    const { link, far, ended, frame } = linked('client')
    const saying = far.toArray() as Promise<Buffer[]>
    link.send(Buffer.from('last'))
    link.close()
    link.send(Buffer.from('late'))
    frame(8, bytes(0x03, 0xe8))
    assert.equal(await ended, null)
    const frames = read(Buffer.concat(await saying), 'client', 64)
    assert.deepEqual(
      frames.map(({ opcode }) => opcode),
      [BINARY, 8],
    )
    assert.deepEqual(frames[0]?.payload, Buffer.from('last'))
  })

  test('that breaks off, is closed for a reason or breaks the rules ends with the fault', async () => {
    const cut = linked('client')
    cut.far.end()
    assert.match((await cut.ended)?.message ?? '', /broke off/)
    const told = linked('client')
    told.frame(8, Buffer.concat([bytes(0x03, 0xf3), Buffer.from('no more')]))
    assert.equal((await told.ended)?.message, 'closed with code 1011: no more')
    const text = linked('server')
    text.frame(1, Buffer.from('hello'))
    assert.match((await text.ended)?.message ?? '', /message of text/)
    const parts = linked('server')
    parts.frame(0, Buffer.from('x'))
    assert.match((await parts.ended)?.message ?? '', /parts out of order/)
    const many = linked('server')
    many.frame(BINARY, Buffer.from('x'), false)
    for (let at = 0; at < 1100; at++) many.frame(0, Buffer.from('x'), false)
    assert.match((await many.ended)?.message ?? '', /too long/)
  })
})
