import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Field } from '../policy.ts'
import { type AskedAbout, meaningOf, questionOf } from './ext-authz.ts'
import type { Arriving } from './facts.ts'
import type { HttpAuthorizer } from './provider.ts'

const GUARD: HttpAuthorizer = {
  ...{ name: 'guard', host: 'guard', port: 80, timeoutMs: 500, pathPrefix: '/check', failOpen: false },
  ...{ statusOnError: 403, body: null, includeRequestHeadersInCheck: [], includeAdditionalHeadersInCheck: [] },
  ...{ headersToUpstreamOnAllow: [], headersToDownstreamOnAllow: [], headersToDownstreamOnDeny: [] },
}

const HEADERS: Readonly<Record<string, string>> = {
  ...{ authorization: 'Basic x', cookie: 'c', 'x-a': '1', 'x-b': '2', 'content-length': '7', host: 'shop' },
  ...{ connection: 'close', 'x-mesh': 'forged' },
}

const ARRIVING: Arriving = {
  ...{ method: 'POST', target: '/p?q', authority: 'shop', scheme: 'http', port: 80, remoteIp: '10.0.0.1', tokens: [] },
  header: (name) => HEADERS[name],
}

const PARTIAL = 'x-envoy-auth-partial-body'

const asked = (
  more: Partial<HttpAuthorizer>,
  body: AskedAbout['body'] = null,
  came: Readonly<Record<string, string>> = HEADERS,
): readonly Field[] =>
  questionOf(
    { ...GUARD, ...more },
    { ...ARRIVING, header: (name) => came[name] },
    { names: Object.keys(came), body, asker: null },
  ).fields

test('a question has the request’s method, path and host, its authorization, and what the provider names', () => {
  const { method, target, authority } = questionOf(GUARD, ARRIVING, {
    names: Object.keys(HEADERS),
    body: null,
    asker: null,
  })
  assert.deepEqual([method, target, authority], ['POST', '/check/p?q', 'shop'])
  const rows: [include: readonly string[], names: readonly string[]][] = [
    [[], ['authorization']],
    [['cookie'], ['authorization', 'cookie']],
    [['x-*'], ['authorization', 'x-a', 'x-b', 'x-mesh']],
    [['*-b'], ['authorization', 'x-b']],
    [['connection', 'content-length', 'host'], ['authorization']],
  ]
  for (const [includeRequestHeadersInCheck, names] of rows) {
    const fields = asked({ includeRequestHeadersInCheck })
    assert.deepEqual(
      fields.map(([name]) => name),
      [...names, 'content-length'],
    )
    assert.deepEqual(fields.at(-1), ['content-length', '0'])
  }
})

test('what the provider adds takes the place of what came', () => {
  const more = {
    includeRequestHeadersInCheck: ['x-mesh'],
    includeAdditionalHeadersInCheck: [['x-mesh', 'weft']] as const,
  }
  assert.deepEqual(asked(more), [
    ['authorization', 'Basic x'],
    ['x-mesh', 'weft'],
    ['content-length', '0'],
  ])
})

test('a body that goes along is told, and whether it is all, whatever the caller says of that', () => {
  const rows: [body: AskedAbout['body'], fields: readonly Field[]][] = [
    [{ length: 7, isPartial: true }, [[PARTIAL, 'true'], ['content-length', '7']]],
    [{ length: 7, isPartial: false }, [[PARTIAL, 'false'], ['content-length', '7']]],
    [null, [['content-length', '0']]],
  ] // prettier-ignore
  for (const [body, fields] of rows) {
    const more = { includeRequestHeadersInCheck: ['x-envoy-*', 'expect'] }
    const came = { ...HEADERS, [PARTIAL]: 'false', expect: '100-continue' }
    assert.deepEqual(asked(more, body, came).slice(1), fields)
  }
})

test('who asks is the last in x-forwarded-for, behind what of it goes along', () => {
  const came = { 'x-forwarded-for': '192.0.2.1, 192.0.2.2' }
  const told = (more: Partial<HttpAuthorizer>): readonly Field[] => {
    const about = { names: Object.keys(came), body: null, asker: '10.244.0.5' }
    const arriving = { ...ARRIVING, header: (name: string) => (name === 'x-forwarded-for' ? came[name] : undefined) }
    return questionOf({ ...GUARD, ...more }, arriving, about).fields.slice(0, -1)
  }
  assert.deepEqual(told({}), [['x-forwarded-for', '10.244.0.5']])
  const includeRequestHeadersInCheck = ['x-forwarded-for']
  assert.deepEqual(told({ includeRequestHeadersInCheck }), [['x-forwarded-for', '192.0.2.1, 192.0.2.2,10.244.0.5']])
})

test('what the answer has removed goes, and is not set by it; what frames a message stays', () => {
  const fields: readonly Field[] = [
    ['x-envoy-auth-headers-to-remove', 'X-Secret , x-user,, host'],
    ['x-envoy-auth-headers-to-remove', 'cookie,content-length'],
    ['x-user', 'ann'],
    ['x-group', 'a'],
  ]
  const of = (headersToUpstreamOnAllow: readonly string[]): unknown =>
    meaningOf({ ...GUARD, headersToUpstreamOnAllow }, { status: 200, fields, body: null })
  const remove = ['x-secret', 'x-user', 'cookie']
  assert.deepEqual(of([]), { kind: 'allowed', request: { remove, set: [], add: [] }, response: null })
  assert.deepEqual(of(['x-*']), {
    kind: 'allowed',
    request: { remove, set: [['x-group', 'a']], add: [] },
    response: null,
  })
  const denied = meaningOf(GUARD, { status: 403, fields, body: null })
  assert.deepEqual(denied, { kind: 'denied', status: 403, fields: fields.slice(2), body: new Uint8Array(0) })
})

test('a denial tells nothing of a body that is not passed on, and not when it was made', () => {
  const fields: readonly Field[] = [
    ['date', 'Sat, 28 Nov 2026 00:00:00 GMT'],
    ['content-type', 'text/html'],
    ['content-encoding', 'gzip'],
    ['content-security-policy', 'none'],
  ]
  const of = (body: Uint8Array | null, headersToDownstreamOnDeny: readonly string[] = []): unknown => {
    const answer = meaningOf({ ...GUARD, headersToDownstreamOnDeny }, { status: 403, fields, body })
    return 'fields' in answer && answer.fields
  }
  assert.deepEqual(of(new Uint8Array([1])), fields.slice(1))
  assert.deepEqual(of(null), fields.slice(3))
  assert.deepEqual(of(new Uint8Array([1]), ['date']), [])
})

test('values that came as bytes are the text that they are in UTF-8', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      const bytes = String.fromCharCode(...new TextEncoder().encode(text))
      const answer = { status: 200, fields: [['x-user', bytes] as const], body: null }
      const told = meaningOf({ ...GUARD, headersToUpstreamOnAllow: ['x-user'] }, answer)
      assert.deepEqual('request' in told && told.request?.set, [['x-user', text]])
    }),
  )
  for (const text of ['\xfc', '木', '\xc3\x28']) {
    const answer = { status: 403, fields: [['x-user', text] as const], body: null }
    assert.deepEqual(meaningOf(GUARD, answer), { kind: 'denied', ...answer, body: new Uint8Array(0) })
  }
})

test('200 lets pass with the headers that are named; 5xx is a failure; all else denies', () => {
  const fields: readonly Field[] = [
    ['x-user', 'ann'],
    ['x-group', 'a'],
    ['x-group', 'b'],
    ['set-cookie', 'one'],
    ['set-cookie', 'two'],
    ['content-length', '3'],
    ['location', '/login'],
  ]
  const body = new Uint8Array([1])
  const of = (status: number, more: Partial<HttpAuthorizer> = {}): ReturnType<typeof meaningOf> =>
    meaningOf({ ...GUARD, ...more }, { status, fields, body })
  assert.deepEqual(of(200), { kind: 'allowed', request: null, response: null })
  const allowing = {
    headersToUpstreamOnAllow: ['x-*', 'content-length'],
    headersToDownstreamOnAllow: ['set-cookie'],
  }
  assert.deepEqual(of(200, allowing), {
    kind: 'allowed',
    request: {
      remove: [],
      set: [
        ['x-user', 'ann'],
        ['x-group', 'a,b'],
      ],
      add: [],
    },
    response: { remove: [], set: [], add: fields.slice(3, 5) },
  })
  for (const status of [201, 204, 302, 401, 403, 404, 429, 499]) {
    const all = fields.filter(([name]) => name !== 'content-length')
    assert.deepEqual(of(status), { kind: 'denied', status, fields: all, body }, String(status))
  }
  assert.deepEqual(of(403, { headersToDownstreamOnDeny: ['x-user'] }), {
    ...{ kind: 'denied', status: 403, body },
    fields: [fields[0], fields[6]],
  })
  for (const status of [500, 503, 599]) assert.deepEqual(of(status), { kind: 'failed', why: `it answered ${status}` })
})
