import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { headEdit } from '../../model/http/header-changes.ts'
import type { Field, HeaderChanges } from '../../model/policy.ts'
import { answerBytes, emitAnswer, emitRequest, emitResponse, SCRATCH_BYTES } from './emit.ts'
import { Head } from './head.ts'

const out = Buffer.alloc(SCRATCH_BYTES)
const keep = {
  target: '/',
  authority: 'a',
  framing: 'none',
  requestId: null,
  clientCert: null,
  upgrade: false,
  edit: null,
} as const

function parse(kind: 'request' | 'response', text: string): Head {
  const head = new Head(kind)
  const bytes = Buffer.from(text, 'latin1')
  assert.equal(head.parse(bytes, 0, bytes.length), 'done', JSON.stringify(text))
  return head
}

function fieldsOf(head: Head): [string, string][] {
  return Array.from({ length: head.count }, (_, i) => [
    head.text(head.spans[4 * i] ?? 0, head.spans[4 * i + 1] ?? 0),
    head.value(i),
  ])
}

const field = fc.tuple(
  fc.constantFrom('A', 'Accept', 'X-Custom', 'cookie', 'Keep-Alive', 'TE', 'Upgrade', 'Proxy-Connection'),
  fc.constantFrom(':', ': ', ':  ', ':\t'),
  fc.stringMatching(/^[!-~]([ -~]{0,60}[!-~])?$/),
  fc.constantFrom('', ' '),
)

test('end-to-end fields leave as they came and in order, hop-by-hop fields do not', () => {
  fc.assert(
    fc.property(fc.array(field, { maxLength: 10 }), (fields) => {
      const text = fields.map(([name, colon, value, blank]) => `${name}${colon}${value}${blank}\r\n`).join('')
      const head = parse('request', `GET / HTTP/1.1\r\nX-Forwarded-Proto: http\r\n${text}Host: a\r\n\r\n`)
      const length = emitRequest(head, keep, out, 0)
      const again = parse('request', out.toString('latin1', 0, length))
      assert.equal(again.length, length)
      const expected = fields
        .filter(([name]) => !['Keep-Alive', 'TE', 'Upgrade', 'Proxy-Connection'].includes(name))
        .map(([name, , value]) => [name, value])
      assert.deepEqual(fieldsOf(again), [['host', 'a'], ['X-Forwarded-Proto', 'http'], ...expected])
    }),
  )
})

test('a request leaves with its new target, authority, id, one framing, and what is proved of its caller', () => {
  const head = parse(
    'request',
    'POST /old HTTP/1.0\r\nContent-Length: 04\r\nX-Forwarded-Client-Cert: URI=forged\r\n\r\n',
  )
  const how = {
    target: '/new?a',
    authority: 'there:80',
    framing: 'length',
    requestId: 'id-1',
    clientCert: 'By=a;URI=b',
    upgrade: false,
    edit: null,
  } as const
  const length = emitRequest(head, how, out, 0)
  assert.equal(
    out.toString('latin1', 0, length),
    'POST /new?a HTTP/1.1\r\nhost: there:80\r\nx-forwarded-proto: http\r\nx-request-id: id-1\r\nx-forwarded-client-cert: By=a;URI=b\r\ncontent-length: 4\r\n\r\n',
  )
})

test('a response leaves with the framing it is given', () => {
  const head = parse('response', 'HTTP/1.0 200 Fine\r\nConnection: close, X-A\r\nX-A: 1\r\nX-B: 2\r\n\r\n')
  const length = emitResponse(head, { framing: 'chunked', connection: null, edit: null }, out, 0)
  assert.equal(out.toString('latin1', 0, length), 'HTTP/1.1 200 Fine\r\nX-B: 2\r\ntransfer-encoding: chunked\r\n\r\n')
})

test('the largest head that is read can be written', () => {
  const line = `x: ${'v'.repeat(600)}\r\n`
  const head = parse('request', `GET / HTTP/1.1\r\nhost: a\r\n${line.repeat(95)}\r\n`)
  const how = { ...keep, target: 't'.repeat(64 * 1024), authority: 'a'.repeat(64 * 1024) }
  assert.ok(emitRequest(head, how, out, 0) < SCRATCH_BYTES)
})

const said = { fields: [], close: false, head: false, edit: null } as const

for (const status of [204, 304]) {
  test(`an answer of ${status} has no body, whatever its text`, () => {
    const length = emitAnswer({ ...said, status, body: Buffer.from('text') }, out, 0)
    assert.match(out.toString('latin1', 0, length), /^HTTP\/1\.1 \d+ N[a-zA-Z ]+\r\ndate: [^\r]+\r\n\r\n$/)
  })
}

test('of TE only trailers is said on, by who can take them', () => {
  const left = (minor: number, fields: string, upgrade = false): string => {
    const head = parse('request', `GET / HTTP/1.${minor}\r\nX-Forwarded-Proto: http\r\n${fields}Host: a\r\n\r\n`)
    return out.toString('latin1', 0, emitRequest(head, { ...keep, upgrade }, out, 0)).split('http\r\n')[1] ?? ''
  }
  assert.equal(left(1, 'TE: gzip, Trailers\r\nConnection: te\r\n'), 'te: trailers\r\nconnection: te\r\n\r\n')
  assert.equal(left(0, 'TE: trailers\r\nConnection: te\r\n'), '\r\n')
  assert.equal(left(1, 'TE: gzip;q=1, trailersx\r\nConnection: te\r\n'), '\r\n')
  assert.equal(
    left(1, 'TE: trailers\r\nUpgrade: chat\r\nConnection: upgrade, te\r\n', true),
    'te: trailers\r\nconnection: te, upgrade\r\nUpgrade: chat\r\n\r\n',
  )
})

test('Trailer leaves where trailers can', () => {
  const head = parse('response', 'HTTP/1.1 200 OK\r\nTrailer: x\r\nTransfer-Encoding: chunked\r\n\r\n')
  const text = (framing: 'chunked' | 'close'): string =>
    out.toString('latin1', 0, emitResponse(head, { framing, connection: null, edit: null }, out, 0))
  assert.equal(text('chunked'), 'HTTP/1.1 200 OK\r\nTrailer: x\r\ntransfer-encoding: chunked\r\n\r\n')
  assert.equal(text('close'), 'HTTP/1.1 200 OK\r\n\r\n')
})

const name = fc.constantFrom('a', 'accept', 'x-custom', 'x-request-id', 'x-forwarded-proto', 'x-new')
const value = fc.stringMatching(/^([!-~]([ -~]{0,20}[!-~])?)?$/)
const changes = fc.record<HeaderChanges>({
  remove: fc.array(name, { maxLength: 2 }),
  set: fc.array(fc.tuple(name, value), { maxLength: 2 }),
  add: fc.array(fc.tuple(name, value), { maxLength: 2 }),
})
const came = fc.tuple(fc.constantFrom('A', 'Accept', 'X-Custom', 'x-request-id', 'Cookie', 'Upgrade'), value)

/** Changes as they are described: one after the other, each removes, then sets, then adds. */
function changed(fields: readonly Field[], all: readonly HeaderChanges[]): Field[] {
  let left = [...fields]
  const without = (gone: string): Field[] => left.filter(([other]) => other.toLowerCase() !== gone)
  for (const { remove, set, add } of all) {
    for (const gone of remove) left = without(gone)
    for (const [gone, text] of set) left = [...without(gone), [gone, text]]
    left = [...left, ...add]
  }
  return left
}

/** Lines of one name in their order; between names there is none. */
function byName(fields: readonly (readonly [string, string])[]): [string, string[]][] {
  const names = [...new Set(fields.map(([one]) => one.toLowerCase()))].sort()
  return names.map((one) => [one, fields.filter(([other]) => other.toLowerCase() === one).map(([, text]) => text)])
}

test('rules change what came and what the mesh adds: a request reads as removing, setting and adding in turn would have it', () => {
  fc.assert(
    fc.property(fc.array(came, { maxLength: 8 }), fc.array(changes, { maxLength: 3 }), (fields, all) => {
      const hasId = fields.some(([one]) => one === 'x-request-id')
      const text = fields.map(([one, said]) => `${one}: ${said}\r\n`).join('')
      const head = parse('request', `GET / HTTP/1.1\r\n${text}Host: a\r\n\r\n`)
      const how = { ...keep, requestId: hasId ? null : 'mine', clientCert: 'By=a', edit: headEdit(all) }
      const left = parse('request', out.toString('latin1', 0, emitRequest(head, how, out, 0)))
      const before: Field[] = [
        ...fields.filter(([one]) => one !== 'Upgrade'),
        ['x-forwarded-proto', 'http'],
        ...(hasId ? [] : [['x-request-id', 'mine'] as const]),
      ]
      const expected = [...changed(before, all), ['host', 'a'] as const, ['x-forwarded-client-cert', 'By=a'] as const]
      assert.deepEqual(byName(fieldsOf(left)), byName(expected))
    }),
  )
})

test('rules change a response, and an answer of the mesh’s own, alike', () => {
  fc.assert(
    fc.property(fc.array(came, { maxLength: 8 }), fc.array(changes, { maxLength: 3 }), (fields, all) => {
      const edit = headEdit(all)
      const own: Field[] = fields.filter(([one]) => one !== 'Upgrade').map(([one, said]) => [one.toLowerCase(), said])
      const text = own.map(([one, said]) => `${one}: ${said}\r\n`).join('')
      const head = parse('response', `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n${text}\r\n`)
      const response = emitResponse(head, { framing: 'length', connection: null, edit }, out, 0)
      const expected = byName([...changed(own, all), ['content-length', '2']])
      assert.deepEqual(byName(fieldsOf(parse('response', out.toString('latin1', 0, response)))), expected)
      const answer = { ...said, status: 200, body: Buffer.from('ok'), fields: own, edit }
      const length = emitAnswer(answer, out, 0)
      assert.ok(length <= answerBytes(answer))
      const lines = fieldsOf(parse('response', out.toString('latin1', 0, length)))
      const rest = lines.filter(([one]) => one !== 'date' && one !== 'content-type')
      assert.deepEqual(byName(rest), expected)
    }),
  )
})

test('no rule frames a message, steers its connection, or says who calls', () => {
  const names = [
    'host',
    'connection',
    'transfer-encoding',
    'content-length',
    'x-forwarded-client-cert',
    'te',
    'upgrade',
  ]
  const fields = names.map((one): Field => [one, 'evil'])
  const edit = headEdit([{ remove: names, set: fields, add: fields }])
  const head = parse('request', 'POST / HTTP/1.1\r\nX-Forwarded-Proto: http\r\nHost: a\r\nContent-Length: 3\r\n\r\n')
  const how = { ...keep, framing: 'length', clientCert: 'By=a', edit } as const
  assert.equal(
    out.toString('latin1', 0, emitRequest(head, how, out, 0)),
    'POST / HTTP/1.1\r\nhost: a\r\nX-Forwarded-Proto: http\r\nx-forwarded-client-cert: By=a\r\ncontent-length: 3\r\n\r\n',
  )
})
