import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { addressText } from './address.ts'
import type { HttpRule, RequestMatch } from './policy.ts'
import type { Balancer } from './traffic-policy.ts'
import { drawn, request, seeded } from './request.fixture.ts'
import { backendsFor } from './backends.ts'
import { type HttpRoute } from './http/route.ts'
import { keptFrom, routeHttp, routeTcp, virtualServiceFor } from './route.ts'
import { type Random } from './chance.ts'
import { resolve, type Snapshot } from './snapshot.ts'
import type { Workload } from './workload.ts'
import {
  dialled,
  type DestinationRuleWish,
  hostOf,
  match,
  ROOT_NAMESPACE,
  to,
  type World,
  world,
  balancingOf,
} from './world.fixture.ts'
import { clientTls } from './traffic-policy.fixture.ts'

type Forward = HttpRoute & { readonly kind: 'forward' }
interface Ask {
  readonly request?: Parameters<typeof request>[0]
  readonly caller?: Workload | null
  readonly random?: Random
}

function route(snapshot: Snapshot, { request: facts, caller = null, random = seeded(1) }: Ask = {}): HttpRoute {
  return routeHttp(snapshot, dialled(snapshot, 'reviews'), { request: request(facts), caller }, random)
}

function forwarded(snapshot: Snapshot, ask?: Ask): Forward {
  const found = route(snapshot, ask)
  assert.equal(found.kind, 'forward', JSON.stringify(found))
  return found
}

/** Reviews in three versions, one pod each, with a subset for each. */
function reviews(): World {
  const mesh = world().service('reviews').pods('reviews-v1').pods('reviews-v2').pods('reviews-v3')
  return mesh.destinationRule({ host: 'reviews', subsets: [{ name: 'v1' }, { name: 'v2' }, { name: 'v3' }] })
}

function ruled(...http: Partial<HttpRule>[]): Snapshot {
  return reviews()
    .virtualService({ name: 'reviews', hosts: ['reviews'], http })
    .snapshot()
}

const versionOf = ({ backends }: Forward): string | null => backends.subset
const v1 = to('reviews', { subset: 'v1' })
const v2 = to('reviews', { subset: 'v2' })

test('without a VirtualService a request goes to all endpoints of the service it was sent to', () => {
  const found = forwarded(reviews().snapshot())
  assert.equal(found.by, null)
  assert.equal(found.backends.endpoints.length, 3)
  assert.deepEqual([found.delayMs, found.target, found.authority, found.timeoutMs], [0, null, null, null])
})

test('the first rule that matches wins, in the file’s order', () => {
  const user = (value: string): RequestMatch =>
    match({ headers: [{ name: 'end-user', match: { kind: 'exact', value } }] })
  const snapshot = ruled(
    { name: 'jason', matches: [user('jason'), user('ann')], destinations: [v2], timeoutMs: 250 },
    { name: 'rest', destinations: [v1] },
    { name: 'never', destinations: [to('reviews', { subset: 'v3' })] },
  )
  const jason = forwarded(snapshot, { request: { headers: { 'End-User': 'ann' } } })
  assert.equal(versionOf(jason), 'v2')
  assert.equal(jason.by?.rule, 'jason')
  assert.deepEqual(jason.by?.object, { kind: 'VirtualService', namespace: 'default', name: 'reviews' })
  assert.equal(jason.timeoutMs, 250)
  assert.deepEqual(
    jason.backends.endpoints.map(({ workload }) => workload),
    ['uid-default-reviews-v2-1'],
  )
  assert.equal(versionOf(forwarded(snapshot)), 'v1')
})

test('a VirtualService none of whose rules match is no route, never plain balancing', () => {
  const snapshot = ruled({ matches: [match({ method: { kind: 'exact', value: 'PUT' } })], destinations: [v1] })
  const found = route(snapshot)
  assert.ok(found.kind === 'none' && found.code === 'NO_ROUTE')
  assert.match(found.why, /VirtualService default\/reviews/)
})

test('weights give each destination its share', () => {
  const shares: [number[], number[]][] = [
    [
      [80, 20],
      [0.8, 0.2],
    ],
    [
      [1, 2, 1],
      [0.25, 0.5, 0.25],
    ],
    [
      [0, 100],
      [0, 1],
    ],
    [
      [99, 1, 0],
      [0.99, 0.01, 0],
    ],
  ]
  const draws = 20_000
  for (const [weights, expected] of shares) {
    const destinations = weights.map((weight, index) => to('reviews', { subset: `v${index + 1}`, weight }))
    const snapshot = ruled({ destinations })
    const random = seeded(weights.length)
    const counts = new Map<string | null, number>()
    for (let i = 0; i < draws; i++) {
      const version = versionOf(forwarded(snapshot, { random }))
      counts.set(version, (counts.get(version) ?? 0) + 1)
    }
    expected.forEach((share, index) => {
      const spread = 3.29 * Math.sqrt(draws * share * (1 - share)) // 99.9 %
      const count = counts.get(`v${index + 1}`) ?? 0
      assert.ok(Math.abs(count - draws * share) <= spread, `${weights.join(':')} gave ${count} to v${index + 1}`)
    })
  }
})

test('whatever the draw, a weight of 0 never serves beside others, and some destination always does', () => {
  const weights = fc.array(fc.nat(1000), { minLength: 2, maxLength: 3 })
  const draw = fc.oneof(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), fc.constant(1 - 2 ** -53))
  fc.assert(
    fc.property(weights, draw, (given, number) => {
      fc.pre(given.some((weight) => weight > 0))
      const destinations = given.map((weight, index) => to('reviews', { subset: `v${index + 1}`, weight }))
      const version = versionOf(forwarded(ruled({ destinations }), { random: drawn(number) }))
      assert.ok(given[Number(version?.slice(1)) - 1]! > 0)
    }),
  )
})

test('a lone destination takes all, whatever its weight; several without any weight are no route', () => {
  assert.equal(versionOf(forwarded(ruled({ destinations: [v2] }))), 'v2')
  const found = route(ruled({ destinations: [v1, v2] }))
  assert.ok(found.kind === 'none' && found.code === 'NO_ROUTE')
  const empty = route(ruled({ destinations: [] }))
  assert.ok(empty.kind === 'none' && empty.code === 'NO_ROUTE')
})

test('faults strike the share of requests they name, each for itself', () => {
  const fault = { delay: { percent: 30, ms: 700 }, abort: { percent: 10, status: 503, grpcStatus: null } }
  const snapshot = ruled({ name: 'faulty', destinations: [v1], fault })
  const random = seeded(9)
  const draws = 20_000
  const counts = { delayed: 0, aborted: 0, both: 0 }
  for (let i = 0; i < draws; i++) {
    const found = route(snapshot, { random })
    assert.ok(found.kind !== 'none')
    if (found.delayMs > 0) counts.delayed++
    if (found.kind === 'abort') counts.aborted++
    if (found.kind === 'abort' && found.delayMs > 0) counts.both++
    if (found.kind === 'abort') assert.equal(found.status, 503)
    assert.ok(found.delayMs === 0 || found.delayMs === 700)
  }
  const near = (count: number, share: number): void => {
    assert.ok(Math.abs(count - draws * share) <= 3.29 * Math.sqrt(draws * share * (1 - share)), `${count} of ${share}`)
  }
  near(counts.delayed, 0.3)
  near(counts.aborted, 0.1)
  near(counts.both, 0.03)
})

test('a fault of 0 percent never strikes and one of 100 always does', () => {
  for (const number of [0, 0.5, 1 - 2 ** -53]) {
    const random = drawn(number)
    const abort = { percent: 100, status: 418, grpcStatus: null }
    const always = ruled({ destinations: [v1], fault: { delay: { percent: 100, ms: 5 }, abort } })
    assert.deepEqual(route(always, { random }), {
      kind: 'abort',
      by: { object: { kind: 'VirtualService', namespace: 'default', name: 'reviews' }, rule: '' },
      delayMs: 5,
      status: 418,
      grpcStatus: null,
      changes: { request: [], response: [] },
    })
    const never = { delay: { percent: 0, ms: 5 }, abort: { percent: 0, status: 500, grpcStatus: null } }
    assert.equal(forwarded(ruled({ destinations: [v1], fault: never }), { random }).delayMs, 0)
  }
})

test('a rewrite replaces the prefix that matched, else the whole path, and keeps the query', () => {
  const prefix = (value: string): RequestMatch => match({ uri: { kind: 'prefix', value } })
  const exact = match({ uri: { kind: 'exact', value: '/a/b' } })
  const regex = match({ uri: { kind: 'regex', value: '/a/.*' } })
  const method = match({ method: { kind: 'exact', value: 'GET' } })
  const table: [matches: RequestMatch[], uri: string | null, target: string, sent: string | null][] = [
    [[prefix('/a')], '/x', '/a/b', '/x/b'],
    [[prefix('/a/')], '/', '/a/b', '/b'],
    [[prefix('/a')], '/x', '/a', '/x'],
    [[prefix('/a')], '/x', '/a?q=1&r=%20', '/x?q=1&r=%20'],
    [[prefix('/a')], '/x', '/ab', '/xb'],
    [[exact], '/x', '/a/b', '/x'],
    [[exact], '/x', '/a/b?q=/a', '/x?q=/a'],
    [[regex], '/x', '/a/b/c?q', '/x?q'],
    [[match({ uri: { kind: 'present' } })], '/x/', '/a/b', '/x/a/b'],
    [[method], '/x/', '/a/b', '/x/a/b'], // no uri in the match: as the prefix `/`
    [[], '/x/', '/a/b?q', '/x/a/b?q'],
    [[match({ uri: { kind: 'prefix', value: '/A' }, ignoreUriCase: true })], '/x', '/a/b', '/x/b'],
    [[prefix('/other'), prefix('/a/b')], '/x', '/a/b/c', '/x/c'], // the entry that matched counts
    [[prefix('/a'), prefix('/a/b')], '/x', '/a/b/c', '/x/b/c'], // of several that match, the first
    [[prefix('/a')], null, '/a/b', null],
  ]
  for (const [matches, uri, target, sent] of table) {
    const snapshot = ruled({ matches, destinations: [v1], rewrite: { uri, authority: 'other.example', regex: null } })
    const found = forwarded(snapshot, { request: { target } })
    assert.equal(found.target, sent, JSON.stringify([matches[0]?.uri, uri, target]))
    assert.equal(found.authority, 'other.example')
  }
})

test('a rewrite of the uri alone keeps the authority, and no rewrite keeps both', () => {
  const uri = forwarded(ruled({ destinations: [v1], rewrite: { uri: '/x', authority: null, regex: null } }))
  assert.deepEqual([uri.target, uri.authority], ['/x', null])
  const none = forwarded(ruled({ destinations: [v1] }), { request: { target: '/a?b' } })
  assert.deepEqual([none.target, none.authority], [null, null])
})

test('a prefix rewritten and the rest are the whole of what is sent', () => {
  const path = fc.stringMatching(/^(\/[a-z]{0,3}){1,3}$/)
  const query = fc.constantFrom('', '?', '?a=b', '?/a')
  fc.assert(
    fc.property(path, path, fc.stringMatching(/^[a-z/]{0,4}$/), query, (prefix, uri, rest, tail) => {
      const matches = [match({ uri: { kind: 'prefix', value: prefix } })]
      const snapshot = ruled({ matches, destinations: [v1], rewrite: { uri, authority: null, regex: null } })
      assert.equal(forwarded(snapshot, { request: { target: prefix + rest + tail } }).target, uri + rest + tail)
    }),
  )
})

test('what a rewrite makes is a path, and what is no path is not rewritten', () => {
  const sent = (rewrite: { uri?: string; regex?: { match: string; by: string } }, target: string): string | null => {
    const whole = { uri: null, authority: null, regex: null, ...rewrite }
    return forwarded(ruled({ destinations: [v1], rewrite: whole }), { request: { target } }).target
  }
  const behind = { regex: { match: '^/proxy/(.*)$', by: '\\1' } }
  assert.equal(sent(behind, '/proxy/http://other.example/?q'), '/http://other.example/?q')
  assert.equal(sent({ regex: { match: '^/a$', by: '' } }, '/a'), '/')
  assert.equal(sent({ uri: 'x' }, '/a'), '/xa')
  assert.equal(sent({ uri: '/x' }, '*'), null)
  assert.equal(sent(behind, 'other.example:443'), null)
})

/** A service of namespace `shop`, called from `front`, with a VirtualService in each namespace named. */
function claimed(
  ...namespaces: readonly (string | { namespace: string; createdMs: number; name: string })[]
): Snapshot {
  const mesh = world().service('reviews', { namespace: 'shop' }).pods('reviews-v1', { namespace: 'shop' })
  for (const given of namespaces) {
    const claim = typeof given === 'string' ? { namespace: given, name: given } : given
    const http = [{ name: claim.name, destinations: [to(hostOf('reviews', 'shop'))] }]
    mesh.virtualService({ ...claim, hosts: [hostOf('reviews', 'shop')], http })
  }
  return mesh.snapshot()
}

const claimant = (snapshot: Snapshot, consumer = 'front'): string | undefined =>
  virtualServiceFor(snapshot, dialled(snapshot, 'reviews', 80, 'shop'), consumer)?.source.ref.name

test('of several VirtualServices the consumer’s namespace wins, then the service’s, then the root, then any', () => {
  assert.equal(claimant(claimed('other', ROOT_NAMESPACE, 'shop', 'front')), 'front')
  assert.equal(claimant(claimed('other', ROOT_NAMESPACE, 'shop')), 'shop')
  assert.equal(claimant(claimed('other', ROOT_NAMESPACE)), ROOT_NAMESPACE)
  assert.equal(claimant(claimed('other')), 'other')
  assert.equal(claimant(claimed()), undefined)
})

test('of one namespace the oldest wins, and of one age the first by name, in whatever order they came', () => {
  const [old, young] = [
    { namespace: 'shop', createdMs: 1, name: 'z' },
    { namespace: 'shop', createdMs: 2, name: 'a' },
  ]
  assert.equal(claimant(claimed(young, old)), 'z')
  assert.equal(claimant(claimed(old, young)), 'z')
  const same = { namespace: 'shop', createdMs: 2, name: 'b' }
  assert.equal(claimant(claimed(same, young)), 'a')
  assert.equal(claimant(claimed(young, same)), 'a')
})

/** A mesh with one VirtualService a namespace over hosts of `reviews.shop`, seen from `front`. */
function hosted(...wishes: { namespace: string; host: string; exportTo?: string[] }[]): string | undefined {
  const mesh = world().service('reviews', { namespace: 'shop' })
  for (const { namespace, host, exportTo = ['*'] } of wishes) {
    const http = [{ destinations: [to(hostOf('reviews', 'shop'))] }]
    mesh.virtualService({ name: namespace, namespace, hosts: [host], exportTo, http })
  }
  return claimant(mesh.snapshot())
}

test('a VirtualService is seen only where it is exported to', () => {
  const host = hostOf('reviews', 'shop')
  assert.equal(hosted({ namespace: 'shop', host, exportTo: ['shop'] }), undefined)
  assert.equal(hosted({ namespace: 'shop', host, exportTo: [] }), undefined)
  assert.equal(hosted({ namespace: 'shop', host, exportTo: ['other', 'front'] }), 'shop')
  assert.equal(hosted({ namespace: 'shop', host, exportTo: ['shop'] }, { namespace: 'other', host }), 'other')
})

test('a host by name is before a wildcard, a longer wildcard before a shorter', () => {
  const exact = { namespace: ROOT_NAMESPACE, host: hostOf('reviews', 'shop') }
  const long = { namespace: 'shop', host: '*.shop.svc.cluster.local' }
  const all = { namespace: 'front', host: '*' }
  assert.equal(hosted(all, long, exact), ROOT_NAMESPACE)
  assert.equal(hosted(all, long), 'shop')
  assert.equal(hosted(all), 'front')
  assert.equal(hosted({ namespace: 'front', host: '*.jobs.svc.cluster.local' }), undefined)
  assert.equal(hosted({ namespace: 'front', host: '*.reviews.shop.svc.cluster.local' }), undefined)
})

test('a rule that the consumer may not see does not hide a wildcard that it may', () => {
  const hidden = { namespace: 'shop', host: hostOf('reviews', 'shop'), exportTo: ['shop'] }
  assert.equal(hosted(hidden, { namespace: 'front', host: '*.shop.svc.cluster.local' }), 'front')
})

test('a caller who is not proved sees what the service’s own namespace sees', () => {
  const mesh = world().service('reviews').pods('reviews-v1').pods('web-v1', { namespace: 'front' })
  const http = [{ destinations: [to('reviews')], timeoutMs: 1 }]
  mesh.virtualService({ hosts: ['reviews'], exportTo: ['default'], http })
  assert.equal(forwarded(mesh.snapshot()).timeoutMs, 1)
  assert.equal(forwarded(mesh.snapshot(), { caller: mesh.pod('web-v1-1', 'front') }).by, null)
})

const fromDefault = { consumer: 'default', caller: null, dialledPort: 80, family: 4, external: false } as const
const at = (host: string, subset: string | null = null, port: number | null = null) => ({
  host: hostOf(host),
  subset,
  port,
})

test('a destination whose host, subset or port is not known has no backends', () => {
  const mesh = reviews().service('two', { ports: [{ port: 81 }, { port: 82 }] })
  const snapshot = mesh.snapshot()
  assert.equal(backendsFor(snapshot, at('nowhere'), fromDefault), null)
  assert.equal(backendsFor(snapshot, at('reviews', 'v9'), fromDefault), null)
  assert.equal(backendsFor(snapshot, at('reviews', null, 81), fromDefault), null)
  assert.equal(backendsFor(snapshot, at('two'), fromDefault), null) // 80 was dialled, and it has two others
  assert.equal(backendsFor(snapshot, at('two', null, 82), fromDefault)?.port, 82)
  for (const destination of [to('nowhere'), to('reviews', { subset: 'v9' }), to('reviews', { port: 81 })]) {
    const found = route(ruled({ destinations: [destination] }))
    assert.ok(found.kind === 'none' && found.code === 'NO_CLUSTER')
    assert.ok(found.why.includes(destination.host), found.why)
  }
})

test('a destination without a port means the dialled one, and the only one where there is just one', () => {
  const mesh = reviews().service('single', { ports: [{ port: 9080 }] })
  const snapshot = mesh.service('both', { ports: [{ port: 80 }, { port: 81 }] }).snapshot()
  assert.equal(backendsFor(snapshot, at('single'), fromDefault)?.port, 9080)
  assert.equal(backendsFor(snapshot, at('both'), fromDefault)?.port, 80)
  assert.equal(backendsFor(snapshot, at('both'), { ...fromDefault, dialledPort: 81 })?.port, 81)
})

const DUAL = { addresses: ['10.96.9.9', 'fd00::9'] }

test('a service is served by endpoints of the family that it was dialled by, and by no others', () => {
  const mesh = world()
    .service('reviews', DUAL)
    .pods('reviews-v1', { ips: ['10.244.9.1', 'fd00:1::1'] })
    .pods('reviews-v2', { ips: ['fd00:1::2'] })
    .destinationRule({ host: 'reviews', subsets: [{ name: 'v2' }] })
    .virtualService({
      hosts: ['reviews'],
      http: [
        {
          matches: [match({ uri: { kind: 'prefix', value: '/v2' } })],
          destinations: [to('reviews', { subset: 'v2' })],
        },
        { destinations: [to('reviews')] },
      ],
    })
  const snapshot = mesh.snapshot()
  const reached = (ip: string, target = '/'): string[] => {
    const dialled = resolve(snapshot, { ip, port: 80 })
    assert.ok(dialled.kind === 'service')
    const found = routeHttp(snapshot, dialled, { request: request({ target }), caller: null }, Math.random)
    assert.ok(found.kind === 'forward')
    const plain = routeTcp(snapshot, dialled, { consumer: 'default', caller: null })
    if (target === '/') assert.deepEqual(plain.endpoints, found.backends.endpoints)
    return found.backends.endpoints.map(({ address }) => address.ip)
  }
  assert.deepEqual(reached('10.96.9.9'), ['10.244.9.1'])
  assert.deepEqual(reached('fd00::9'), ['fd00:1::1', 'fd00:1::2'])
  assert.deepEqual(reached('10.96.9.9', '/v2'), [])
  assert.deepEqual(reached('fd00::9', '/v2'), ['fd00:1::2'])
})

test('each family has a turn of its own, and endpoints that end serve where none of their family is ready', () => {
  const ending = { ready: false, serving: true, terminating: true }
  const mesh = world().service('reviews', DUAL)
  const snapshot = mesh
    .pods('reviews-v1', { ips: ['10.244.9.1', 'fd00:1::1'], ...ending })
    .pods('reviews-v2', { ips: ['10.244.9.2'] })
    .snapshot()
  const [v4, v6] = ([4, 6] as const).map((family) => backendsFor(snapshot, at('reviews'), { ...fromDefault, family })!)
  assert.notEqual(v4?.key, v6?.key)
  assert.deepEqual(
    [v4, v6].map((found) => found?.endpoints.map(({ address }) => address.ip)),
    [['10.244.9.2'], ['fd00:1::1']],
  )
})

test('a subset takes the endpoints whose pods carry all of its labels', () => {
  const mesh = world()
    .service('reviews')
    .pods('reviews-v1', { count: 2 })
    .pods('reviews-v2', { labels: { app: 'reviews', version: 'v2', track: 'canary' } })
    .external('reviews', { ip: '192.0.2.1', port: 80 })
    .destinationRule({
      host: 'reviews',
      subsets: [
        { name: 'v1' },
        { name: 'canary', labels: { version: 'v2', track: 'canary' } },
        { name: 'all', labels: {} },
      ],
    })
  const snapshot = mesh.snapshot()
  const count = (subset: string): number | undefined =>
    backendsFor(snapshot, at('reviews', subset), fromDefault)?.endpoints.length
  assert.deepEqual([count('v1'), count('canary'), count('all')], [2, 1, 4])
})

test('ready endpoints serve; where there is none, those that end but still serve; else nobody', () => {
  const ready = { ready: true, serving: true }
  const ending = { ready: false, serving: true, terminating: true }
  const gone = { ready: false, serving: false, terminating: true }
  const starting = { ready: false, serving: false }
  const serving = (publishNotReady: boolean, ...states: (typeof ready | typeof ending)[]): number[] => {
    const mesh = world().service('reviews', { publishNotReady })
    states.forEach((state, index) => mesh.pods(`pod${index}`, { ...state, behind: ['reviews'] }))
    const endpoints = backendsFor(mesh.snapshot(), at('reviews'), fromDefault)!.endpoints
    return endpoints.map(({ workload }) => Number(/pod(\d)/.exec(workload ?? '')?.[1]))
  }
  assert.deepEqual(serving(false, starting, ready, ending, ready), [1, 3])
  assert.deepEqual(serving(false, starting, ending, gone, ending), [1, 3])
  assert.deepEqual(serving(false, ending, ready), [1])
  assert.deepEqual(serving(false, starting, gone, { ready: false, serving: true }), [])
  assert.deepEqual(serving(true, starting, ready), [0, 1])
})

test('a subset with no endpoint of its own has none, whoever else is ready', () => {
  const mesh = reviews().destinationRule({ host: 'reviews', subsets: [{ name: 'v4' }] })
  assert.deepEqual(backendsFor(mesh.snapshot(), at('reviews', 'v4'), fromDefault)?.endpoints, [])
})

function balancerWith(add: (mesh: World) => World, where: { subset?: string; consumer?: string } = {}): Balancer {
  const mesh = add(world().service('reviews', { namespace: 'shop' }))
  const { subset = null, consumer = 'front' } = where
  const destination = { host: hostOf('reviews', 'shop'), subset, port: null }
  return backendsFor(mesh.snapshot(), destination, { ...fromDefault, consumer })!.policy.balancing.simple
}

const host = hostOf('reviews', 'shop')
const namespace = 'shop'

test('a balancer is the subset’s before the rule’s and the port’s before the top level’s, else least request', () => {
  const policy = { simple: 'RANDOM', ports: [] } as const
  const byPort = { simple: 'RANDOM', ports: [{ port: 80, simple: 'ROUND_ROBIN' }] } as const
  const otherPort = { simple: 'RANDOM', ports: [{ port: 81, simple: 'ROUND_ROBIN' }] } as const
  const v1 = (own: typeof policy | typeof byPort | null) => [{ name: 'v1', policy: own }]
  const table: [Parameters<World['destinationRule']>[0] | null, string | null, Balancer][] = [
    [null, null, 'LEAST_REQUEST'],
    [{ host, namespace }, null, 'LEAST_REQUEST'],
    [{ host, namespace, policy }, null, 'RANDOM'],
    [{ host, namespace, policy: byPort }, null, 'ROUND_ROBIN'],
    [{ host, namespace, policy: otherPort }, null, 'RANDOM'],
    [{ host, namespace, policy: byPort, subsets: v1(null) }, 'v1', 'ROUND_ROBIN'],
    [{ host, namespace, policy: byPort, subsets: v1(policy) }, 'v1', 'RANDOM'],
    [{ host, namespace, policy, subsets: v1(byPort) }, 'v1', 'ROUND_ROBIN'],
    [{ host, namespace, subsets: v1(byPort) }, null, 'LEAST_REQUEST'], // the subset’s is not the service’s
  ]
  for (const [wish, subset, expected] of table) {
    const found = balancerWith((mesh) => (wish ? mesh.destinationRule(wish) : mesh), { subset: subset ?? undefined! })
    assert.equal(found, expected, JSON.stringify([wish, subset]))
  }
})

test('TLS is the subset’s before the rule’s and the port’s before the top level’s, else nothing', () => {
  const tls = clientTls
  const simple = { tls: tls('SIMPLE') }
  const table: [wish: Partial<DestinationRuleWish>, subset: string | null, mode: string | undefined][] = [
    [{}, null, undefined],
    [{ policy: simple }, null, 'SIMPLE'],
    [{ policy: { ...simple, ports: [{ port: 80, tls: tls('DISABLE') }] } }, null, 'DISABLE'],
    [{ policy: { ...simple, ports: [{ port: 80 }] } }, null, undefined],
    [{ policy: { ...simple, ports: [{ port: 81, tls: tls('DISABLE') }] } }, null, 'SIMPLE'],
    [{ policy: simple, subsets: [{ name: 'v1', policy: { tls: tls('ISTIO_MUTUAL') } }] }, 'v1', 'ISTIO_MUTUAL'],
    [{ policy: simple, subsets: [{ name: 'v1', policy: { simple: 'RANDOM' } }] }, 'v1', 'SIMPLE'],
    [{ policy: simple, subsets: [{ name: 'v1' }] }, null, 'SIMPLE'],
  ]
  for (const [wish, subset, mode] of table) {
    const mesh = world()
      .service('app')
      .pods('app-v1')
      .destinationRule({ host: 'app', ...wish })
    const destination = { host: hostOf('app'), subset, port: null }
    assert.equal(backendsFor(mesh.snapshot(), destination, fromDefault)?.policy.tls?.mode, mode, JSON.stringify(wish))
  }
})

test('a port’s own settings without a balancer mean the default, not what stands above them', () => {
  const policy = { simple: 'RANDOM', ports: [{ port: 80, balancing: null }] } as const
  assert.equal(
    balancerWith((mesh) => mesh.destinationRule({ host, namespace, policy })),
    'LEAST_REQUEST',
  )
})

test('a DestinationRule is looked for with the consumer, then the service, then in the root, and nowhere else', () => {
  const of = (simple: Balancer) => ({ simple, ports: [] })
  const front = { host, namespace: 'front', policy: of('ROUND_ROBIN') }
  const shop = { host, namespace: 'shop', policy: of('RANDOM') }
  const root = { host, namespace: ROOT_NAMESPACE, policy: of('ROUND_ROBIN') }
  const other = { host, namespace: 'other', policy: of('RANDOM') }
  const chosen = (...rules: Parameters<World['destinationRule']>[0][]): Balancer =>
    balancerWith((mesh) => rules.reduce((so, rule) => so.destinationRule(rule), mesh))
  assert.equal(chosen(shop, front), 'ROUND_ROBIN')
  assert.equal(chosen(root, shop), 'RANDOM')
  assert.equal(chosen(root), 'ROUND_ROBIN')
  assert.equal(chosen(other), 'LEAST_REQUEST')
  assert.equal(chosen(root, { ...shop, exportTo: ['shop'] }), 'ROUND_ROBIN')
  const wild = { ...front, host: '*.svc.cluster.local' }
  assert.equal(chosen(shop, wild), 'ROUND_ROBIN') // the consumer’s, though its host is less exact
  assert.equal(chosen(wild, { ...front, policy: of('RANDOM') }), 'RANDOM') // within a namespace the exact one
})

test('DestinationRules of one host in one namespace are one: all their subsets, the oldest one’s policy', () => {
  const mesh = world().service('reviews').pods('reviews-v1').pods('reviews-v2')
  mesh.destinationRule({ host: 'reviews', subsets: [{ name: 'v1' }] })
  mesh.destinationRule({ host: 'reviews', subsets: [{ name: 'v2' }], policy: { simple: 'RANDOM', ports: [] } })
  mesh.destinationRule({ host: 'reviews', policy: { simple: 'ROUND_ROBIN', ports: [] } })
  const snapshot = mesh.snapshot()
  for (const version of ['v1', 'v2']) {
    const found = backendsFor(snapshot, at('reviews', version), fromDefault)
    assert.deepEqual([found?.endpoints.length, found?.policy.balancing.simple], [1, 'RANDOM'], version)
  }
})

test('backends are named alike across snapshots, and differently for each host, subset and port', () => {
  const names = (version: number): string[] => {
    const snapshot = reviews()
      .service('two', { ports: [{ port: 80 }, { port: 81 }] })
      .snapshot(version)
    const wanted = [at('reviews'), at('reviews', 'v1'), at('two', null, 80), at('two', null, 81)]
    return wanted.map((destination) => backendsFor(snapshot, destination, fromDefault)!.key)
  }
  assert.deepEqual(names(1), names(2))
  assert.equal(new Set(names(1)).size, 4)
})

test('backends and VirtualServices are worked out once a snapshot', () => {
  const snapshot = ruled({ destinations: [v1] })
  assert.equal(forwarded(snapshot).backends, forwarded(snapshot).backends)
  const before = snapshot.memo.size
  for (let i = 0; i < 50; i++) route(snapshot)
  assert.equal(snapshot.memo.size, before)
})

test('a dialled pod or an address that belongs to nothing is reached as it was dialled', () => {
  const mesh = reviews()
  const snapshot = mesh.snapshot()
  const pod = mesh.pod('reviews-v1-1')
  for (const [address, uid] of [
    [{ ip: pod.ips[0]!, port: 5000 }, pod.uid],
    [{ ip: '203.0.113.5', port: 443 }, null],
  ] as const) {
    const {
      endpoints,
      port,
      host: name,
    } = routeTcp(snapshot, resolve(snapshot, address), { consumer: 'default', caller: null })
    assert.deepEqual(
      endpoints.map((endpoint) => [addressText(endpoint.address), endpoint.workload]),
      [[addressText(address), uid]],
    )
    assert.deepEqual([port, name], [address.port, address.ip])
  }
})

test('under internalTrafficPolicy Local only endpoints of the own node serve, and none is no endpoint', () => {
  const of = (node: string) =>
    world().service('app', { localOnly: true }).pods('app-v1', { node }).pods('app-v2', { node: 'node-2' }).snapshot()
  const near = of('node-1')
  assert.deepEqual(
    routeTcp(near, dialled(near, 'app'), { consumer: 'default', caller: null }).endpoints.map(({ node }) => node),
    ['node-1'],
  )
  const far = of('node-2')
  assert.deepEqual(routeTcp(far, dialled(far, 'app'), { consumer: 'default', caller: null }).endpoints, [])
})

test('a Service’s affinity holds where no policy names a balancer or a subset', () => {
  const built = (balancer: 'RANDOM' | null) =>
    world()
      .service('app', { affinitySeconds: 60 })
      .pods('app-v1')
      .destinationRule({
        host: 'app',
        policy: { ...balancingOf(balancer ?? undefined), ports: [] },
        subsets: [{ name: 'v1' }],
      })
      .snapshot()
  const [plain, ruled] = [built(null), built('RANDOM')]
  assert.equal(routeTcp(plain, dialled(plain, 'app'), { consumer: 'default', caller: null }).affinitySeconds, 60)
  assert.equal(routeTcp(ruled, dialled(ruled, 'app'), { consumer: 'default', caller: null }).affinitySeconds, null)
  const at = { consumer: 'default', caller: null, dialledPort: 80, family: 4, external: false } as const
  const subset = { host: 'app.default.svc.cluster.local', subset: 'v1', port: null }
  assert.equal(backendsFor(plain, subset, at)?.affinitySeconds, null)
})

test('under REGISTRY_ONLY a caller is kept from what is no Service, no endpoint of one and no pod, and by default from nothing', () => {
  const mesh = (): World =>
    world().service('app').pods('app-v1').external('app', { ip: '192.0.2.1', port: 443 }).pods('bare', { behind: [] })
  const dialled = [
    { ip: '10.96.0.1', port: 80 },
    { ip: '192.0.2.1', port: 443 },
    { ip: '10.244.0.1', port: 1 },
    { ip: '10.244.0.2', port: 8080 },
    { ip: '192.0.2.1', port: 80 },
    { ip: '10.96.0.1', port: 81 },
    { ip: '2001:db8::1', port: 80 },
  ]
  const keptBy = (snapshot: Snapshot): (string | undefined)[] =>
    dialled.map((address) => keptFrom(snapshot, address, 'BLACK_HOLE')?.message)
  assert.deepEqual(
    keptBy(mesh().snapshot()),
    dialled.map(() => undefined),
  )
  const kept = (name: string): string => `nothing in the mesh stands for ${name}`
  assert.deepEqual(keptBy(mesh().settings({ outboundTrafficPolicy: 'REGISTRY_ONLY' }).snapshot()), [
    ...[undefined, undefined, undefined, undefined],
    ...[kept('192.0.2.1:80'), kept('10.96.0.1:81'), kept('[2001:db8::1]:80')],
  ])
})

test('a DestinationRule that selects callers speaks to those of its namespace alone, ahead of one that does not', () => {
  const mesh = world()
    .service('reviews', { namespace: 'shop' })
    .pods('front', { namespace: 'client', labels: { app: 'front' }, behind: [] })
    .pods('batch', { namespace: 'client', labels: { app: 'batch' }, behind: [] })
    .pods('front', { namespace: 'other', labels: { app: 'front' }, behind: [] })
    .destinationRule({ host, namespace: 'client', policy: { simple: 'ROUND_ROBIN' } })
    .destinationRule({ host, namespace: 'client', policy: { simple: 'RANDOM' }, callers: { app: 'front' } })
    .destinationRule({ host, namespace: 'shop', policy: { simple: 'PASSTHROUGH' } })
  const snapshot = mesh.snapshot()
  const of = (name: string, space: string): string => {
    const caller = mesh.pod(name, space)
    return routeTcp(snapshot, dialled(snapshot, 'reviews', 80, 'shop'), { consumer: space, caller }).policy.balancing
      .simple
  }
  for (let i = 0; i < 2; i++) {
    assert.equal(of('front-1', 'client'), 'RANDOM') // also once the other one has been worked out
    assert.equal(of('batch-1', 'client'), 'ROUND_ROBIN')
    assert.equal(of('front-1', 'other'), 'PASSTHROUGH')
  }
})

test('a rule that selects all callers of its namespace is not for who is not known, whoever asks first', () => {
  const mesh = world()
    .service('reviews')
    .pods('reviews')
    .destinationRule({ host: 'reviews', policy: { simple: 'RANDOM' }, callers: {} })
  const [target, caller] = [dialled(mesh.snapshot(), 'reviews'), mesh.pod('reviews-1')]
  const askedBy = (...all: (typeof caller | null)[]): string[] => {
    const snapshot = mesh.snapshot()
    return all.map((one) => routeTcp(snapshot, target, { consumer: 'default', caller: one }).policy.balancing.simple)
  }
  assert.deepEqual(askedBy(null, caller), ['LEAST_REQUEST', 'RANDOM'])
  assert.deepEqual(askedBy(caller, null), ['RANDOM', 'LEAST_REQUEST'])
})
