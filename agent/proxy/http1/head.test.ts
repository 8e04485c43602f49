import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Head } from './head.ts'
import { HEAD_LIMITS, type Parsed } from './scan.ts'

interface Reading {
  readonly parsed: Parsed
  readonly head: Head
}

function parseWhole(kind: 'request' | 'response', text: string): Reading {
  const head = new Head(kind)
  const bytes = Buffer.from(text, 'latin1')
  return { parsed: head.parse(bytes, 0, bytes.length), head }
}

/** Feeds the text in pieces that end at `cuts`, each time in another buffer and at another place in it. */
function parseSplit(kind: 'request' | 'response', text: string, cuts: readonly number[]): Reading {
  const head = new Head(kind)
  let parsed: Parsed = 'more'
  for (const cut of [...cuts, text.length].sort((a, b) => a - b)) {
    const offset = cut % 7
    const bytes = Buffer.from('#'.repeat(offset) + text.slice(0, cut), 'latin1')
    parsed = head.parse(bytes, offset, bytes.length)
    if (parsed !== 'more') break
  }
  return { parsed, head }
}

function facts({ parsed, head }: Reading): unknown {
  if (parsed !== 'done') return parsed
  return {
    length: head.length,
    method: head.text(head.methodFrom, head.methodTo),
    target: head.text(head.targetFrom, head.targetTo),
    status: head.status,
    reason: head.text(head.reasonFrom, head.reasonTo),
    minor: head.minor,
    fields: Array.from({ length: head.count }, (_, i) => [head.value(i), head.kinds[i]]),
    contentLength: head.contentLength,
    flags: [head.chunked, head.close, head.keepAlive, head.upgrade, head.keepAliveSeconds],
  }
}

const name = fc.constantFrom('A', 'x-long-name', 'Accept', "odd!#$%&'*+.^_`|~", 'User-Agent', 'x-request-id')
const value = fc.stringMatching(/^[ \t!-~\x80-\xff]{0,20}$/)
const requestText = fc
  .record({
    method: fc.constantFrom('GET', 'POST', 'M-SEARCH', 'delete'),
    target: fc.stringMatching(/^\/[!"$-~]{0,20}$/),
    minor: fc.constantFrom('0', '1', '5'),
    fields: fc.array(fc.tuple(name, value), { maxLength: 8 }),
    blank: fc.constantFrom('', '\r\n'),
  })
  .map(({ method, target, minor, fields, blank }) => ({
    blank,
    text:
      `${method} ${target} HTTP/1.${minor}\r\nHost: a\r\n` + fields.map(([n, v]) => `${n}:${v}\r\n`).join('') + '\r\n',
  }))

test('every split of a head gives the same result', () => {
  fc.assert(
    fc.property(requestText, fc.array(fc.nat(300)), fc.nat(20), ({ blank, text }, cuts, rest) => {
      const whole = blank + text + 'x'.repeat(rest)
      const within = cuts.map((cut) => cut % (whole.length + 1))
      assert.deepEqual(facts(parseSplit('request', whole, within)), facts(parseWhole('request', whole)))
    }),
  )
})

const request = (fields: string): string => `GET / HTTP/1.1\r\nHost: a\r\n${fields}\r\n`

for (const [what, text, parsed] of [
  ['a bare LF', 'GET / HTTP/1.1\nHost: a\r\n\r\n', 'bad'],
  ['a bare CR in a value', request('A: b\rc\r\n'), 'bad'],
  ['NUL in a value', request('A: b\0c\r\n'), 'bad'],
  ['a blank before the colon', request('A : b\r\n'), 'bad'],
  ['an empty name', request(': b\r\n'), 'bad'],
  ['a folded line', request('A: b\r\n c\r\n'), 'bad'],
  ['two hosts', request('Host: b\r\n'), 'bad'],
  ['two blanks in the request line', 'GET  / HTTP/1.1\r\nHost: a\r\n\r\n', 'bad'],
  ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\n', 'version'],
  ['HTTP/0.9 with a version', 'GET / HTTP/0.9\r\n\r\n', 'version'],
  ['HTTP/1.2', 'GET / HTTP/1.2\r\nHost: a\r\n\r\n', 'done'],
  ['a version of two digits', 'GET / HTTP/1.10\r\nHost: a\r\n\r\n', 'bad'],
  ['a fragment', 'GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n', 'bad'],
  ['no version', 'GET /\r\n\r\n', 'bad'],
  ['lengths that differ', request('Content-Length: 1\r\nContent-Length: 2\r\n'), 'bad'],
  ['a list of lengths that differ', request('Content-Length: 1, 2\r\n'), 'bad'],
  ['a signed length', request('Content-Length: +1\r\n'), 'bad'],
  ['an empty length', request('Content-Length:\r\n'), 'bad'],
  ['a length beyond exact numbers', request('Content-Length: 9999999999999999\r\n'), 'bad'],
  ['length and chunked', request('Content-Length: 1\r\nTransfer-Encoding: chunked\r\n'), 'bad'],
  ['chunked twice', request('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n'), 'bad'],
  ['chunked in HTTP/1.0', 'GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n', 'bad'],
  ['a coding that is not known', request('Transfer-Encoding: gzip, chunked\r\n'), 'unknown'],
  ['a list of equal lengths', request('Content-Length: 5, 5\r\n'), 'bad'],
  ['equal lengths', request('Content-Length: 5\r\nContent-Length: 5\r\n'), 'bad'],
  ['a coding that does not end in chunked', request('Transfer-Encoding: chunked, gzip\r\n'), 'bad'],
  ['identity', request('Transfer-Encoding: identity\r\n'), 'bad'],
  ['chunked twice in a list', request('Transfer-Encoding: chunked, chunked\r\n'), 'bad'],
  ['an empty coding ahead of chunked', request('Transfer-Encoding: , chunked\r\n'), 'bad'],
  ['an empty coding', request('Transfer-Encoding:\r\n'), 'bad'],
  ['more connection options than fields may be', request(`Connection: ${'a,'.repeat(101)}\r\n`), 'large'],
  ['chunked in any case', request('TRANSFER-encoding:  ChunKed \r\n'), 'done'],
] as const) {
  test(`${what} is ${parsed}`, () => assert.equal(parseWhole('request', text).parsed, parsed))
}

const { headBytes: HEAD_LIMIT, headFields: FIELD_LIMIT } = HEAD_LIMITS

test('heads have limits in bytes and lines', () => {
  assert.equal(parseWhole('request', request('A: b\r\n'.repeat(FIELD_LIMIT - 1))).parsed, 'done')
  assert.equal(parseWhole('request', request('A: b\r\n'.repeat(FIELD_LIMIT))).parsed, 'large')
  const room = HEAD_LIMIT - request('A: \r\n').length
  assert.equal(parseWhole('request', request(`A: ${'x'.repeat(room)}\r\n`)).parsed, 'done')
  assert.equal(parseWhole('request', request(`A: ${'x'.repeat(room + 1)}\r\n`)).parsed, 'large')
  assert.equal(parseWhole('request', `GET /${'x'.repeat(HEAD_LIMIT)}`).parsed, 'long')
  const small = new Head('request', { headBytes: 40, headFields: 2 })
  const three = Buffer.from('GET / HTTP/1.1\r\nA:\r\nB:\r\nC:\r\n\r\n')
  assert.equal(small.parse(three, 0, three.length), 'large')
})

test('what Connection names is hop-by-hop, but never what delimits or addresses the message', () => {
  const { head } = parseWhole(
    'request',
    request('Connection: x-a, keep-alive , HOST,content-length\r\nX-A: 1\r\nX-B: 2\r\nContent-Length: 3\r\n'),
  )
  assert.deepEqual(
    Array.from({ length: head.count }, (_, i) => (head.kinds[i] ?? 0) >= 16),
    [false, true, true, false, false],
  )
  assert.equal(head.keepAlive, true)
})

test('a response is read with and without a reason', () => {
  for (const [text, status, reason] of [
    ['HTTP/1.1 200 All is well\r\n\r\n', 200, 'All is well'],
    ['HTTP/1.1 404 \r\n\r\n', 404, ''],
    ['HTTP/1.0 204\r\n\r\n', 204, ''],
  ] as const) {
    const { parsed, head } = parseWhole('response', text)
    assert.equal(parsed, 'done')
    assert.equal(head.status, status)
    assert.equal(head.text(head.reasonFrom, head.reasonTo), reason)
  }
  for (const text of [
    'HTTP/1.1 20\r\n\r\n',
    'HTTP/1.1 2000 x\r\n\r\n',
    'HTTP/1.1  200 x\r\n\r\n',
    'HTTP/1.1 999 x\r\n\r\n',
  ]) {
    assert.equal(parseWhole('response', text).parsed, 'bad')
  }
})

test('framing follows the method, the status and the fields', () => {
  const response = (line: string, fields = ''): Head => parseWhole('response', `HTTP/1.1 ${line}\r\n${fields}\r\n`).head
  assert.equal(response('200 OK').responseFraming('GET'), 'close')
  assert.equal(response('200 OK', 'Content-Length: 0\r\n').responseFraming('GET'), 'none')
  assert.equal(response('200 OK', 'Content-Length: 9\r\n').responseFraming('GET'), 'length')
  assert.equal(response('200 OK', 'Content-Length: 9\r\n').responseFraming('HEAD'), 'none')
  assert.equal(response('304 Not Modified', 'Content-Length: 9\r\n').responseFraming('GET'), 'none')
  assert.equal(response('204 No Content').responseFraming('GET'), 'none')
  assert.equal(response('200 OK', 'Transfer-Encoding: chunked\r\n').responseFraming('GET'), 'chunked')
})

test('a connection is kept as version and Connection say, but not behind a 204 that tells of a body', () => {
  const kept = (text: string): boolean => parseWhole('response', `${text}\r\n\r\n`).head.persistent
  assert.equal(kept('HTTP/1.1 200 OK'), true)
  assert.equal(kept('HTTP/1.1 200 OK\r\nConnection: x, Close'), false)
  assert.equal(kept('HTTP/1.0 200 OK'), false)
  assert.equal(kept('HTTP/1.0 200 OK\r\nConnection: keep-alive'), true)
  assert.equal(kept('HTTP/1.1 204 No\r\nContent-Length: 0'), true)
  assert.equal(kept('HTTP/1.1 204 No\r\nContent-Length: 5'), false)
  assert.equal(kept('HTTP/1.1 204 No\r\nTransfer-Encoding: chunked'), false)
  assert.equal(kept('HTTP/1.1 304 No\r\nContent-Length: 5'), true)
})

test('a head is used again after reset as if new', () => {
  const head = new Head('request')
  const first = Buffer.from(request('Connection: close\r\nContent-Length: 4\r\n'))
  assert.equal(head.parse(first, 0, first.length), 'done')
  head.reset()
  const second = Buffer.from(request(''))
  assert.equal(head.parse(second, 0, second.length), 'done')
  assert.deepEqual(
    [head.contentLength, head.close, head.count, head.requestFraming(), head.persistent],
    [-1, false, 1, 'none', true],
  )
})
