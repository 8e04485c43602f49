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
          { host: HOST, subset: 'v2', port: 9080, weight: 20 },
          { host: 'reviews.other.svc.cluster.local', subset: null, port: null, weight: 80 },
        ],
        rewrite: { uri: '/v2', authority: 'v2.reviews' },
        fault: { delay: { percent: 0.1, ms: 2500 }, abort: { percent: 50, status: 503 } },
        timeoutMs: 10_000,
      },
    ],
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

test('a field that is not honoured is named and the rest is in force', () => {
  const table: [object, string[]][] = [
    [{ retries: { attempts: 3 } }, ['retries']],
    [{ mirror: { host: 'a' } }, ['mirror']],
    [{ mirrors: [{ destination: { host: 'a' } }] }, ['mirrors']],
    [{ corsPolicy: {} }, ['corsPolicy']],
    [{ headers: { request: { set: { a: 'b' } } } }, ['headers']],
    [{ match: [{ statPrefix: 'a' }] }, ['match[0].statPrefix']],
    [{ match: [{}, { uri: { exact: '/a' }, statPrefix: 'a' }] }, ['match[1].statPrefix']],
    [{ route: [{ ...route[0], headers: { response: { remove: ['a'] } } }] }, ['route[0].headers']],
    [{ rewrite: { uriRegexRewrite: { match: 'a', rewrite: 'b' } } }, ['rewrite.uriRegexRewrite']],
  ]
  for (const [http, fields] of table) {
    const { value, problems } = translate({ hosts: ['reviews'], http: [{ route }, { route, ...http }] })
    assert.deepEqual(
      problems.map(({ field }) => field),
      fields.map((field) => `spec.http[1].${field}`),
    )
    assert.equal(value?.http.length, 2)
    assert.ok(problems.every(({ object, reason }) => object.name === 'reviews' && reason !== ''))
  }
})

test('tls and tcp routes and other gateways are named', () => {
  const tls = [{ match: [{ sniHosts: ['a.com'] }], route }]
  const found = translate({ hosts: ['reviews'], gateways: ['mesh', 'front'], tls, tcp: [{ route }], http: [{ route }] })
  assert.deepEqual(found.problems.map(({ field }) => field).sort(), ['spec.gateways', 'spec.tcp', 'spec.tls'])
  assert.equal(found.value?.http.length, 1)
})

test('what cannot be in force is refused with the field that is wrong', () => {
  const match = (wish: object) => ({ match: [{ uri: { exact: '/' } }, wish] })
  const table: [object, RegExp][] = [
    [{ redirect: { uri: '/' }, route: undefined }, /^spec\.http\[0\]\.redirect: /],
    [{ directResponse: { status: 200 }, route: undefined }, /^spec\.http\[0\]\.directResponse: /],
    [{ delegate: { name: 'a' }, route: undefined }, /^spec\.http\[0\]\.delegate: /],
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
    [{ fault: { delay: { percentage: { value: 1 } } } }, /^spec\.http\[0\]\.fault\.delay: /],
    [{ fault: { delay: { exponentialDelay: '1s' } } }, /^spec\.http\[0\]\.fault\.delay: /],
    [{ fault: { delay: { fixedDelay: '5' } } }, /^spec\.http\[0\]\.fault\.delay\.fixedDelay: /],
    [{ fault: { delay: { fixedDelay: '5s', percent: 101 } } }, /^spec\.http\[0\]\.fault\.delay\.percent: /],
    [{ fault: { abort: { grpcStatus: 'UNAVAILABLE' } } }, /^spec\.http\[0\]\.fault\.abort: /],
    [{ fault: { abort: { httpStatus: 99 } } }, /^spec\.http\[0\]\.fault\.abort\.httpStatus: /],
    [{ fault: { abort: { httpStatus: 600 } } }, /^spec\.http\[0\]\.fault\.abort\.httpStatus: /],
    [
      { fault: { abort: { httpStatus: 500, percentage: { value: 150 } } } },
      /^spec\.http\[0\]\.fault\.abort\.percentage: /,
    ],
  ]
  for (const [http, expected] of table) assert.match(refusal(http), expected)
  for (const hosts of [undefined, [], null]) {
    assert.equal(translate({ hosts, http: [{ route }] }).problems[0]?.field, 'spec.hosts')
  }
})

test('what is left out has Istio’s meaning', () => {
  const plain = ruleOf({})
  assert.deepEqual([plain.name, plain.matches, plain.rewrite, plain.fault, plain.timeoutMs], ['', [], null, null, null])
  assert.equal(ruleOf({ timeout: '0s' }).timeoutMs, null)
  assert.deepEqual(ruleOf({ fault: { delay: { fixedDelay: '1s' }, abort: { httpStatus: 500 } } }).fault, {
    delay: { percent: 0, ms: 1000 },
    abort: { percent: 0, status: 500 },
  })
  assert.equal(ruleOf({ fault: { delay: { fixedDelay: '1s', percent: 7 } } }).fault?.delay?.percent, 7)
  const both = { fault: { delay: { fixedDelay: '1s', percentage: {}, percent: 7 } } }
  assert.equal(ruleOf(both).fault?.delay?.percent, 0) // percentage decides where it is there
  assert.deepEqual(ruleOf({ rewrite: { uri: '', authority: '' } }).rewrite, { uri: null, authority: null })
  assert.equal(ruleOf({ route: [{ destination: { host: 'a', subset: '' } }] }).destinations[0]?.subset, null)
  assert.deepEqual(translate({ hosts: ['reviews'], http: [{ route }] }).value?.exportTo, ['*'])
})

test('fields that are null mean what absent ones mean', () => {
  const nulls = {
    name: null,
    match: null,
    rewrite: { uri: '/a', authority: null },
    fault: { delay: null },
    timeout: null,
  }
  const found = translate({ hosts: ['reviews'], gateways: null, exportTo: null, http: [{ ...nulls, route }] })
  assert.deepEqual(found, translate({ hosts: ['reviews'], http: [{ rewrite: { uri: '/a' }, fault: {}, route }] }))
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
const stringMatch = fc.oneof(fc.constantFrom<unknown>({ exact: 'a' }, { prefix: '/' }, { regex: '(' }, {}), odd)
const rule = fc.record(
  {
    name: odd,
    match: fc.oneof(odd, fc.array(fc.record({ uri: stringMatch, headers: fc.dictionary(fc.string(), stringMatch) }))),
    route: fc.oneof(
      fc.constant(route),
      odd,
      fc.array(fc.record({ destination: fc.oneof(odd, fc.record({ host: odd, port: odd })), weight: odd })),
    ),
    rewrite: odd,
    fault: fc.oneof(odd, fc.record({ delay: odd, abort: odd })),
    timeout: odd,
    retries: odd,
    mirror: odd,
  },
  { requiredKeys: [] },
)
const spec = fc.oneof(
  odd,
  fc.record({ hosts: odd, http: odd, gateways: odd, exportTo: odd }, { requiredKeys: [] }),
  fc.record({ hosts: fc.constant(['a']), http: fc.array(fc.oneof(rule, odd), { maxLength: 2 }) }),
)

test('any object is translated or refused with a reason, and what is translated compiles', () => {
  const taken = { yes: 0, no: 0 }
  fc.assert(
    fc.property(spec, (given) => {
      const { value, rejected, problems } = translate(given)
      if (rejected) assert.ok(value === null && problems.length === 1 && problems[0]!.reason !== '')
      if (rejected) assert.match(problems[0]!.field, /^spec/) // a field by name: nothing fell through
      taken[rejected ? 'no' : 'yes']++
      if (value === null) return
      const [workloads, services, destinationRules] = [[], [], []]
      compile({
        version: 1,
        rootNamespace: 'r',
        mesh: DEFAULT_MESH_SETTINGS,
        node: 'node-1',
        workloads,
        services,
        virtualServices: [value],
        destinationRules,
        peerAuthentications: [],
      })
    }),
    { numRuns: 500 },
  )
  assert.ok(taken.yes > 20 && taken.no > 20, JSON.stringify(taken))
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
