// What attackers and accidents do to a message: where a fuzz run and the property tests begin, and how they go on.

import type { Stream } from './readings.ts'

const request = (text: string): Stream => ({ kind: 'request', method: '', text })
const response = (text: string, method = 'GET'): Stream => ({ kind: 'response', method, text })

/** Messages to begin with: each form of framing, of target, of connection. */
export const CORPUS: readonly Stream[] = [
  request('GET /a?b=c HTTP/1.1\r\nHost: app\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n'),
  request('POST / HTTP/1.1\r\nHost: app:80\r\nContent-Length: 5\r\n\r\nhelloGET /next HTTP/1.1\r\nHost: app\r\n\r\n'),
  request(
    'POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n5\r\nhello\r\n0\r\nT: v\r\nX: \r\n\r\nGET',
  ),
  request(
    'PUT /p HTTP/1.1\r\nHost: [::1]:80\r\nTE: trailers\r\nConnection: TE, close\r\nTransfer-Encoding: Chunked\r\n\r\n' +
      'a;n=v;q="x\\"y" ; r\r\n0123456789\r\n1\r\n\r\r\n00\r\n\r\n',
  ),
  request('\r\nOPTIONS * HTTP/1.1\r\nHost: app\r\nConnection: upgrade, x-hop\r\nUpgrade: chat\r\nX-Hop: 1\r\n\r\n'),
  request('GET http://there:8080/p HTTP/1.0\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n'),
  request('HEAD http://there?q HTTP/1.1\r\nhost:\tapp \r\nProxy-Connection: close\r\n\r\n'),
  request('M-SEARCH / HTTP/1.9\r\nHost: app\r\nX-\xff: \r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n'),
  response('HTTP/1.1 200 OK\r\nContent-Length: 3\r\nServer: s\r\n\r\nabcHTTP/1.1 200 OK\r\n\r\n'),
  response('HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nGrpc-Status: 0\r\nHost: no\r\n\r\n'),
  response('HTTP/1.0 404 Not Found\r\nContent-Type: a\r\n\r\nuntil the end'),
  response('HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n'),
  response('HTTP/1.1 304\r\nETag: "x"\r\nContent-Length: 4\r\n\r\nnext'),
  response('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'),
  response('HTTP/1.1 200 OK\r\nContent-Length: 44\r\nConnection: close\r\n\r\n', 'HEAD'),
  response('HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nraw'),
]

/** What is put into messages: line ends, blanks, signs, numbers, and fields that frame. */
export const FRAGMENTS: readonly string[] = [
  ...[
    '\r',
    '\n',
    '\r\n',
    '\n\n',
    '\r\n\r\n',
    '\0',
    ' ',
    '\t',
    '\x0b',
    '\x7f',
    '\x80',
    '\xff',
    ':',
    ' :',
    ': ',
    ',',
    ', ',
  ],
  ...[
    ';',
    '"',
    '\\',
    '=',
    '#',
    '@',
    '/',
    '?',
    '*',
    '[',
    ']',
    '%',
    '+',
    '-',
    '0',
    '0x',
    '00',
    '5',
    'a',
    'G',
    'f'.repeat(13),
  ],
  ...[
    '9'.repeat(15),
    '9'.repeat(20),
    '18446744073709551621',
    '5, 5',
    '5,6',
    'chunked',
    'chunked, chunked',
    ', chunked',
    'identity',
    ';a',
    ';a ',
    ' ;',
    'a = b',
    'gzip, ',
    'xchunked',
  ],
  ...['Content-Length: 5\r\n', 'Content-Length: 0\r\n', 'content-length:6\r\n', 'Transfer-Encoding: chunked\r\n'],
  ...['Transfer-Encoding: identity\r\n', 'Transfer-Encoding : chunked\r\n', 'Transfer-Encoding: gzip, chunked\r\n'],
  ...['Transfer-Encoding:\r\n chunked\r\n', '\r\n folded', 'Host: b\r\n', 'Host: a b\r\n', 'Host:\r\n', 'X: y\r\n'],
  ...['Connection: close\r\n', 'Connection: host, content-length, transfer-encoding, x\r\n', 'Upgrade: h2c\r\n'],
  ...[
    'HTTP/1.0',
    'HTTP/1.1',
    'HTTP/2.0',
    'HTTP/0.9',
    'http/1.1',
    '0\r\n\r\n',
    '1\r\nZ\r\n',
    'GET /smuggled HTTP/1.1\r\n\r\n',
  ],
]

/** One change. `at` and `what` are taken modulo what there is. */
export interface Mutation {
  readonly how: 'insert' | 'delete' | 'replace' | 'change' | 'repeat' | 'cut' | 'line' | 'value'
  readonly at: number
  readonly what: number
}

export const HOWS: readonly Mutation['how'][] = [
  'insert',
  'delete',
  'replace',
  'change',
  'repeat',
  'cut',
  'line',
  'value',
]

/** Changes a text. */
export function mutated(text: string, mutations: readonly Mutation[]): string {
  return mutations.reduce((before, mutation) => applied(before, mutation), text)
}

function applied(text: string, { how, at, what }: Mutation): string {
  const p = at % (text.length + 1)
  const [before, behind] = [text.slice(0, p), text.slice(p)]
  const fragment = FRAGMENTS[what % FRAGMENTS.length] ?? ''
  switch (how) {
    case 'insert':
      return before + fragment + behind
    case 'delete':
      return before + behind.slice(1 + (what % 4))
    case 'replace':
      return before + fragment + behind.slice(fragment.length)
    case 'change':
      return behind === '' ? text : before + String.fromCharCode(what % 256) + behind.slice(1)
    case 'repeat': {
      const line = behind.slice(0, behind.indexOf('\r\n') + 2)
      return before + line + behind
    }
    case 'cut':
      return before
    case 'line':
    case 'value': {
      const lines = text.split('\r\n')
      const i = at % lines.length
      const line = lines[i] ?? ''
      const end = line.search(/[: ]/) + 1 // of a field's name, a method or a version
      return lines.with(i, how === 'line' ? fragment + line : line.slice(0, end) + fragment).join('\r\n')
    }
  }
}
