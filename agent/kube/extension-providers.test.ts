import assert from 'node:assert/strict'
import { test } from 'node:test'
import { authorizersOf, providerLacks } from './extension-providers.ts'

const LEAST = { service: 'authz.shop.svc.cluster.local', port: 8000 }
const http = (more: object = {}): unknown[] => [{ name: 'authz', envoyExtAuthzHttp: { ...LEAST, ...more } }]
const fieldsOf = (value: unknown): string[] => providerLacks(value, 'p').map(({ field }) => field)

test('an authorizer that says the least has Istio’s defaults', () => {
  assert.deepEqual(authorizersOf(http(), 'p'), [
    {
      name: 'authz',
      host: 'authz.shop.svc.cluster.local',
      port: 8000,
      timeoutMs: 600_000,
      pathPrefix: '',
      failOpen: false,
      statusOnError: 403,
      includeRequestHeadersInCheck: [],
      includeAdditionalHeadersInCheck: [],
      body: null,
      headersToUpstreamOnAllow: [],
      headersToDownstreamOnAllow: [],
      headersToDownstreamOnDeny: [],
    },
  ])
  assert.deepEqual(fieldsOf(http()), [])
  assert.deepEqual(authorizersOf(http({ pathPrefix: '', statusOnError: '' }), 'p'), authorizersOf(http(), 'p'))
})

test('every field of an authorizer arrives in the mesh’s own words', () => {
  const given = http({
    service: 'shop/Authz.Shop.svc.cluster.local',
    timeout: '1.5s',
    pathPrefix: '/check',
    failOpen: true,
    statusOnError: '503',
    includeRequestHeadersInCheck: ['X-Team', 'x-ext-*'],
    includeHeadersInCheck: ['*-id'],
    includeAdditionalHeadersInCheck: { 'X-By': ' mesh ' },
    includeRequestBodyInCheck: { maxRequestBytes: 4096, allowPartialMessage: true },
    headersToUpstreamOnAllow: ['X-User'],
    headersToDownstreamOnAllow: ['Set-Cookie'],
    headersToDownstreamOnDeny: ['Content-Type'],
    clearRouteCache: false,
  })
  assert.deepEqual(authorizersOf(given, 'p'), [
    {
      name: 'authz',
      host: 'authz.shop.svc.cluster.local',
      port: 8000,
      timeoutMs: 1500,
      pathPrefix: '/check',
      failOpen: true,
      statusOnError: 503,
      includeRequestHeadersInCheck: ['x-team', 'x-ext-*', '*-id'],
      includeAdditionalHeadersInCheck: [['x-by', 'mesh']],
      body: { maxBytes: 4096, allowPartial: true },
      headersToUpstreamOnAllow: ['x-user'],
      headersToDownstreamOnAllow: ['set-cookie'],
      headersToDownstreamOnDeny: ['content-type'],
    },
  ])
  assert.deepEqual(fieldsOf(given), [])
})

test('what has no effect is named, field by field', () => {
  const other = [
    { name: 'a', zipkin: { service: 'z' } },
    { name: 'b', envoyExtAuthzGrpc: { service: 'z' } },
    { name: 'c' },
    { name: 'd', novel: {} },
  ]
  assert.deepEqual(fieldsOf(other), ['p[0].zipkin', 'p[1].envoyExtAuthzGrpc', 'p[2]', 'p[3].novel'])
  assert.deepEqual(authorizersOf(other, 'p'), [])
  const body = { maxRequestBytes: 1, packAsBytes: true, more: 1 }
  const fields = ['novel', 'includeRequestBodyInCheck.more', 'clearRouteCache', 'includeRequestBodyInCheck.packAsBytes']
  assert.deepEqual(
    fieldsOf(http({ novel: 1, clearRouteCache: true, includeRequestBodyInCheck: body })),
    fields.map((field) => `p[0].envoyExtAuthzHttp.${field}`),
  )
})

test('headers that neither go along nor go on are named', () => {
  const named = ['Host', 'content-length', 'x-*', 'X-Forwarded-Client-Cert', 'cookie', 'connection']
  assert.deepEqual(
    fieldsOf(
      http({ includeRequestHeadersInCheck: named, headersToUpstreamOnAllow: ['te'], headersToDownstreamOnDeny: ['*'] }),
    ),
    ['includeRequestHeadersInCheck[3]', 'includeRequestHeadersInCheck[5]', 'headersToUpstreamOnAllow[0]'].map(
      (field) => `p[0].envoyExtAuthzHttp.${field}`,
    ),
  )
})

test('what cannot be meant is refused, with the field', () => {
  const table: [unknown, string][] = [
    [{}, 'p'],
    [[1], 'p[0]'],
    [[{ zipkin: {} }], 'p[0].name'],
    [[{ name: 'a' }, { name: 'a' }], 'p[1].name'],
    [[{ name: 'a', zipkin: {}, prometheus: {} }], 'p[0]'],
    [[{ name: 'a', envoyExtAuthzHttp: [] }], 'p[0].envoyExtAuthzHttp'],
    [[{ name: 'a', envoyExtAuthzHttp: { port: 1 } }], 'p[0].envoyExtAuthzHttp.service'],
    [[{ name: 'a', envoyExtAuthzHttp: { service: 'a.b' } }], 'p[0].envoyExtAuthzHttp.port'],
    ...[
      ...[
        ['service', 'authz'],
        ['service', '*.shop.svc'],
        ['service', 'a/b/c.d'],
        ['service', '/a.b'],
        ['service', 5],
      ],
      ...[
        ['port', 0],
        ['port', '80'],
        ['timeout', '5'],
        ['timeout', '0s'],
        ['pathPrefix', 'check'],
        ['pathPrefix', '/a b'],
      ],
      ...[
        ['failOpen', 'true'],
        ['statusOnError', '99'],
        ['statusOnError', 'Forbidden'],
        ['clearRouteCache', 1],
      ],
    ].map(([field, value]): [unknown, string] => [
      http({ [String(field)]: value }),
      `p[0].envoyExtAuthzHttp.${String(field)}`,
    ]),
    [http({ headersToUpstreamOnAllow: ['a*b'] }), 'p[0].envoyExtAuthzHttp.headersToUpstreamOnAllow[0]'],
    [http({ headersToUpstreamOnAllow: [''] }), 'p[0].envoyExtAuthzHttp.headersToUpstreamOnAllow[0]'],
    [
      http({ includeAdditionalHeadersInCheck: { Host: 'a' } }),
      'p[0].envoyExtAuthzHttp.includeAdditionalHeadersInCheck.Host',
    ],
    [
      http({ includeAdditionalHeadersInCheck: { a: 'b\nc' } }),
      'p[0].envoyExtAuthzHttp.includeAdditionalHeadersInCheck.a',
    ],
    [http({ includeRequestBodyInCheck: {} }), 'p[0].envoyExtAuthzHttp.includeRequestBodyInCheck.maxRequestBytes'],
    [
      http({ includeRequestBodyInCheck: { maxRequestBytes: 2 ** 30 } }),
      'p[0].envoyExtAuthzHttp.includeRequestBodyInCheck.maxRequestBytes',
    ],
  ]
  for (const [value, field] of table) {
    assert.throws(() => authorizersOf(value, 'p'), { name: 'Rejected', field }, JSON.stringify(value))
  }
})
