// Requests that attackers send, byte for byte, and what the mesh must say to each before it ends the connection. Nothing of
// what they smuggle (it always names /smuggled) may reach an upstream.

import type { FailureCode } from '../../agent/model/failure.ts'

/** Fields of one head, and bytes of one head, at most (the defaults). */
const FIELDS = 100
const BYTES = 60 * 1024

export interface Hostile {
  readonly name: string
  readonly bytes: string
  /** Statuses of the answers, in order. The last answer ends the connection. */
  readonly statuses: readonly number[]
  /** Reason in the last record; null where nothing was refused. */
  readonly reason: FailureCode | null
  /** Requests that an upstream may see the beginning of: all to /first. */
  readonly pass: 0 | 1
}

export const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: app\r\n\r\n'
const FIRST = 'GET /first HTTP/1.1\r\nHost: app\r\n\r\n'

function refused(name: string, bytes: string): Hostile {
  return { name, bytes, statuses: [400], reason: 'BAD_REQUEST', pass: 0 }
}

function refusedAs(status: number, reason: FailureCode, name: string, bytes: string): Hostile {
  return { name, bytes, statuses: [status], reason, pass: 0 }
}

/** A request whose fields are given as lines; what is smuggled stands in its body. */
function fields(name: string, lines: string, body = `0\r\n\r\n${SMUGGLED}`): Hostile {
  return refused(name, `POST /first HTTP/1.1\r\nHost: app\r\n${lines}\r\n\r\n${body}`)
}

function coded(value: string): Hostile {
  return fields(`Transfer-Encoding: ${JSON.stringify(value)}`, `Transfer-Encoding: ${value}`)
}

function sized(value: string): Hostile {
  return fields(`Content-Length: ${JSON.stringify(value)}`, `Content-Length: ${value}`, `hello${SMUGGLED}`)
}

/** A request whose head is sound and whose chunks are not: its upstream may have seen the head. */
function chunked(name: string, body: string): Hostile {
  const bytes = `POST /first HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n${body}`
  return { name, bytes, statuses: [400], reason: 'BAD_REQUEST', pass: 1 }
}

function line(text: string): Hostile {
  return refused(`request line ${JSON.stringify(text)}`, `${text}\r\nHost: app\r\n\r\n${SMUGGLED}`)
}

function host(value: string): Hostile {
  return refused(`Host: ${JSON.stringify(value)}`, `GET /first HTTP/1.1\r\nHost: ${value}\r\n\r\n${SMUGGLED}`)
}

const LENGTH = 'Content-Length: 5'
const CHUNKED = 'Transfer-Encoding: chunked'

const FRAMING: readonly Hostile[] = [
  fields('CL.TE', `Content-Length: 6\r\n${CHUNKED}`),
  fields('TE.CL', `${CHUNKED}\r\nContent-Length: 4`, `5c\r\n${SMUGGLED}`),
  fields('CL.TE with a length of nothing', `Content-Length: 0\r\n${CHUNKED}`),
  fields('a blank before the colon of Transfer-Encoding', 'Transfer-Encoding : chunked'),
  fields('a tab before the colon of Content-Length', `Content-Length\t: 5\r\n${CHUNKED}`),
  fields('Transfer-Encoding on a folded line', `X: y\r\n ${CHUNKED}`),
  fields('Transfer-Encoding folded before its value', 'Transfer-Encoding:\r\n chunked'),
  fields('Transfer-Encoding folded before its colon', 'Transfer-Encoding\r\n : chunked'),
  fields('Transfer-Encoding behind a bare LF', `X: y\n${CHUNKED}`),
  fields('Transfer-Encoding behind a bare CR', `X: y\r${CHUNKED}`),
  fields('Transfer-Encoding behind NUL', `X: y\0${CHUNKED}`),
  fields('TE.TE', `${CHUNKED}\r\nTransfer-Encoding: identity`),
  fields('TE.TE, both chunked', `${CHUNKED}\r\n${CHUNKED}`),
  fields('TE.TE with a length', `${CHUNKED}\r\nTransfer-encoding: x\r\n${LENGTH}`),
  ...['identity', 'xchunked', 'chunked, identity', 'chunked, chunked', ', chunked', 'chunked,', 'chunked;q=1'].map(
    coded,
  ),
  ...['"chunked"', 'ch unked', '\x0bchunked', 'chunked\0', '', 'gzip', 'chunked\x7f'].map(coded),
  refusedAs(501, 'NOT_IMPLEMENTED', 'a coding ahead of chunked', fields('', 'Transfer-Encoding: gzip, chunked').bytes),
  refusedAs(
    501,
    'NOT_IMPLEMENTED',
    'identity ahead of chunked',
    fields('', 'Transfer-Encoding: identity, chunked').bytes,
  ),
  refused('chunked in HTTP/1.0', `POST /first HTTP/1.0\r\nHost: app\r\n${CHUNKED}\r\n\r\n0\r\n\r\n${SMUGGLED}`),
  fields('CL.CL', `${LENGTH}\r\nContent-Length: 6`, `hello${SMUGGLED}`),
  fields('CL.CL, equal', `${LENGTH}\r\n${LENGTH}`, `hello${SMUGGLED}`),
  ...['5, 5', '5, 6', '5 5', '+5', '-5', '0x5', '5;', '5.0', '5e0', '', '5\0', '\x0b5', '5\r'].map(sized),
  ...['9'.repeat(20), '18446744073709551621', '4294967301,', '\xef\xbc\x95'].map(sized),
]

const CHUNKS: readonly Hostile[] = [
  chunked('a chunk without a size', `\r\n${SMUGGLED}`),
  chunked('a chunk size of no digits', `g\r\nhello\r\n0\r\n\r\n${SMUGGLED}`),
  chunked('a negative chunk size', `-5\r\nhello\r\n0\r\n\r\n${SMUGGLED}`),
  chunked('a signed chunk size', `+5\r\nhello\r\n0\r\n\r\n${SMUGGLED}`),
  chunked('a chunk size with a prefix', `0x5\r\nhello\r\n0\r\n\r\n${SMUGGLED}`),
  chunked('a blank before a chunk size', ` 5\r\nhello\r\n0\r\n\r\n${SMUGGLED}`),
  chunked('a blank behind a chunk size', `5 \r\nhello\r\n0\r\n\r\n${SMUGGLED}`),
  chunked('two chunk sizes', `5 0\r\nhello\r\n0\r\n\r\n${SMUGGLED}`),
  chunked('a chunk size beyond all numbers', `fffffffffffffffff5\r\nhello\r\n0\r\n\r\n${SMUGGLED}`),
  chunked('a chunk size that wraps at 64 bits', `10000000000000005\r\nhello\r\n0\r\n\r\n${SMUGGLED}`),
  chunked('a bare LF behind a chunk size', `5\nhello\r\n0\r\n\r\n${SMUGGLED}`),
  chunked('a bare CR behind a chunk size', `5\rXhello\r\n0\r\n\r\n${SMUGGLED}`),
  chunked('a bare LF in an extension', `5;a\nhello\r\n0\r\n\r\n${SMUGGLED}`),
  chunked('a bare CR in an extension', `5;a\rb\r\nhello\r\n0\r\n\r\n${SMUGGLED}`),
  chunked('NUL in an extension', `5;a\0\r\nhello\r\n0\r\n\r\n${SMUGGLED}`),
  chunked('a quoted line end in an extension', `5;a="\r\nhello\r\n0\r\n\r\n${SMUGGLED}`),
  chunked('an extension of no name', `5;;\r\nhello\r\n0\r\n\r\n${SMUGGLED}`),
  chunked('an extension without end', `5;${'a'.repeat(5000)}\r\nhello\r\n0\r\n\r\n${SMUGGLED}`),
  chunked('a chunk longer than it says', `3\r\nhello\r\n0\r\n\r\n${SMUGGLED}`),
  chunked('a chunk that ends in a bare LF', `5\r\nhello\n0\r\n\r\n${SMUGGLED}`),
  chunked('a chunk that ends in two bytes of any kind', `5\r\nhelloXX0\r\n\r\n${SMUGGLED}`),
  chunked('a last chunk that ends in bare LFs', `0\n\n${SMUGGLED}`),
  chunked('a trailer section that is a request', `0\r\n${SMUGGLED}`),
  chunked('a trailer with a blank before its colon', `0\r\nContent-Length : 5\r\n\r\n${SMUGGLED}`),
  chunked('a folded trailer', `0\r\nX: y\r\n ${CHUNKED}\r\n\r\n${SMUGGLED}`),
  chunked('a bare CR in a trailer', `0\r\nX: y\rZ: z\r\n\r\n${SMUGGLED}`),
  chunked('a bare LF behind a trailer', `0\r\nX: y\n\r\n${SMUGGLED}`),
  chunked('too many trailers', `0\r\n${'X: y\r\n'.repeat(FIELDS + 1)}\r\n${SMUGGLED}`),
  chunked('a trailer without end', `0\r\nX: ${'y'.repeat(9000)}\r\n\r\n${SMUGGLED}`),
]

const HEADS: readonly Hostile[] = [
  fields('NUL in a value', `X: a\0b\r\n${LENGTH}`),
  fields('NUL in a name', `X\0: a\r\n${LENGTH}`),
  fields('a bare CR in a value', `X: a\rb\r\n${LENGTH}`),
  fields('a bare LF at the end of a line', `X: a\n${LENGTH}`),
  fields('a line without a colon', `Nonsense\r\n${LENGTH}`),
  fields('an empty name', `: a\r\n${LENGTH}`),
  fields('a blank in a name', `X Y: a\r\n${LENGTH}`),
  fields('a byte beyond ASCII in a name', `X\xff: a\r\n${LENGTH}`),
  fields('a bracket in a name', `X(: a\r\n${LENGTH}`),
  fields('a folded line', `X: a\r\n\tb\r\n${LENGTH}`),
  refused('a first line that is folded', `GET /first HTTP/1.1\r\n Host: app\r\nHost: app\r\n\r\n${SMUGGLED}`),
  refused('a head that ends in bare LFs', `GET /first HTTP/1.1\nHost: app\n\n${SMUGGLED}`),
  refused('a head that ends in LF LF', `GET /first HTTP/1.1\r\nHost: app\r\n\n${SMUGGLED}`),
  refusedAs(431, 'HEAD_TOO_LARGE', 'too many fields', fields('', 'X: y\r\n'.repeat(FIELDS) + LENGTH).bytes),
  refusedAs(431, 'HEAD_TOO_LARGE', 'a head too long', fields('', `X: ${'y'.repeat(BYTES)}`).bytes),
  refusedAs(431, 'HEAD_TOO_LARGE', 'a name too long', fields('', `${'X'.repeat(BYTES)}: y`).bytes),
  refusedAs(431, 'HEAD_TOO_LARGE', 'a method too long', `${'X'.repeat(BYTES)} / HTTP/1.1\r\n`),
  refusedAs(
    431,
    'HEAD_TOO_LARGE',
    'too many connection options',
    fields('', `Connection: ${'a,'.repeat(FIELDS + 1)}`).bytes,
  ),
  refusedAs(408, 'CALLER_TIMEOUT', 'a head that never ends', 'GET /first HTTP/1.1\r\nHost: app\r\nX: '),
  refused('no Host', `GET /first HTTP/1.1\r\n\r\n${SMUGGLED}`),
  refused('two Hosts', `GET /first HTTP/1.1\r\nHost: app\r\nHost: other\r\n\r\n${SMUGGLED}`),
  refused('two Hosts, equal', `GET /first HTTP/1.1\r\nHost: app\r\nHost: app\r\n\r\n${SMUGGLED}`),
  ...['', 'a b', 'user@app', 'app/path', 'app:port', 'app:80:80', '[::1', 'app:65536', 'app?q', 'app#f', 'app\\x'].map(
    host,
  ),
]

const LINES: readonly Hostile[] = [
  line('GET  /first HTTP/1.1'),
  line('GET\t/first HTTP/1.1'),
  line('GET /first  HTTP/1.1'),
  line('GET /first HTTP/1.1 '),
  line('GET /first'),
  line('GET /first HTTP/1.10'),
  line('GET /first http/1.1'),
  line('GET /first HTTP/1,1'),
  line('GET /first HTTP/1'),
  line('GET /first HTTP /1.1'),
  line('GET /first\0 HTTP/1.1'),
  line('GET /first HTTP/1.1\0'),
  line('GET /first\r HTTP/1.1'),
  line('GET /first#fragment HTTP/1.1'),
  line('GET /first HTTP/1.1 HTTP/1.1'),
  line(' GET /first HTTP/1.1'),
  line('\nGET /first HTTP/1.1'),
  line('\r\n\r\nGET /first HTTP/1.1'),
  line('G(T /first HTTP/1.1'),
  line('GET: /first HTTP/1.1'),
  line('/first HTTP/1.1'),
  line('GET first HTTP/1.1'),
  line('GET * HTTP/1.1'),
  line('OPTIONS ** HTTP/1.1'),
  line('GET app:80 HTTP/1.1'),
  line('GET http:///first HTTP/1.1'),
  line('GET http://user:secret@app/first HTTP/1.1'),
  line('GET http://a b/first HTTP/1.1'),
  line('GET http://app:x/first HTTP/1.1'),
  line('GET https://app/first HTTP/1.1'),
  line('GET file:///first HTTP/1.1'),
  refused('an absolute target beside a broken Host', `GET http://app/first HTTP/1.1\r\nHost: a b\r\n\r\n${SMUGGLED}`),
  refused('an absolute target without Host', `GET http://app/first HTTP/1.1\r\n\r\n${SMUGGLED}`),
  refusedAs(
    414,
    'TARGET_TOO_LONG',
    'a target too long',
    `GET /first?${'q'.repeat(BYTES)} HTTP/1.1\r\nHost: app\r\n\r\n`,
  ),
  refusedAs(505, 'VERSION_NOT_SUPPORTED', 'HTTP/2.0', `GET /first HTTP/2.0\r\nHost: app\r\n\r\n${SMUGGLED}`),
  refusedAs(505, 'VERSION_NOT_SUPPORTED', 'HTTP/0.9', `GET /first HTTP/0.9\r\nHost: app\r\n\r\n${SMUGGLED}`),
  refusedAs(505, 'VERSION_NOT_SUPPORTED', 'the preface of HTTP/2', `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${SMUGGLED}`),
]

/** A sound first request, and what comes behind it on the same connection. */
function behind(name: string, bytes: string, status: number, reason: FailureCode): Hostile {
  return { name, bytes, statuses: [200, status], reason, pass: 1 }
}

function last(name: string, bytes: string): Hostile {
  return { name, bytes, statuses: [200], reason: null, pass: 1 }
}

const PIPELINED: readonly Hostile[] = [
  behind('CL.TE behind a sound request', FIRST + fields('', `${LENGTH}\r\n${CHUNKED}`).bytes, 400, 'BAD_REQUEST'),
  behind('nonsense behind a request', `${FIRST}\0\0\0\0`, 400, 'BAD_REQUEST'),
  behind(
    'a body longer than its length',
    `GET /first HTTP/1.1\r\nHost: app\r\n${LENGTH}\r\n\r\nhello\0${SMUGGLED}`,
    400,
    'BAD_REQUEST',
  ),
  behind('a body with no length', `GET /first HTTP/1.1\r\nHost: app\r\n\r\n{"a": "b"}${SMUGGLED}`, 400, 'BAD_REQUEST'),
  behind(
    'lengths that differ behind a request',
    FIRST + fields('', `${LENGTH}\r\nContent-Length: 6`).bytes,
    400,
    'BAD_REQUEST',
  ),
  behind('the preface of HTTP/2 behind a request', `${FIRST}PRI * HTTP/2.0\r\n\r\n`, 505, 'VERSION_NOT_SUPPORTED'),
  behind('a head that never ends behind a request', `${FIRST}GET /smuggled HT`, 408, 'CALLER_TIMEOUT'),
  behind(
    'HTTP/2 behind an upgrade that nobody agreed to',
    `GET /first HTTP/1.1\r\nHost: app\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\nPRI * HTTP/2.0\r\n\r\n`,
    505,
    'VERSION_NOT_SUPPORTED',
  ),
  last(
    'a request behind Connection: close',
    `GET /first HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n${SMUGGLED}`,
  ),
  last(
    'a request behind close among other options',
    `GET /first HTTP/1.1\r\nHost: app\r\nConnection: x, Close\r\n\r\n${SMUGGLED}`,
  ),
  last('a request behind one of HTTP/1.0', `GET /first HTTP/1.0\r\nHost: app\r\n\r\n${SMUGGLED}`),
  last(
    'a body and a request behind Connection: close',
    `GET /first HTTP/1.1\r\nHost: app\r\nConnection: close\r\n${LENGTH}\r\n\r\nhello${SMUGGLED}`,
  ),
]

export const HOSTILE: readonly Hostile[] = [...FRAMING, ...CHUNKS, ...HEADS, ...LINES, ...PIPELINED]
