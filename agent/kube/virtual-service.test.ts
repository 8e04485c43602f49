import { NOWHERE_KNOWN } from '../model/balance/locality.ts'
import { DEFAULT_MESH_SETTINGS } from '../model/mesh-settings.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { HttpRule, VirtualService } from '../model/policy.ts'
import { compile } from '../model/snapshot.ts'
import { istio } from './objects.fixture.ts'
import type { Translation } from './translate.ts'
import { translateVirtualService } from './virtual-service.ts'

const route = [{ destination: { host: 'reviews' } }]

function translate(spec: unknown, metadata = {}): Translation<VirtualService> {
  return translateVirtualService(istio('VirtualService', spec, metadata), 'cluster.local')
}

/** The one rule of a VirtualService, given what differs from a plain one. */
function ruleOf(http: object): HttpRule {
  const { value, problems } = translate({ hosts: ['reviews'], http: [{ route, ...http }] })
  assert.deepEqual(problems, [])
  return value!.http[0]!
}

/** Why a rule is refused: `field: reason`. */
function refusal(http: object): string {
  const { value, rejected, problems } = translate({ hosts: ['reviews'], http: [{ route, ...http }] })
  assert.equal(rejected, true, JSON.stringify(http))
  assert.equal(value, null)
  assert.equal(problems.length, 1)
  return `${problems[0]!.field}: ${problems[0]!.reason}`
}

const HOST = 'reviews.default.svc.cluster.local'

test('every honoured field arrives in the mesh’s own words', () => {
  const { value, rejected, problems } = translate({
    hosts: ['reviews', '*.example.com'],
    gateways: ['mesh'],
    exportTo: ['.', 'jobs'],
    http: [
      {
        name: 'canary',
        match: [
          {
            name: 'jason',
            uri: { prefix: '/api' },
            ignoreUriCase: true,
            scheme: { exact: 'http' },
            method: { regex: 'GET|HEAD' },
            authority: { exact: 'reviews' },
            headers: { 'End-User': { exact: 'jason' }, 'x-any': {} },
            withoutHeaders: { 'X-Not': { prefix: 'a' } },
            queryParams: { User: { exact: 'j' } },
            port: 80,
            sourceLabels: { app: 'web' },
            sourceNamespace: 'front',
            gateways: ['mesh'],
          },
        ],
        route: [
          { destination: { host: 'reviews', subset: 'v2', port: { number: 9080 } }, weight: 20 },
          { destination: { host: 'reviews.other.svc.cluster.local' }, weight: 80 },
        ],
        rewrite: { uri: '/v2', authority: 'v2.reviews' },
        fault: {
          delay: { fixedDelay: '2.5s', percentage: { value: 0.1 } },
          abort: { httpStatus: 503, percentage: { value: 50 } },
        },
        timeout: '10s',
      },
    ],
  })
  assert.deepEqual([rejected, problems], [false, []])
  assert.deepEqual(value, {
    ref: { kind: 'VirtualService', namespace: 'default', name: 'reviews' },
    createdMs: Date.UTC(2026, 0, 2, 3, 4, 5),
    hosts: [HOST, '*.example.com'],
    exportTo: ['default', 'jobs'],
    http: [
      {
        name: 'canary',
        matches: [
          {
            name: 'jason',
            uri: { kind: 'prefix', value: '/api' },
            ignoreUriCase: true,
            scheme: { kind: 'exact', value: 'http' },
            method: { kind: 'regex', value: 'GET|HEAD' },
            authority: { kind: 'exact', value: 'reviews' },
            headers: [
              { name: 'end-user', match: { kind: 'exact', value: 'jason' } },
              { name: 'x-any', match: { kind: 'present' } },
            ],
            withoutHeaders: [{ name: 'x-not', match: { kind: 'prefix', value: 'a' } }],
            queryParams: [{ name: 'User', match: { kind: 'exact', value: 'j' } }], // case counts in a query
            port: 80,
            sourceLabels: { app: 'web' },
            sourceNamespace: 'front',
          },
        ],
        destinations: [
          { host: HOST, subset: 'v2', port: 9080, weight: 20, headers: null },
          { host: 'reviews.other.svc.cluster.local', subset: null, port: null, weight: 80, headers: null },
        ],
        instead: null,
        rewrite: { uri: '/v2', authority: 'v2.reviews', regex: null },
        fault: { delay: { percent: 0.1, ms: 2500 }, abort: { percent: 50, status: 503, grpcStatus: null } },
        timeoutMs: 10_000,
        retries: null,
        mirrors: [],
        cors: null,
        headers: null,
      },
    ],
    tls: [],
    tcp: [],
  })
})

test('every version of the API means the same', () => {
  const spec = { hosts: ['reviews'], http: [{ route, timeout: '1s' }] }
  const of = (version: string) =>
    translateVirtualService(
      { ...istio('VirtualService', spec), apiVersion: `networking.istio.io/${version}` },
      'cluster.local',
    )
  for (const version of ['v1beta1', 'v1alpha3']) assert.deepEqual(of(version), of('v1'))
})

test('a field that is not honoured is named with the reason, and the rest is in force', () => {
  const forwards = /does not forward/
  const table: [object, Record<string, RegExp>][] = [
    [{ match: [{ statPrefix: 'a' }] }, { 'match[0].statPrefix': /statistics/ }],
    [{ match: [{}, { uri: { exact: '/a' }, statPrefix: 'a' }] }, { 'match[1].statPrefix': /statistics/ }],
    [{ retries: { attempts: 1, retryOn: '5xx,retriable-headers' } }, { 'retries.retryOn': /retriable-headers is not/ }],
    [{ retries: { attempts: 1, retryOn: 'http3-post-connect-failure' } }, { 'retries.retryOn': /HTTP\/3/ }],
    [{ retries: { backoff: '1s' } }, { 'retries.backoff': /without attempts/ }],
    [{ retries: { attempts: 0, retryIgnorePreviousHosts: false } }, { 'retries.retryIgnorePreviousHosts': /without/ }],
    [{ mirrorPercent: 5 }, { mirrorPercent: /without mirror/ }],
    [
      { mirror: { host: 'a' }, mirrorPercentage: { value: 5 }, mirrorPercent: 6, mirror_percent: 7 },
      { mirrorPercent: /newer/, mirror_percent: /newer/ },
    ],
    [
      { corsPolicy: { allowOrigin: ['a'], allowOrigins: [{ exact: 'b' }] } },
      { 'corsPolicy.allowOrigin': /beside allowOrigins/ },
    ],
    [
      { ...REDIRECT, timeout: '1s', retries: { attempts: 1 }, headers: { request: { remove: ['a'] } } },
      { timeout: forwards, retries: forwards, 'headers.request': forwards },
    ],
    [
      { directResponse: { status: 200 }, route: undefined, mirrors: [{ destination: { host: 'a' } }] },
      { mirrors: forwards },
    ],
    [{ route: [{ destination: { host: 'a', port: { number: 1, name: 'http' } } }] }, NAMED_PORT],
  ]
  for (const [http, expected] of table) {
    const { value, problems } = translate({ hosts: ['reviews'], http: [{ route }, { route, ...http }] })
    assert.deepEqual(
      problems.map(({ field }) => field),
      Object.keys(expected).map((field) => `spec.http[1].${field}`),
    )
    problems.forEach(({ reason }, index) => assert.match(reason, Object.values(expected)[index]!))
    assert.equal(value?.http.length, 2)
    assert.ok(problems.every(({ object }) => object.name === 'reviews'))
  }
})

const REDIRECT = { redirect: { uri: '/' }, route: undefined }
const NAMED_PORT = { 'route[0].destination.port.name': /not honoured/ }

test('gateways other than mesh are named', () => {
  const found = translate({ hosts: ['reviews'], gateways: ['mesh', 'front'], http: [{ route }] })
  assert.deepEqual(
    found.problems.map(({ field }) => field),
    ['spec.gateways'],
  )
  assert.equal(found.value?.http.length, 1)
})

test('what cannot be in force is refused with the field that is wrong', () => {
  const match = (wish: object) => ({ match: [{ uri: { exact: '/' } }, wish] })
  const table: [object, RegExp][] = [
    [{ route: [] }, /^spec\.http\[0\]\.route: /],
    [{ route: undefined }, /^spec\.http\[0\]\.route: /],
    [{ route: [{ weight: 1 }] }, /^spec\.http\[0\]\.route\[0\]: .*destination/],
    [{ route: [{ destination: { host: 'a' }, weight: '1' }] }, /^spec\.http\[0\]\.route\[0\]\.weight: .*integer/],
    [{ route: [...route, { ...route[0], weight: -1 }] }, /^spec\.http\[0\]\.route\[1\]\.weight: .*negative/],
    [{ route: [...route, ...route] }, /^spec\.http\[0\]\.route: .*weights/],
    [match({ uri: { regex: '(' } }), /^spec\.http\[0\]\.match\[1\]\.uri\.regex: /],
    [match({ method: { regex: 'a(?=b)' } }), /^spec\.http\[0\]\.match\[1\]\.method\.regex: /],
    [match({ scheme: { regex: '[' } }), /^spec\.http\[0\]\.match\[1\]\.scheme\.regex: /],
    [match({ authority: { regex: '**' } }), /^spec\.http\[0\]\.match\[1\]\.authority\.regex: /],
    [match({ headers: { 'X-A': { regex: '(' } } }), /^spec\.http\[0\]\.match\[1\]\.headers\.X-A\.regex: /],
    [match({ withoutHeaders: { a: { regex: '(' } } }), /^spec\.http\[0\]\.match\[1\]\.withoutHeaders\.a\.regex: /],
    [match({ queryParams: { q: { regex: '(' } } }), /^spec\.http\[0\]\.match\[1\]\.queryParams\.q\.regex: /],
    [match({ uri: { exact: '/', prefix: '/' } }), /^spec\.http\[0\]\.match\[1\]\.uri: /],
    [match({ uri: '/' }), /^spec\.http\[0\]\.match\[1\]\.uri: .*object/],
    [{ timeout: 'soon' }, /^spec\.http\[0\]\.timeout: 'soon'/],
    [{ timeout: '-1s' }, /^spec\.http\[0\]\.timeout: /],
    [{ fault: { delay: { percentage: { value: 1 } } } }, /^spec\.http\[0\]\.fault\.delay\.fixedDelay: /],
    [{ fault: { delay: { exponentialDelay: '1s' } } }, /^spec\.http\[0\]\.fault\.delay\.exponentialDelay: /],
    [{ fault: { delay: { fixedDelay: '5' } } }, /^spec\.http\[0\]\.fault\.delay\.fixedDelay: /],
    [{ fault: { delay: { fixedDelay: '5s', percent: 101 } } }, /^spec\.http\[0\]\.fault\.delay\.percent: /],
    [{ fault: { abort: { http2Error: 'a' } } }, /^spec\.http\[0\]\.fault\.abort\.http2Error: /],
    [{ fault: { abort: {} } }, /^spec\.http\[0\]\.fault\.abort: /],
    [{ fault: {} }, /^spec\.http\[0\]\.fault: /],
    [{ fault: { abort: { httpStatus: 99 } } }, /^spec\.http\[0\]\.fault\.abort\.httpStatus: /],
    [{ fault: { abort: { httpStatus: 600 } } }, /^spec\.http\[0\]\.fault\.abort\.httpStatus: /],
    [
      { fault: { abort: { httpStatus: 500, percentage: { value: 150 } } } },
      /^spec\.http\[0\]\.fault\.abort\.percentage\.value: /,
    ],
  ]
  for (const [http, expected] of table) assert.match(refusal(http), expected)
})

test('what is left out has Istio’s meaning', () => {
  const plain = ruleOf({})
  assert.deepEqual([plain.name, plain.matches, plain.rewrite, plain.fault, plain.timeoutMs], ['', [], null, null, null])
  assert.equal(ruleOf({ timeout: '0s' }).timeoutMs, 0) // said: there is no limit
  assert.deepEqual(ruleOf({ fault: { delay: { fixedDelay: '1s' }, abort: { httpStatus: 500 } } }).fault, {
    delay: { percent: 0, ms: 1000 },
    abort: { percent: 0, status: 500, grpcStatus: null },
  })
  assert.equal(ruleOf({ fault: { delay: { fixedDelay: '1s', percent: 7 } } }).fault?.delay?.percent, 7)
  const both = { fault: { delay: { fixedDelay: '1s', percentage: {}, percent: 7 } } }
  assert.equal(ruleOf(both).fault?.delay?.percent, 0) // percentage decides where it is there
  assert.deepEqual(ruleOf({ rewrite: { uri: '/', authority: '' } }).rewrite, { uri: '/', authority: null, regex: null })
  assert.equal(ruleOf({ route: [{ destination: { host: 'a', subset: '' } }] }).destinations[0]?.subset, null)
  assert.deepEqual(translate({ hosts: ['reviews'], http: [{ route }] }).value?.exportTo, ['*'])
})

test('fields that are null mean what absent ones mean', () => {
  const nulls = {
    name: null,
    match: null,
    rewrite: { uri: '/a', authority: null, uriRegexRewrite: null },
    fault: null,
    timeout: null,
    retries: null,
    mirror: null,
    corsPolicy: null,
    headers: { request: null },
  }
  const found = translate({ hosts: ['reviews'], gateways: null, exportTo: null, http: [{ ...nulls, route }] })
  assert.deepEqual(found, translate({ hosts: ['reviews'], http: [{ rewrite: { uri: '/a' }, headers: {}, route }] }))
})

test('only what is meant for traffic inside the mesh is taken', () => {
  const of = (spec: object) => translate({ hosts: ['reviews'], ...spec })
  const http = [{ route }]
  assert.equal(of({ http }).value?.http.length, 1)
  assert.equal(of({ http, gateways: [] }).value?.http.length, 1) // an empty list is none given
  assert.equal(of({ http, gateways: ['front'] }).value, null)
  assert.equal(of({ http, gateways: ['front', 'mesh'] }).value?.http.length, 1)
  assert.equal(of({ http: [] }).value, null)
  assert.equal(of({}).value, null)
  const match = (gateways?: string[]) => ({ uri: { exact: '/' }, gateways })
  const matched = (...lists: (string[] | undefined)[]) =>
    of({ http: [{ route, match: lists.map(match) }, { route }] }).value?.http.map(({ matches }) => matches.length)
  assert.deepEqual(matched(undefined, []), [2, 0])
  assert.deepEqual(matched(['front'], ['mesh', 'front']), [1, 0])
  assert.deepEqual(matched(['front'], ['other']), [0]) // the rule is for gateways alone: not one for every request
})

test('a host that is given short is of the object’s own namespace, in hosts and destinations alike', () => {
  const spec = { hosts: ['reviews'], http: [{ route: [{ destination: { host: 'ratings' } }] }] }
  const { value } = translate(spec, { namespace: 'shop' })
  assert.equal(value?.hosts[0], 'reviews.shop.svc.cluster.local')
  assert.equal(value?.http[0]?.destinations[0]?.host, 'ratings.shop.svc.cluster.local')
})

// Objects that are nearly right: every field of a rule, with values that are right, wrong, or of another kind.
const odd = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom<unknown>(null, '', 'a', 0, -1, 1e9, true, [], [null], {}, { '': null }) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 2 }) },
)
const nearly = (...right: unknown[]) =>
  fc.oneof({ weight: 30, arbitrary: fc.constantFrom(...right) }, { weight: 1, arbitrary: odd })
const share = nearly({ value: 50 }, {}, { value: 101 })
const stringMatch = nearly({ exact: 'a' }, { prefix: '/' }, { regex: 'a+' }, {}, { regex: '(' })
const matches = fc.array(
  fc.record(
    {
      uri: stringMatch,
      headers: fc.dictionary(fc.constantFrom('a', 'B', ' '), stringMatch, { maxKeys: 1 }),
      port: nearly(80, 0),
      sourceNamespace: nearly('a'),
      sourceLabels: nearly({ app: 'a' }),
      gateways: nearly(['mesh'], ['front']),
    },
    { requiredKeys: [] },
  ),
  { maxLength: 2 },
)
const changes = nearly(
  { set: { a: '1', ':authority': 'b' } },
  { add: { 'X-B': '100%%' }, remove: ['c'] },
  { set: { te: '' } },
)
const rule = fc.record(
  {
    name: nearly('a'),
    match: fc.oneof({ weight: 9, arbitrary: matches }, { weight: 1, arbitrary: odd }),
    route: nearly(
      route,
      route,
      [{ destination: { host: 'a', port: { number: 1 }, subset: 'v1' }, headers: {} }],
      undefined,
    ),
    redirect: nearly(undefined, undefined, undefined, { uri: '/', redirectCode: 308 }, { port: 1 }),
    delegate: nearly(undefined, undefined, undefined, { name: 'a' }),
    rewrite: nearly(undefined, { uri: '/' }, { uriRegexRewrite: { match: '(a)', rewrite: '\\1' } }),
    fault: nearly(undefined, { delay: { fixedDelay: '1s' } }, { abort: { grpcStatus: 'ABORTED' } }),
    timeout: nearly('1s', '0s'),
    retries: nearly({ attempts: 2, retryOn: '5xx,503,retriable-headers' }, { perTryTimeout: '1ms' }, {}),
    mirror: nearly(undefined, { host: 'm' }),
    mirrorPercentage: share,
    corsPolicy: nearly({ allowOrigins: [{ exact: 'a' }], maxAge: '1h' }, {}),
    headers: fc.record({ request: changes }),
  },
  { requiredKeys: ['route'] },
)
const flow = fc.record({
  match: nearly([{ sniHosts: ['a'], destinationSubnets: ['10.0.0.0/8'] }], []),
  route: nearly(route),
})
const some = <T>(one: fc.Arbitrary<T>) => fc.array(fc.oneof({ weight: 9, arbitrary: one }, odd), { maxLength: 2 })
const spec = fc.oneof(
  { weight: 1, arbitrary: odd },
  { weight: 1, arbitrary: fc.record({ hosts: odd, http: odd, gateways: odd, exportTo: odd }, { requiredKeys: [] }) },
  {
    weight: 8,
    arbitrary: fc.record(
      { hosts: nearly(['a'], ['a', 'b.c'], []), http: some(rule), tls: some(flow), tcp: some(flow) },
      { requiredKeys: ['hosts'] },
    ),
  },
)

/** Whether everything in it is said: nothing is undefined, and no number is none. */
function isSaid(value: unknown): boolean {
  if (typeof value === 'number') return !Number.isNaN(value)
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value !== undefined
  return Object.values(value).every(isSaid)
}

test('any object is translated or refused with a reason, and what is translated compiles', () => {
  const taken = { yes: 0, no: 0, none: 0 }
  fc.assert(
    fc.property(spec, (given) => {
      const { value, rejected, problems } = translate(given)
      if (rejected) assert.ok(value === null && problems.length === 1 && problems[0]!.reason !== '')
      for (const { field } of problems) assert.match(field, /^spec/) // a field by name: nothing fell through
      taken[rejected ? 'no' : value === null ? 'none' : 'yes']++
      if (value === null) return
      assert.ok(isSaid(value), JSON.stringify(value))
      const [workloads, services, destinationRules] = [[], [], []]
      compile({
        version: 1,
        rootNamespace: 'r',
        mesh: DEFAULT_MESH_SETTINGS,
        node: 'node-1',
        locality: NOWHERE_KNOWN,
        workloads,
        services,
        virtualServices: [value],
        destinationRules,
        peerAuthentications: [],
        authorizationPolicies: [],
        requestAuthentications: [],
      })
    }),
    { numRuns: 2000 },
  )
  assert.ok(taken.yes > 100 && taken.no > 100, JSON.stringify(taken))
})

test('what stands in an object’s status, by whomever, is no reason to refuse it', () => {
  const given = istio('VirtualService', {
    hosts: ['reviews'],
    http: [{ route: [{ destination: { host: 'reviews' } }] }],
  })
  const { rejected, problems } = translateVirtualService(
    { ...given, status: { validationMessages: ['x'] } },
    'cluster.local',
  )
  assert.deepEqual([rejected, problems], [false, []])
})
