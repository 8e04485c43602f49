import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { HttpRule, VirtualService } from '../../model/policy.ts'
import { istio } from '../objects.fixture.ts'
import type { Translation } from '../translate.ts'
import { translateVirtualService } from '../virtual-service.ts'

const route = [{ destination: { host: 'reviews' } }]
const HOST = 'reviews.default.svc.cluster.local'

function translate(spec: object): Translation<VirtualService> {
  return translateVirtualService(istio('VirtualService', spec), 'cluster.local')
}

/** The one rule of a VirtualService, given what differs from a plain one. */
function ruleOf(http: object): HttpRule {
  const { value, problems } = translate({ hosts: ['reviews'], http: [{ route, ...http }] })
  assert.deepEqual(problems, [], JSON.stringify(http))
  return value!.http[0]!
}

/** Why a rule is refused: `field: reason`, the field beneath the rule. */
function refusal(http: object): string {
  const { value, rejected, problems } = translate({ hosts: ['reviews'], http: [{ route, ...http }] })
  assert.ok(rejected && value === null && problems.length === 1, JSON.stringify(http))
  return `${problems[0]!.field}: ${problems[0]!.reason}`.replace(/^spec\.http\[0\]\.?/, '')
}

/** An action in place of the route. */
const instead = (wish: object) => ({ route: undefined, ...wish })

test('a redirect says what changes; the rest is as in the request', () => {
  const unsaid = { kind: 'redirect', uri: null, prefix: null, authority: null, port: null, scheme: null, code: 301 }
  const table: [object, object][] = [
    [{ uri: '/a' }, { uri: '/a' }],
    [{ uri: '/a', redirectCode: 0 }, { uri: '/a' }],
    [{ prefixRewrite: '/b' }, { prefix: '/b' }],
    [
      { authority: 'b.example', redirectCode: 308 },
      { authority: 'b.example', code: 308 },
    ],
    [
      { port: 8443, scheme: 'https' },
      { port: 8443, scheme: 'https' },
    ],
    [{ derivePort: 'FROM_PROTOCOL_DEFAULT' }, { port: 'protocol' }],
    [{ derivePort: 'FROM_REQUEST_PORT', uri: '' }, { port: 'request' }],
  ]
  for (const [redirect, expected] of table) {
    const { instead: found, destinations } = ruleOf(instead({ redirect }))
    assert.deepEqual(found, { ...unsaid, ...expected })
    assert.deepEqual(destinations, [])
  }
  const refused: [object, RegExp][] = [
    [{}, /^redirect: must say/],
    [{ uri: '/', port: 1, derivePort: 'FROM_REQUEST_PORT' }, /^redirect: /],
    [{ uri: '/', derivePort: 'ELSEWHERE' }, /^redirect\.derivePort: /],
    [{ uri: '/', prefixRewrite: '/' }, /^redirect\.prefixRewrite: .*uri/],
    [{ prefixRewrite: 1 }, /^redirect\.prefixRewrite: .*string/],
    [{ uri: '/', redirectCode: 304 }, /^redirect\.redirectCode: /],
    [{ uri: '/', scheme: 'ftp' }, /^redirect\.scheme: /],
    [{ port: 0 }, /^redirect\.port: /],
    [{ port: 65536 }, /^redirect\.port: /],
    [{ uri: '/a\r\nset-cookie: b' }, /^redirect\.uri: .*ASCII/],
    [{ authority: 'a b' }, /^redirect\.authority: .*ASCII/],
  ]
  for (const [redirect, expected] of refused) assert.match(refusal(instead({ redirect })), expected)
})

test('a direct response has a status and a body of text or bytes', () => {
  const answer = (directResponse: object) => ruleOf(instead({ directResponse })).instead
  const bytes = (...of: number[]) => new Uint8Array(of)
  assert.deepEqual(answer({ status: 204 }), { kind: 'answer', status: 204, body: null })
  assert.deepEqual(answer({ status: 200, body: {} }), { kind: 'answer', status: 200, body: null })
  assert.deepEqual(answer({ status: 503, body: { string: 'é' } }), {
    kind: 'answer',
    status: 503,
    body: bytes(195, 169),
  })
  assert.deepEqual(answer({ status: 200, body: { bytes: 'AP8=' } }), {
    kind: 'answer',
    status: 200,
    body: bytes(0, 255),
  })
  const refused: [object, RegExp][] = [
    [{ status: 199 }, /^directResponse\.status: /],
    [{ status: 600 }, /^directResponse\.status: /],
    [{ status: 200, body: { bytes: 'A' } }, /^directResponse\.body\.bytes: .*byte/],
    [{ status: 200, body: { bytes: 'AA==', string: 'a' } }, /^directResponse\.body: /],
    [{ status: 200, body: { string: 'a'.repeat(1024 * 1024 + 1) } }, /^directResponse\.body: .*1 MiB/],
    [{}, /^directResponse: .*status/],
  ]
  for (const [directResponse, expected] of refused) assert.match(refusal(instead({ directResponse })), expected)
})

test('a rule delegates to a VirtualService of its own namespace, or of the one it names', () => {
  const to = (delegate: object) => ruleOf(instead({ delegate, timeout: '1s' })).instead
  assert.deepEqual(to({ name: 'a' }), { kind: 'delegate', namespace: 'default', name: 'a' })
  assert.deepEqual(to({ name: 'a', namespace: 'shop' }), { kind: 'delegate', namespace: 'shop', name: 'a' })
  assert.match(refusal(instead({ delegate: {} })), /^delegate\.name: /)
  assert.match(refusal(instead({ delegate: { name: 'a', namespace: '*' } })), /^delegate\.namespace: /)
})

test('a VirtualService without hosts has http rules that others delegate to', () => {
  const of = (spec: object) => translate(spec)
  for (const hosts of [undefined, [], null]) {
    const { value, problems } = of({ hosts, http: [{ route }] })
    assert.deepEqual([value?.hosts, value?.http.length, problems], [[], 1, []])
  }
  const refused: [object, string][] = [
    [{ http: [{ delegate: { name: 'a' } }] }, 'spec.http[0].delegate'],
    [{ http: [{ route }], gateways: ['mesh'] }, 'spec.gateways'],
    [{ http: [{ route }], tcp: [{ route }] }, 'spec.tcp'],
    [{ http: [{ route }], tls: [{ match: [{ sniHosts: ['a'] }], route }] }, 'spec.tls'],
    [{}, 'spec'],
  ]
  for (const [spec, field] of refused) assert.equal(of(spec).problems[0]?.field, field)
})

test('a rule does one thing', () => {
  const action = {
    redirect: { uri: '/' },
    directResponse: { status: 200 },
    delegate: { name: 'a' },
    fault: { delay: { fixedDelay: '1s' } },
    rewrite: { uri: '/' },
  }
  const { redirect, directResponse, delegate, fault, rewrite } = action
  const table: [object, RegExp][] = [
    [{ redirect }, /^route: must not stand beside redirect/],
    [{ directResponse }, /^route: must not stand beside directResponse/],
    [{ delegate }, /^route: must not stand beside delegate/],
    [instead({ redirect, directResponse }), /^directResponse: .*redirect/],
    [instead({ redirect, fault }), /^fault: .*redirect/],
    [instead({ redirect, rewrite }), /^rewrite: .*redirect/],
    [instead({ directResponse, fault }), /^fault: .*directResponse/],
    [instead({ directResponse, rewrite }), /^rewrite: .*directResponse/],
    [instead({ delegate, redirect }), /^delegate: .*redirect/],
    [instead({ delegate, directResponse }), /^delegate: .*directResponse/],
    [{ mirror: { host: 'a' }, mirrors: [{ destination: { host: 'b' } }] }, /^mirror: .*mirrors/],
    [instead({}), /^route: /],
  ]
  for (const [http, expected] of table) assert.match(refusal(http), expected)
})

test('a rewrite is of the path, by prefix or regex, and of the authority', () => {
  const of = (rewrite: object) => ruleOf({ rewrite }).rewrite
  const regex = (match: string, by: string) => ({ uriRegexRewrite: { match, rewrite: by } })
  assert.deepEqual(of({ uri: '/a', authority: 'b' }), { uri: '/a', authority: 'b', regex: null })
  assert.deepEqual(of(regex('^/(a)/(.*)', '/\\2/\\1\\\\')), {
    uri: null,
    authority: null,
    regex: { match: '^/(a)/(.*)', by: '/\\2/\\1\\\\' },
  })
  const refused: [object, RegExp][] = [
    [{}, /^rewrite: must say/],
    [{ uri: '', authority: '' }, /^rewrite: must say/],
    [{ uri: '/', ...regex('a', 'b') }, /^rewrite\.uriRegexRewrite: .*uri/],
    [regex('', 'b'), /^rewrite\.uriRegexRewrite\.match: .*empty/],
    [regex('a', ''), /^rewrite\.uriRegexRewrite\.rewrite: .*required/],
    [regex('(', 'b'), /^rewrite\.uriRegexRewrite\.match: /],
    [regex('(a)', '\\2'), /^rewrite\.uriRegexRewrite\.rewrite: .*group 2/],
    [regex('(a)', 'b\\x'), /^rewrite\.uriRegexRewrite\.rewrite: /],
    [regex('(a)', 'b\\'), /^rewrite\.uriRegexRewrite\.rewrite: /],
    [regex('a'.repeat(1025), 'b'), /^rewrite\.uriRegexRewrite\.match: .*1024/],
    [{ uri: '/a b' }, /^rewrite\.uri: /],
    [{ authority: 'a\n' }, /^rewrite\.authority: /],
  ]
  for (const [rewrite, expected] of refused) assert.match(refusal({ rewrite }), expected)
})

test('an abort is a status of HTTP, or of gRPC by name or number', () => {
  const of = (abort: object) => ruleOf({ fault: { abort: { percentage: { value: 1 }, ...abort } } }).fault?.abort
  assert.deepEqual(of({ httpStatus: 429 }), { percent: 1, status: 429, grpcStatus: null })
  assert.deepEqual(of({ grpcStatus: 'UNAVAILABLE' }), { percent: 1, status: 200, grpcStatus: 14 })
  assert.deepEqual(of({ grpcStatus: '16' }), { percent: 1, status: 200, grpcStatus: 16 })
  assert.deepEqual(of({ grpcStatus: 'OK' }), { percent: 1, status: 200, grpcStatus: 0 })
  const refused: [object, RegExp][] = [
    [{ grpcStatus: 'NEVER' }, /^fault\.abort\.grpcStatus: 'NEVER'/],
    [{ grpcStatus: '17' }, /^fault\.abort\.grpcStatus: /],
    [{ grpcStatus: '' }, /^fault\.abort\.grpcStatus: /],
    [{ grpcStatus: 'OK', httpStatus: 500 }, /^fault\.abort: /],
    [{ httpStatus: 500, percentage: { value: 0.00001 } }, /^fault\.abort\.percentage\.value: /],
  ]
  for (const [abort, expected] of refused) assert.match(refusal({ fault: { abort } }), expected)
})

test('a delay beyond an hour is an hour, and that is reported', () => {
  const fault = { delay: { fixedDelay: '2h', percentage: { value: 100 } } }
  const { value, problems } = translate({ hosts: ['reviews'], http: [{ route, fault }] })
  assert.deepEqual(value?.http[0]?.fault?.delay, { percent: 100, ms: 3_600_000 })
  assert.deepEqual(
    problems.map(({ field, reason }) => `${field}: ${reason}`),
    ['spec.http[0].fault.delay.fixedDelay: an hour is the longest that is waited'],
  )
})

test('retries are words and statuses; without attempts there are none, and what else is not said is Istio’s default', () => {
  const unsaid = { attempts: 0, perTryMs: null, on: null, statuses: [], backoffMs: null }
  const open = { ...unsaid, ignorePrevious: null, remoteLocalities: null }
  const table: [object, object][] = [
    [{}, {}],
    [{ attempts: 0 }, { attempts: 0 }],
    [
      { attempts: 3, perTryTimeout: '2s', backoff: '10ms' },
      { attempts: 3, perTryMs: 2000, backoffMs: 10 },
    ],
    [
      { attempts: 1, retryOn: '5xx, 503,reset,,503' },
      { attempts: 1, on: ['5xx', 'reset'], statuses: [503] },
    ],
    [{ retryOn: '' }, {}],
    [
      { attempts: 1, retryOn: '409' },
      { attempts: 1, on: [], statuses: [409] },
    ],
    [
      { attempts: 1, retryIgnorePreviousHosts: false, retryRemoteLocalities: true },
      { attempts: 1, ignorePrevious: false, remoteLocalities: true },
    ],
  ]
  for (const [retries, expected] of table) assert.deepEqual(ruleOf({ retries }).retries, { ...open, ...expected })
  const refused: [object, RegExp][] = [
    [{ attempts: -1 }, /^retries\.attempts: .*negative/],
    [{ attempts: 0, retryOn: '5xx' }, /^retries\.attempts: /],
    [{ retryOn: '5xx' }, /^retries\.attempts: is 0 or not given/],
    [{ perTryTimeout: '1s' }, /^retries\.attempts: /],
    [{ retryRemoteLocalities: false }, /^retries\.attempts: /],
    [{ attempts: 1, retryOn: '5xx,sometimes' }, /^retries\.retryOn: 'sometimes'/],
    [{ attempts: 1, retryOn: '99' }, /^retries\.retryOn: '99'/],
    [{ attempts: 1, retryOn: 'constructor' }, /^retries\.retryOn: 'constructor'/],
    [{ attempts: 1, perTryTimeout: '0s' }, /^retries\.perTryTimeout: .*1ms/],
    [{ attempts: 1, backoff: '999us' }, /^retries\.backoff: .*1ms/],
  ]
  for (const [retries, expected] of refused) assert.match(refusal({ retries }), expected)
})

test('mirrors are copied to as often as they say, always where they do not', () => {
  const of = (http: object) => ruleOf(http).mirrors.map(({ destination, percent }) => [destination.host, percent])
  const short = (host: string) => `${host}.default.svc.cluster.local`
  const mirror = { host: 'a' }
  assert.deepEqual(of({ mirror }), [[short('a'), 100]])
  assert.deepEqual(of({ mirror, mirrorPercent: 7 }), [[short('a'), 7]])
  assert.deepEqual(of({ mirror, mirror_percent: 8 }), [[short('a'), 8]])
  assert.deepEqual(of({ mirror, mirrorPercentage: { value: 0.5 } }), [[short('a'), 0.5]])
  assert.deepEqual(of({ mirror, mirrorPercentage: {} }), [[short('a'), 0]])
  const mirrors = [
    { destination: { host: 'a', subset: 'v1', port: { number: 1 } } },
    { destination: { host: 'b.c' }, percentage: { value: 9 } },
  ]
  assert.deepEqual(ruleOf({ mirrors }).mirrors, [
    { destination: { host: short('a'), subset: 'v1', port: 1 }, percent: 100 },
    { destination: { host: 'b.c', subset: null, port: null }, percent: 9 },
  ])
  const refused: [object, RegExp][] = [
    [{ mirror, mirrorPercent: 101 }, /^mirrorPercent: /],
    [{ mirror, mirrorPercentage: { value: -1 } }, /^mirrorPercentage\.value: /],
    [{ mirror: { host: '*' } }, /^mirror\.host: /],
    [{ mirrors: [{ destination: mirror, percentage: { value: 101 } }] }, /^mirrors\[0\]\.percentage\.value: /],
    [{ mirrors: [{}] }, /^mirrors\[0\]: .*destination/],
  ]
  for (const [http, expected] of refused) assert.match(refusal(http), expected)
})

test('a CORS policy says which origins, methods and fields', () => {
  const unsaid = { origins: [], methods: [], headers: [], exposed: [], maxAgeSeconds: null, credentials: null }
  const open = { ...unsaid, forwardsUnmatched: true }
  const table: [object, object][] = [
    [{}, {}],
    [{ unmatchedPreflights: 'UNSPECIFIED' }, {}],
    [{ unmatchedPreflights: 'IGNORE' }, { forwardsUnmatched: false }],
    [{ allowOrigin: ['*'] }, { origins: [{ kind: 'exact', value: '*' }] }],
    [
      { allowOrigins: [{ prefix: 'https://a' }, { regex: '.*b' }] },
      {
        origins: [
          { kind: 'prefix', value: 'https://a' },
          { kind: 'regex', value: '.*b' },
        ],
      },
    ],
    [
      { allowMethods: ['GET', 'PATCH'], allowHeaders: ['X-A', '*'], exposeHeaders: ['x-b'] },
      { methods: ['GET', 'PATCH'], headers: ['X-A', '*'], exposed: ['x-b'] },
    ],
    [
      { maxAge: '720h', allowCredentials: false },
      { maxAgeSeconds: 2_592_000, credentials: false },
    ],
  ]
  for (const [corsPolicy, expected] of table) assert.deepEqual(ruleOf({ corsPolicy }).cors, { ...open, ...expected })
  const refused: [object, RegExp][] = [
    [{ allowOrigins: [{}] }, /^corsPolicy\.allowOrigins\[0\]: /],
    [{ allowOrigins: [{ exact: 'a' }, { exact: '' }] }, /^corsPolicy\.allowOrigins\[1\]: /],
    [{ allowOrigins: [{ regex: '(' }] }, /^corsPolicy\.allowOrigins\[0\]\.regex: /],
    [{ allowMethods: ['GET', 'get'] }, /^corsPolicy\.allowMethods\[1\]: 'get'/],
    [{ allowHeaders: ['a b'] }, /^corsPolicy\.allowHeaders\[0\]: /],
    [{ exposeHeaders: [''] }, /^corsPolicy\.exposeHeaders\[0\]: /],
    [{ maxAge: '1500ms' }, /^corsPolicy\.maxAge: .*seconds/],
    [{ maxAge: '0s' }, /^corsPolicy\.maxAge: /],
  ]
  for (const [corsPolicy, expected] of refused) assert.match(refusal({ corsPolicy }), expected)
})

test('header fields are changed by name, on the way of a rule and of a destination', () => {
  const given = {
    request: { set: { 'X-A': '1', ':authority': 'b.example' }, add: { 'X-B': '100%%' }, remove: ['X-C'] },
    response: { remove: ['server'] },
  }
  const expected = {
    request: {
      remove: ['x-c'],
      set: [
        ['x-a', '1'],
        ['host', 'b.example'],
      ],
      add: [['x-b', '100%']],
    },
    response: { remove: ['server'], set: [], add: [] },
  }
  assert.deepEqual(ruleOf({ headers: given }).headers, expected)
  const { headers, destinations } = ruleOf({ route: [{ ...route[0], headers: given }] })
  assert.deepEqual([headers, destinations[0]?.headers], [null, expected])
  const added = ruleOf({ headers: { request: { add: { Host: 'b' } } } }).headers
  assert.deepEqual(added?.request, { remove: [], set: [['host', 'b']], add: [] }) // a request has one authority
  assert.equal(ruleOf({ headers: {} }).headers, null)
  assert.equal(ruleOf({ headers: { request: { set: {} }, response: { remove: [] } } }).headers, null)
})

test('what no policy may say of a header field is refused', () => {
  const request = (wish: object) => ({ headers: { request: wish } })
  const response = (wish: object) => ({ headers: { response: wish } })
  const table: [object, RegExp][] = [
    [request({ set: { ':path': '/' } }), /^headers\.request\.set\.:path: .*colon/],
    [request({ set: { 'Transfer-Encoding': 'a' } }), /^headers\.request\.set\.Transfer-Encoding: .*connection/],
    [request({ set: { a: 'x'.repeat(8192), b: 'x'.repeat(8192) } }), /^headers\.request: .*16384 characters/],
    [response({ add: { a: 'x'.repeat(16384) } }), /^headers\.response: .*16384 characters/],
    [request({ remove: ['a', 'content-length'] }), /^headers\.request\.remove\[1\]: .*connection/],
    [request({ remove: ['Host'] }), /^headers\.request\.remove\[0\]: .*authority/],
    [response({ set: { host: 'a' } }), /^headers\.response\.set\.host: .*authority/],
    [response({ add: { upgrade: 'a' } }), /^headers\.response\.add\.upgrade: .*connection/],
    [request({ set: { 'a b': '1' } }), /^headers\.request\.set\.a b: .*name/],
    [request({ set: { '': '1' } }), /^headers\.request\.set\.: .*name/],
    [request({ set: { a: '1\r\nb: 2' } }), /^headers\.request\.set\.a: .*control/],
    [request({ set: { a: 'Ċ' } }), /^headers\.request\.set\.a: .*ASCII/],
    [request({ set: { a: '%HOSTNAME%' } }), /^headers\.request\.set\.a: .*operators/],
    [request({ set: { a: '100%' } }), /^headers\.request\.set\.a: .*single percent/],
    [request({ set: { a: '%%%' } }), /^headers\.request\.set\.a: .*single percent/],
    [request({ set: { A: '1', a: '2' } }), /^headers\.request\.set: .*twice/],
    [request({ set: { host: 'a' }, add: { ':authority': 'b' } }), /^headers\.request\.add: .*authority/],
    [request({ set: { host: '' } }), /^headers\.request\.set\.host: /],
    [{ ...request({ set: { host: 'a' } }), rewrite: { authority: 'b' } }, /^headers\.request: .*rewrite/],
    [{ route: [{ ...route[0], ...response({ remove: ['te'] }) }] }, /^route\[0\]\.headers\.response\.remove\[0\]: /],
  ]
  for (const [http, expected] of table) assert.match(refusal(http), expected)
})

test('what can match nothing, or cannot be asked for, is refused', () => {
  const match = (wish: object) => ({ match: [wish] })
  const long = 'a'.repeat(1025)
  const table: [object, RegExp][] = [
    [match({ uri: { regex: long } }), /^match\[0\]\.uri\.regex: .*1024/],
    [match({ uri: { regex: '' } }), /^match\[0\]\.uri\.regex: .*empty/],
    [match({ method: { prefix: '' } }), /^match\[0\]\.method\.prefix: .*empty/],
    [match({ headers: { a: { prefix: '' } } }), /^match\[0\]\.headers\.a\.prefix: .*empty/],
    [match({ headers: { 'a:b': {} } }), /^match\[0\]\.headers\.a:b: .*name/],
    [match({ headers: { '@request.auth.claims.sub': {} } }), /^match\[0\]\.headers\.@request\.auth\.claims\.sub: /],
    [match({ withoutHeaders: { '': {} } }), /^match\[0\]\.withoutHeaders\.: /],
    [match({ headers: { a: { regex: '*' } } }), /^match\[0\]\.headers\.a\.regex: /],
    [match({ queryParams: { '': {} } }), /^match\[0\]\.queryParams\.: /],
    [match({ port: 65536 }), /^match\[0\]\.port: /],
    [match({ sourceNamespace: '*' }), /^match\[0\]\.sourceNamespace: /],
    [match({ sourceLabels: { app: '*' } }), /^match\[0\]\.sourceLabels\.app: /],
    [{ route: [{ destination: { host: '*' } }] }, /^route\[0\]\.destination\.host: /],
    [{ route: [{ destination: { host: 'a_b' } }] }, /^route\[0\]\.destination\.host: /],
    [{ route: [{ destination: { host: '10.0.0.1' } }] }, /^route\[0\]\.destination\.host: /],
    [{ route: [{ destination: { host: 'a', port: {} } }] }, /^route\[0\]\.destination\.port\.number: .*required/],
    [{ route: [{ destination: { host: 'a', port: { number: 0 } } }] }, /^route\[0\]\.destination\.port\.number: /],
    [{ route: [{ destination: { host: 'a', subset: 'v_1' } }] }, /^route\[0\]\.destination\.subset: /],
    [{ timeout: '999us' }, /^timeout: .*1ms/],
  ]
  for (const [http, expected] of table) assert.match(refusal(http), expected)
  const [plain] = ruleOf(match({ uri: { prefix: '' }, port: 0, withoutHeaders: { a: { regex: '*' } } })).matches
  assert.deepEqual([plain?.uri, plain?.port], [{ kind: 'prefix', value: '' }, null])
  assert.deepEqual(plain?.withoutHeaders, [{ name: 'a', match: { kind: 'present' } }])
})

test('hosts are names, IP addresses or names with a wildcard at their beginning, each written once', () => {
  const of = (...hosts: string[]) => translate({ hosts, http: [{ route }] })
  const sound = [
    ['reviews', HOST, `*.${HOST}`],
    ['*.b.c'],
    ['*-a.b'],
    ['10.0.0.1', 'fd00::1'],
    ['a.b.', 'c'],
    ['a.b', '*.c'],
  ]
  for (const hosts of sound) assert.deepEqual(of(...hosts).problems, [], hosts.join())
  assert.deepEqual(of('reviews', '*.default.svc.cluster.local').problems, []) // told apart as they are written (Istio)
  assert.deepEqual(of('A.b.', 'FD00::1').value?.hosts, ['a.b', 'fd00::1'])
  const unsound = [[''], ['*'], ['a.*.b'], ['a b'], ['-a'], ['a..b'], ['a.123'], ['a'.repeat(64)], ['a/b']]
  for (const hosts of unsound) assert.equal(of(...hosts).problems[0]?.field, 'spec.hosts[0]', hosts.join())
  const twice = [
    ['reviews', 'Reviews'],
    ['*.b', 'a.b'],
    ['a.b.c', '*.c'],
    ['*.a.b', '*.b'],
  ]
  for (const hosts of twice) assert.equal(of(...hosts).problems[0]?.field, 'spec.hosts[1]', hosts.join())
})
