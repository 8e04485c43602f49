import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { requestMatch } from '../../../test/model/matches.ts'
import { explain, type Question } from './explain.ts'
import { documentOf, type Explanation, type Moment } from './explanation.ts'
import { seeded } from '../request.fixture.ts'
import { routeHttp } from '../route.ts'
import { flowMatch, hostOf, match, to, type World, world } from '../world.fixture.ts'
import { clientTls } from '../traffic-policy.fixture.ts'

const QUESTION: Question = {
  ...{ namespace: 'default', pod: 'front-1', host: 'reviews', port: null },
  ...{ method: 'GET', target: '/', headers: [], serverName: null, carriage: null },
}
const QUIET: Moment = { nowMs: 0, ejected: () => new Map(), isCapturedHere: (uid) => uid === 'uid-default-front-1' }

const shop = (): World =>
  world()
    .service('reviews')
    .pods('reviews-v1')
    .pods('reviews-v2', { captured: 'weft-agent-node-2', serviceAccount: 'reviews', node: 'node-2' })
    .pods('front', { behind: [] })
    .destinationRule({ name: 'versions', host: 'reviews', subsets: [{ name: 'v1' }, { name: 'v2' }] })

function asked(mesh: World, question: Partial<Question> = {}, moment: Moment = QUIET): Explanation {
  const snapshot = mesh.snapshot()
  return documentOf(snapshot, explain(snapshot, { ...QUESTION, ...question }), moment)
}

const forwardOf = ({ outcome }: Explanation) => {
  assert.equal(outcome.kind, 'forward', JSON.stringify(outcome))
  return outcome
}

test('each rule says why it does not decide, by the field of each entry of its match', () => {
  const jason = match({ headers: [{ name: 'end-user', match: { kind: 'exact', value: 'jason' } }] })
  const mesh = shop().virtualService({
    ...{ name: 'reviews', hosts: ['reviews'] },
    http: [
      {
        name: 'jason',
        matches: [jason, match({ method: { kind: 'exact', value: 'PUT' } })],
        destinations: [to('reviews', { subset: 'v2' })],
      },
      { name: 'all', destinations: [to('reviews', { subset: 'v1' })] },
      { name: 'never', destinations: [to('reviews')] },
    ],
  })
  const { rules, inForce } = asked(mesh)
  assert.equal(inForce, 'VirtualService default/reviews')
  assert.deepEqual(
    rules.map(({ field, verdict, failed }) => [field, verdict, failed.map((one) => one.field).join()]),
    [
      ['spec.http[0]', 'failed', 'match[0].headers.end-user,match[1].method'],
      ['spec.http[1]', 'decides', ''],
      ['spec.http[2]', 'behind', ''],
    ],
  )
  const own = asked(mesh, { headers: [['end-user', 'jason']] })
  assert.equal(own.rules[0]?.verdict, 'decides')
  assert.deepEqual(
    forwardOf(own).shares.map(({ destination }) => destination),
    ['reviews.default.svc.cluster.local:80 subset v2'],
  )
})

test('all destinations are told with their shares, endpoints, and how each is reached', () => {
  const destinations = [
    to('reviews', { subset: 'v1', weight: 3 }),
    to('reviews', { subset: 'v2', weight: 1 }),
    to('gone', { weight: 0 }),
  ]
  const mesh = shop().virtualService({ hosts: ['reviews'], http: [{ destinations, timeoutMs: 700 }] })
  const moment: Moment = {
    ...QUIET,
    ejected: () => new Map([['10.244.0.1:8080', 86_400_000]]),
  }
  const [first, second, gone] = forwardOf(asked(mesh, {}, moment)).shares
  assert.deepEqual([first?.percent, second?.percent, gone?.percent], [75, 25, 0])
  assert.deepEqual([first?.isKnown, gone?.isKnown], [true, false])
  assert.deepEqual([first?.rules, first?.balancer, first?.timeoutMs], [['default/versions'], 'LEAST_REQUEST', 700])
  assert.equal(first?.endpoints[0]?.state, 'ejected until 1970-01-02T00:00:00.000Z')
  assert.equal(second?.endpoints[0]?.link, 'by the mesh’s TLS, as spiffe://cluster.local/ns/default/sa/reviews')
  const near: Moment = { ...QUIET, isCapturedHere: () => true }
  assert.equal(forwardOf(asked(mesh, {}, near)).shares[1]?.endpoints[0]?.link, 'on this node')
})

test('what is asked is resolved as the pod would resolve it; what is not there is said in one sentence', () => {
  const mesh = shop().service('reviews', { namespace: 'other', ports: [{ port: 9080 }] })
  const stands = (question: Partial<Question>): string => asked(mesh, question).dialled.stands
  assert.equal(stands({ host: 'reviews' }), 'port 80 of Service default/reviews')
  assert.equal(stands({ host: 'Reviews.Other.' }), 'port 9080 of Service other/reviews')
  assert.equal(stands({ host: 'reviews.other.svc.cluster.local', port: 9080 }), 'port 9080 of Service other/reviews')
  assert.equal(
    stands({ host: '10.244.0.1', port: 8080 }),
    'pod default/reviews-v1-1, behind port 80 of Service default/reviews',
  )
  assert.equal(stands({ host: 'example.org' }), 'nothing that the mesh knows')
  assert.throws(
    () => stands({ host: 'reviews.other', port: 81 }),
    /^Error: reviews.other.svc.cluster.local has no port 81: it has 9080$/,
  )
  assert.throws(() => stands({ pod: 'nobody' }), /^Error: this node knows no pod default\/nobody$/)
})

test('a VirtualService that does not count is told with the reason', () => {
  const http = [{ destinations: [to('reviews')] }]
  const mesh = shop()
    .virtualService({ name: 'first', hosts: ['reviews'], http })
    .virtualService({ name: 'later', hosts: ['reviews'], http })
    .virtualService({
      name: 'hidden',
      namespace: 'other',
      hosts: ['reviews.default.svc.cluster.local'],
      http,
      exportTo: ['other'],
    })
  assert.deepEqual(asked(mesh).others, [
    { object: 'VirtualService default/later', why: 'another one comes before it' },
    { object: 'VirtualService other/hidden', why: 'it is not exported to default' },
  ])
})

test('an answer of the mesh’s own, no matching rule, and an endpoint that is not reached are told as such', () => {
  const answer = { kind: 'answer', status: 418, body: null } as const
  const direct = asked(shop().virtualService({ hosts: ['reviews'], http: [{ instead: answer }] }))
  assert.deepEqual([direct.outcome.kind, 'status' in direct.outcome && direct.outcome.status], ['answer', 418])
  const matches = [match({ uri: { kind: 'prefix', value: '/x' } })]
  const none = asked(shop().virtualService({ hosts: ['reviews'], http: [{ matches, destinations: [to('reviews')] }] }))
  assert.equal('code' in none.outcome && none.outcome.code, 'NO_ROUTE')
  const mutual = shop().destinationRule({ name: 'tls', host: 'reviews', policy: { tls: clientTls('ISTIO_MUTUAL') } })
  assert.match(forwardOf(asked(mutual)).shares[0]?.endpoints[0]?.link ?? '', /^not at all: .*no agent says/)
})

test('a connection that is carried as bytes goes by its own rules, told as they were looked at', () => {
  const line = {
    matches: [flowMatch({ port: 9000, sourceLabels: { app: 'batch' } })],
    destinations: [to('reviews', { subset: 'v2' })],
  }
  const tls = { matches: [flowMatch({ serverNames: ['a.example'] })], destinations: [to('reviews', { subset: 'v1' })] }
  const mesh = shop()
    .service('reviews', { ports: [{ port: 80 }, { port: 9000, protocol: 'opaque' }] })
    .pods('reviews-v1')
    .pods('reviews-v2')
    .virtualService({
      name: 'lines',
      hosts: ['reviews'],
      tls: [tls],
      tcp: [line, { matches: [], destinations: [to('reviews')] }],
    })
  const told = (question: Partial<Question>): string[] =>
    asked(mesh, { port: 9000, ...question }).rules.map(({ field, verdict, failed }) =>
      [field, verdict, ...failed.map((one) => one.field)].join(' '),
    )
  assert.deepEqual(told({}), [
    'spec.tls[0] failed match[0].sniHosts',
    'spec.tcp[0] failed match[0].sourceLabels',
    'spec.tcp[1] decides',
  ])
  assert.deepEqual(told({ serverName: 'A.example' }), [
    'spec.tls[0] decides',
    'spec.tcp[0] behind',
    'spec.tcp[1] behind',
  ])
  const bytes = asked(mesh, { port: 80, carriage: 'flows' })
  assert.equal(bytes.carriage, 'flows')
  assert.equal(forwardOf(bytes).shares[0]?.retries, null)
  const http = asked(mesh, { port: 80 })
  assert.deepEqual(http.others, [{ object: 'VirtualService default/lines', why: 'it has no rules for requests' }])
})

test('an endpoint of a headless Service goes by the rules of its Service, and stays where a rule names that', () => {
  const web = (): World =>
    shop()
      .service('web', { headless: true, ports: [{ port: 8080, protocol: 'http' }] })
      .pods('web', { count: 2 })
  const elsewhere = { kind: 'redirect', uri: '/new', prefix: null, authority: null, port: null, scheme: null } as const
  const old = [match({ uri: { kind: 'prefix', value: '/old' } })]
  const fault = { delay: null, abort: { percent: 50, status: 200, grpcStatus: 14 } }
  const mesh = web().virtualService({
    ...{ name: 'web', hosts: ['web'] },
    http: [
      { matches: old, instead: { ...elsewhere, code: 302 } },
      { fault, mirrors: [{ destination: to('reviews'), percent: 10 }], destinations: [to('web', { subset: 'any' })] },
    ],
  })
  const moved = asked(mesh, { host: 'web', target: '/old/a' })
  assert.equal(moved.inForce, 'VirtualService default/web')
  assert.deepEqual([moved.outcome.kind, 'status' in moved.outcome && moved.outcome.status], ['answer', 302])
  const kept = asked(mesh, { host: 'web-2.web', port: 8080 })
  assert.equal(kept.dialled.stands, 'pod default/web-2, behind port 8080 of Service default/web')
  assert.deepEqual(
    kept.rules.map(({ verdict }) => verdict),
    ['failed', 'decides'],
  )
  const { shares, mirrors, abort } = forwardOf(kept)
  assert.deepEqual(
    [shares[0]?.endpoints.map(({ pod }) => pod), mirrors.length, abort],
    [['default/web-2'], 1, fault.abort],
  )
  const halves = [to('web', { weight: 50 }), to('reviews', { weight: 50, port: 80 })]
  const split = web().virtualService({ hosts: ['web'], tcp: [{ matches: [], destinations: halves }] })
  assert.deepEqual(
    forwardOf(asked(split, { host: 'web', carriage: 'flows' })).shares.map(({ percent }) => percent),
    [50, 50],
  )
})

test('a name beyond the mesh goes by the rules for that host, at the port that is asked for', () => {
  const matches = [match({ port: 8443, headers: [{ name: 'host', match: { kind: 'prefix', value: 'api.' } }] })]
  const mesh = shop()
    .service('partner', { externalName: 'api.example', ports: [] })
    .service('again', { externalName: hostOf('reviews'), ports: [] })
    .virtualService({ name: 'out', hosts: ['api.example'], http: [{ matches, destinations: [to('reviews')] }] })
    .virtualService({ name: 'named', hosts: ['partner'], http: [{ destinations: [to('reviews')] }] })
  const out = asked(mesh, { host: 'api.example', port: 8443 })
  assert.deepEqual([out.inForce, out.rules[0]?.verdict], ['VirtualService default/out', 'decides'])
  assert.equal(forwardOf(out).shares[0]?.destination, 'reviews.default.svc.cluster.local:80')
  const missed = asked(mesh, { host: 'api.example', port: 8444 }).outcome
  assert.equal('code' in missed && missed.code, 'NO_ROUTE')
  assert.equal(asked(mesh, { host: 'partner' }).inForce, 'VirtualService default/named')
  assert.equal(asked(mesh, { host: 'again' }).dialled.stands, 'port 80 of Service default/reviews')
  const closed = shop().settings({ outboundTrafficPolicy: 'REGISTRY_ONLY' })
  const kept = asked(closed, { host: 'api.example' }).outcome
  assert.equal('code' in kept && kept.code, 'BLACK_HOLE')
})

test('an answer’s body is no part of the document, whatever is injected ahead of it is', () => {
  const answer = { kind: 'answer', status: 200, body: new Uint8Array(64) } as const
  const fault = { delay: { percent: 100, ms: 5 }, abort: null }
  const http = [{ instead: { kind: 'delegate', namespace: 'default', name: 'team' } as const, fault }]
  const { outcome } = asked(
    shop()
      .virtualService({ hosts: ['reviews'], http })
      .virtualService({ name: 'team', hosts: [], http: [{ instead: answer }] }),
  )
  assert.deepEqual(outcome, { kind: 'answer', how: 'answer', status: 200, fields: [], ...fault })
})

test('the rule that is said to decide is the one that does', () => {
  const rule = fc.tuple(fc.array(requestMatch, { maxLength: 2 }), fc.boolean())
  const mesh = shop()
  fc.assert(
    fc.property(
      fc.array(rule, { minLength: 1, maxLength: 5 }),
      fc.constantFrom('GET', 'PUT'),
      fc.constantFrom('a', 'B/', '/-?x-a=.'),
      (rules, method, target) => {
        const http = rules.map(([matches, isDelegate], index) => ({
          ...{ name: `rule-${index}`, matches, destinations: [to('reviews')] },
          instead: isDelegate ? ({ kind: 'delegate', namespace: 'default', name: 'team' } as const) : null,
        }))
        const all = shop()
          .virtualService({ name: 'root', hosts: ['reviews'], http })
          .virtualService({
            name: 'team',
            hosts: [],
            http: [
              {
                name: 'team',
                matches: [match({ method: { kind: 'exact', value: 'GET' } })],
                destinations: [to('reviews')],
              },
            ],
          })
        const snapshot = all.snapshot()
        const explained = explain(snapshot, { ...QUESTION, method, target })
        const { target: dialled } = explained.dialled
        assert.equal(dialled.kind, 'service')
        const asked = { request: explained.request, caller: mesh.pod('front-1') }
        const route = routeHttp(snapshot, dialled, asked, seeded(1))
        const deciding = explained.rules.find(({ verdict }) => verdict === 'decides')
        const rule = route.kind === 'forward' ? (route.by?.rule ?? null) : null // behind the name of the one that delegates
        assert.equal(deciding?.name ?? null, rule === null ? null : (rule.split(/-(?=team$)/)[1] ?? rule))
      },
    ),
    { numRuns: 400, seed: 5 },
  )
})
