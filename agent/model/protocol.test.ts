import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { declaredProtocol, sniff } from './protocol.ts'

const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1')

const REQUESTS = [
  'GET / HTTP/1.1\r\n',
  'OPTIONS * HTTP/1.1\r\n',
  'CONNECT reviews:9080 HTTP/1.1\r\n',
  'CONNECT [fd00::1]:9080 HTTP/1.1\r\n',
  'GET http://reviews/a HTTP/1.1\r\n',
  'GET HTTPS://reviews/a HTTP/1.1\r\n',
  'VERSION-CONTROL /a HTTP/1.1\r\n',
  'BASELINE_CONTROL /a HTTP/1.1\r\n',
  '\r\nPOST /after-an-empty-line HTTP/1.1\r\n',
  'PRI /not-the-preface HTTP/1.1\r\n',
  'PRI * HTTP/1.1\r\n',
]
const OTHERS = [
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', // TLS ClientHello
  '\x80\x2e\x01\x03\x01\x00\x15', // SSLv2 hello
  '*1\r\n$4\r\nPING\r\n', // Redis
  'PING\r\n',
  'SET key value\r\n', // Redis, typed by hand
  'NICK ann\r\n', // IRC
  'PUB time.us 5\r\n', // NATS
  'HTTP h\r\n',
  'get key\r\n', // memcached
  'SSH-2.0-OpenSSH_9.6\r\n',
  '\x00\x00\x00\x08\x04\xd2\x16\x2f', // PostgreSQL SSLRequest
  '\x10\x10\x00\x04MQTT',
  'AMQP\x00\x00\x09\x01',
  `${'A'.repeat(25)} / HTTP/1.1\r\n`,
  'GET  / HTTP/1.1\r\n',
  '\r\n\r\n\r\nGET / HTTP/1.1',
  ' GET / HTTP/1.1',
]

/** What the bytes are when all have come, said the slow way: by the grammar of the first words. */
function reference(text: string): 'http' | 'opaque' | 'undecided' {
  const body = /^[\r\n]{0,2}/.exec(text)?.[0].length ?? 0
  const rest = text.slice(body)
  if (rest.startsWith('PRI * HTTP/2.0')) return 'opaque'
  if ('PRI * HTTP/2.0'.startsWith(rest)) return 'undecided'
  if (/^(?:[A-Z_-]{1,24} (?:[/*]|https?:\/\/)|CONNECT [A-Z0-9[])/i.test(rest) && isMethod(rest)) return 'http'
  if (/^[A-Z_-]{0,24}$|^[A-Z_-]{1,24} $/.test(rest)) return 'undecided'
  return /^[A-Z_-]{1,24} h(?:t|tt|ttp|ttps|ttps?:|ttps?:\/)?$/i.test(rest) && isMethod(rest) ? 'undecided' : 'opaque'
}

function isMethod(line: string): boolean {
  return /^[A-Z_-]+ /.test(line)
}

const nearlyHttp = fc
  .array(
    fc.constantFrom(
      '\r\n',
      'GET',
      'CONNECT',
      'PRI',
      ' ',
      '/',
      '*',
      ' HTTP/',
      '2.0',
      'A',
      'h',
      'http',
      's',
      ':',
      '\x16',
    ),
    {
      maxLength: 9,
    },
  )
  .map((parts) => parts.join(''))
const anything = fc.oneof(
  nearlyHttp,
  fc.uint8Array({ maxLength: 40 }).map((raw) => Buffer.from(raw).toString('latin1')),
  fc.constantFrom(...REQUESTS, ...OTHERS),
)

test('a request is http, and what speaks another protocol is opaque', () => {
  for (const text of REQUESTS) assert.equal(sniff(bytes(text)), 'http', JSON.stringify(text))
  for (const text of OTHERS) assert.equal(sniff(bytes(text)), 'opaque', JSON.stringify(text))
  assert.equal(sniff(bytes('')), 'undecided')
})

test('the verdict is the grammar’s, whatever the bytes', () => {
  fc.assert(
    fc.property(anything, (text) => assert.equal(sniff(bytes(text)), reference(text))),
    { numRuns: 2000 },
  )
})

test('a verdict stands whatever follows, in however many pieces it comes', () => {
  fc.assert(
    fc.property(anything, anything, (text, more) => {
      const verdict = sniff(bytes(text))
      if (verdict !== 'undecided') assert.equal(sniff(bytes(text + more)), verdict)
    }),
    { numRuns: 2000 },
  )
  for (const text of [...REQUESTS, ...OTHERS]) {
    const verdicts = Array.from({ length: text.length + 1 }, (_, length) => sniff(bytes(text.slice(0, length))))
    const decided = verdicts.findIndex((verdict) => verdict !== 'undecided')
    assert.deepEqual(new Set(verdicts.slice(decided)).size, 1, JSON.stringify(text))
  }
})

const PREFACE = 'PRI * HTTP/2.0'

test('undecided is said only while the bytes may still become http and may still become something else', () => {
  fc.assert(
    fc.property(anything, (text) => {
      if (sniff(bytes(text)) !== 'undecided') return
      const endings = ['A /', ' /', '/', '\x16', '\r\nGET /']
      for (let length = 0; length < 8; length++) endings.push('https://'.slice(length), 'http://'.slice(length))
      for (let length = 0; length < PREFACE.length; length++) endings.push(PREFACE.slice(length))
      const becomes = new Set(endings.map((ending) => sniff(bytes(text + ending))))
      assert.ok(becomes.has('http'), `${JSON.stringify(text)} can no longer be http`)
      assert.ok(becomes.has('opaque'), `${JSON.stringify(text)} can only be http`)
    }),
    { numRuns: 2000 },
  )
})

test('a caller can keep the verdict open for 34 bytes at most', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 35, maxLength: 60 }), fc.nat(30), (raw, letters) => {
      assert.notEqual(sniff(raw), 'undecided')
      assert.notEqual(sniff(Buffer.concat([Buffer.alloc(letters, 'A'), raw])), 'undecided')
    }),
  )
})

test('binary that does not begin with a letter, a dash or a line break is opaque at once', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 64 }), (raw) => {
      const first = String.fromCharCode(raw[0] as number)
      fc.pre(!/[A-Z_\r\n-]/.test(first))
      assert.equal(sniff(raw), 'opaque')
    }),
  )
})

test('a port declares its protocol by appProtocol, then by its name, then by its number', () => {
  const table: [name: string, appProtocol: string | null, number: number, declared: string][] = [
    ['http', null, 80, 'http'],
    ['http-web', null, 80, 'http'],
    ['HTTP-Web', null, 80, 'http'],
    ['httpbin', null, 80, 'sniff'], // a prefix ends at the dash
    ['http2-api', null, 80, 'opaque'], // no HTTP/2 engine
    ['grpc-api', null, 80, 'opaque'],
    ['grpc-web', null, 80, 'http'],
    ['grpc-web-ui', null, 80, 'http'],
    ['https', null, 443, 'opaque'],
    ['tls-db', null, 443, 'opaque'],
    ['tcp-echo', null, 9000, 'opaque'],
    ['mongo', null, 27017, 'opaque'],
    ['mysql-main', null, 1, 'opaque'],
    ['redis', null, 1, 'opaque'],
    ['', null, 9080, 'sniff'],
    ['web', null, 9080, 'sniff'],
    ['tcp', 'http', 80, 'http'], // appProtocol first
    ['http', 'tcp', 80, 'opaque'],
    ['http', 'TCP', 80, 'opaque'],
    ['http', 'kubernetes.io/h2c', 80, 'opaque'],
    ['', 'kubernetes.io/ws', 80, 'http'],
    ['', 'kubernetes.io/wss', 80, 'opaque'],
    ['http', 'example.com/own', 80, 'http'], // unknown: the name counts
    ['http', null, 3306, 'http'], // declared, so the number does not count
    ['', 'http', 6379, 'http'],
  ]
  for (const [name, appProtocol, number, declared] of table) {
    assert.equal(declaredProtocol({ name, appProtocol, number }), declared, JSON.stringify([name, appProtocol, number]))
  }
  for (const number of [25, 587, 3306, 4444, 5432, 6379, 9300, 11211]) {
    assert.equal(declaredProtocol({ name: '', appProtocol: null, number }), 'opaque', String(number))
    assert.equal(declaredProtocol({ name: 'main', appProtocol: null, number: number + 1 }), 'sniff')
  }
})
