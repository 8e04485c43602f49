import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Body, CHUNK_LINE_LIMIT } from './body.ts'
import type { Framing } from './head.ts'
import { TRAILER_FIELDS, TRAILER_LIMIT } from './trailers.ts'

/** Feeds a text in pieces; returns the payload, how much was consumed (-1: broken), and whether the body is done. */
function read(framing: Framing, length: number, pieces: readonly string[]) {
  const body = new Body()
  body.begin(framing, length)
  let payload = ''
  let consumed = 0
  const sink = { payload: (bytes: Buffer, from: number, to: number) => (payload += bytes.toString('latin1', from, to)) }
  for (const piece of pieces) {
    const bytes = Buffer.from(`##${piece}`, 'latin1')
    const at = body.feed(bytes, 2, bytes.length, sink)
    if (at < 0) return { payload, consumed: -1, done: body.done }
    consumed += at - 2
    if (body.done) break
  }
  return { payload, consumed, done: body.done }
}

function split(text: string, cuts: readonly number[]): string[] {
  const at = [...new Set(cuts.map((cut) => cut % (text.length + 1)))].sort((a, b) => a - b)
  return [...at, text.length].map((end, i) => text.slice(i === 0 ? 0 : at[i - 1], end)).filter((piece) => piece !== '')
}

const chunks = fc.array(fc.stringMatching(/^[ -~\r\n]{1,30}$/), { maxLength: 6 })
const extension = fc.constantFrom('', ';a', ';a=b', ' ; a="b"', ';a = "x;\\"=\\\\" ;b')
const trailers = fc.constantFrom('', 'T: x\r\n', 'A:\r\nB: y\r\n')

test('chunks give their payload, whatever the split, and end where they end', () => {
  fc.assert(
    fc.property(chunks, extension, trailers, fc.array(fc.nat(400)), (parts, ext, trailer, cuts) => {
      const framed = parts.map((part) => `${part.length.toString(16)}${ext}\r\n${part}\r\n`).join('')
      const text = `${framed}0${ext}\r\n${trailer}\r\n`
      const expected = { payload: parts.join(''), consumed: text.length, done: true }
      assert.deepEqual(read('chunked', -1, split(text, cuts)), expected)
      assert.deepEqual(read('chunked', -1, [`${text}next`]), expected)
    }),
  )
})

test('a length gives so many bytes and no more', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[ -~]{1,60}$/), fc.nat(20), fc.array(fc.nat(100)), (text, rest, cuts) => {
      const pieces = split(text + 'x'.repeat(rest), cuts)
      assert.deepEqual(read('length', text.length, pieces), { payload: text, consumed: text.length, done: true })
    }),
  )
})

test('an unbounded body goes on until the connection ends', () => {
  assert.deepEqual(read('close', -1, ['a', 'bc']), { payload: 'abc', consumed: 3, done: false })
})

for (const [what, text] of [
  ['no digit', '\r\n'],
  ['a size that is no number', 'g\r\n'],
  ['a negative size', '-1\r\nx\r\n'],
  ['0x', '0x1\r\nx\r\n'],
  ['a size beyond exact numbers', '1000000000000\r\n'],
  ['a bare LF behind the size', '1\nx\r\n'],
  ['a missing CRLF behind the bytes', '1\r\nxy\r\n'],
  ['a control byte in an extension', '1;\0\r\nx\r\n'],
  ['an endless extension', `1;${'x'.repeat(CHUNK_LINE_LIMIT + 1)}`],
  ['a trailer without a colon', '0\r\nabc\r\n\r\n'],
  ['a folded trailer', '0\r\n a: b\r\n\r\n'],
  ['blanks behind the size', '1 \r\nx\r\n'],
  ['a second size', '1 1\r\nx\r\n'],
  ['an extension without a name', '1;\r\nx\r\n'],
  ['an extension without a value', '1;a=\r\nx\r\n'],
  ['an extension that is not closed', '1;a="b\r\nx\r\n'],
  ['more behind a quoted extension', '1;a="b"c\r\nx\r\n'],
  ['a line end quoted', '1;a="b\\\r\n"\r\nx\r\n'],
  ['a blank before a trailer’s colon', '0\r\na : b\r\n\r\n'],
  ['too many trailers', `0\r\n${'a:b\r\n'.repeat(TRAILER_FIELDS + 1)}\r\n`],
  ['an endless trailer', `0\r\na: ${'x'.repeat(TRAILER_LIMIT)}`],
] as const) {
  test(`${what} breaks the framing`, () => assert.equal(read('chunked', -1, [text]).consumed, -1))
}

test('a framing that broke stays broken, also where its bytes are read again', () => {
  const body = new Body()
  body.begin('chunked', -1)
  const bytes = Buffer.from('a\rXXXXXXXX\r\n0\r\n\r\n') // from its start again, it would be ten bytes and the end
  for (let i = 0; i < 2; i++) assert.equal(body.feed(bytes, 0, bytes.length, { payload() {} }), -1)
  assert.equal(body.done, false)
})

/** The trailer lines that go on from a chunked body that ends with `section`. */
function trailersOf(section: string, cuts: readonly number[] = []): string | undefined {
  const body = new Body()
  body.begin('chunked', -1)
  for (const piece of split(`1\r\nx\r\n0\r\n${section}\r\n`, cuts)) {
    assert.ok(body.feed(Buffer.from(piece, 'latin1'), 0, piece.length, { payload() {} }) >= 0)
  }
  assert.equal(body.done, true)
  return body.trailers?.toString('latin1')
}

test('trailers go on as they were understood, whatever the split', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(200)), (cuts) => {
      assert.equal(
        trailersOf('Grpc-Status:0\r\nX:  a b\t\r\nEmpty: \r\n', cuts),
        'Grpc-Status: 0\r\nX: a b\r\nEmpty: \r\n',
      )
    }),
  )
  assert.equal(trailersOf(''), undefined)
  assert.equal(trailersOf('a:b\r\n'.repeat(TRAILER_FIELDS)), 'a: b\r\n'.repeat(TRAILER_FIELDS))
})

test('what frames, routes or authenticates may not trail', () => {
  const names = [
    'Content-Length',
    'Transfer-Encoding',
    'HOST',
    'Authorization',
    'Connection',
    'X-Forwarded-For',
    'Cookie',
  ]
  for (const name of names) assert.equal(trailersOf(`A: 1\r\n${name}: 2\r\nB: 3\r\n`), 'A: 1\r\nB: 3\r\n')
  assert.equal(trailersOf('Content-Length: 2\r\n'), undefined)
})

test('a body is read again after another as if it were the first', () => {
  const body = new Body()
  for (const [section, trailers] of [
    ['A: 1\r\n', 'A: 1\r\n'],
    ['', null],
    ['B: 2\r\n', 'B: 2\r\n'],
  ] as const) {
    body.begin('chunked', -1)
    const bytes = Buffer.from(`0\r\n${section}\r\n`)
    assert.equal(body.feed(bytes, 0, bytes.length, { payload() {} }), bytes.length)
    assert.equal(body.trailers?.toString() ?? null, trailers)
  }
})
