import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type FlowFacts, flowTest, serverNameOf } from './flow-match.ts'
import { type FlowRoute, looksAtServerName, routeFlow } from './flow-route.ts'
import type { FlowMatch, FlowRule } from './policy.ts'
import { drawn } from './request.fixture.ts'
import { resolve } from './snapshot.ts'
import type { Workload } from './workload.ts'
import { dialled, flowMatch, hostOf, to, type VirtualServiceWish, type World, world } from './world.fixture.ts'

// --- matches

const callers = world().pods('web-v1', { namespace: 'shop' }).pods('batch-v2', { namespace: 'jobs' })
const [web, batch] = [callers.pod('web-v1-1', 'shop'), callers.pod('batch-v2-1', 'jobs')]

// Few addresses and names, so that what matches is frequent.
const ip = fc.constantFrom('10.0.0.1', '10.0.0.200', '10.1.0.1', '127.0.0.1', 'fd00::1', 'fd00:0:0:1::1', '::1')
const cidr = fc.constantFrom(
  ...['10.0.0.0/8', '10.0.0.0/24', '10.0.0.1', '10.0.0.128/25', '0.0.0.0/0', '10.1.0.0/15'],
  ...['fd00::/16', 'fd00::/64', '::/0', 'fd00::1/128', 'fd00::/63'],
)
const pattern = fc.constantFrom('a.example', 'b.a.example', '*.example', '*.a.example', '*', 'example')
const name = fc.constantFrom<(string | null)[]>('a.example', 'b.a.example', 'c.b.a.example', 'example', 'other', null)
// most of a match is left out, or next to none would hold
const rarely = <T>(of: fc.Arbitrary<T>, otherwise: T): fc.Arbitrary<T> =>
  fc.oneof({ weight: 2, arbitrary: fc.constant(otherwise) }, { weight: 1, arbitrary: of })

const anyMatch: fc.Arbitrary<FlowMatch> = fc.record({
  serverNames: rarely(fc.array(pattern, { maxLength: 2 }), null as readonly string[] | null),
  destinationSubnets: rarely(fc.array(cidr, { maxLength: 2 }), []),
  sourceSubnets: rarely(fc.array(cidr, { maxLength: 2 }), []),
  port: rarely(fc.constantFrom(80, 443), null as number | null),
  sourceLabels: fc.constantFrom<Readonly<Record<string, string>>[]>(
    {},
    {},
    { app: 'web' },
    { app: 'web', version: 'v2' },
  ),
  sourceNamespace: rarely(fc.constantFrom('shop', 'jobs'), null as string | null),
})

const address = fc.record({ ip, port: fc.constantFrom(80, 443) })
const anyFlow: fc.Arbitrary<FlowFacts> = fc.record({
  caller: fc.constantFrom<(Workload | null)[]>(web, batch, null),
  dialled: address,
  peer: address,
  serverName: name,
})

function bitsOf(text: string): string {
  if (!text.includes(':'))
    return text
      .split('.')
      .map((part) => Number(part).toString(2).padStart(8, '0'))
      .join('')
  const [left = [], right = []] = text.split('::').map((part) => part.split(':').filter((word) => word !== ''))
  const words = [
    ...left,
    ...Array<string>(text.includes('::') ? 8 - left.length - right.length : 0).fill('0'),
    ...right,
  ]
  return words.map((word) => Number.parseInt(word, 16).toString(2).padStart(16, '0')).join('')
}

function within(ip: string, cidr: string): boolean {
  const [network = '', length] = cidr.split('/')
  const [own, other] = [bitsOf(ip), bitsOf(network)]
  return (
    own.length === other.length &&
    own.slice(0, Number(length ?? own.length)) === other.slice(0, Number(length ?? own.length))
  )
}

function named(name: string | null, pattern: string): boolean {
  if (name === null) return false
  if (!pattern.startsWith('*')) return name === pattern
  const suffix = pattern.slice(1)
  return name.length > suffix.length && name.slice(name.length - suffix.length) === suffix
}

/** The documented meaning, said without a thought for speed. */
function referenceMatch(match: FlowMatch, { caller, dialled, peer, serverName }: FlowFacts): boolean {
  if (match.port !== null && dialled.port !== match.port) return false
  if (match.sourceNamespace !== null && caller?.namespace !== match.sourceNamespace) return false
  for (const [label, value] of Object.entries(match.sourceLabels)) if (caller?.labels[label] !== value) return false
  if (match.serverNames?.some((pattern) => named(serverName, pattern)) === false) return false
  const { destinationSubnets: to, sourceSubnets: from } = match
  if (to.length > 0 && !to.some((cidr) => within(dialled.ip, cidr))) return false
  return from.length === 0 || from.some((cidr) => within(peer.ip, cidr))
}

test('a match is the conjunction of what it gives, as documented', () => {
  let held = 0
  fc.assert(
    fc.property(anyMatch, anyFlow, (match, flow) => {
      const expected = referenceMatch(match, flow)
      if (expected) held++
      assert.equal(flowTest(match)(flow), expected)
    }),
    { numRuns: 5000, seed: 11 },
  )
  assert.ok(held > 500 && held < 4500, `${held} of the cases matched: the property says little`)
})

test('networks end where they end', () => {
  const table: [cidr: string, ip: string, isIn: boolean][] = [
    ['10.0.0.0/25', '10.0.0.127', true],
    ['10.0.0.0/25', '10.0.0.128', false],
    ['10.0.0.77/25', '10.0.0.1', true],
    ['10.0.0.1', '10.0.0.2', false],
    ['0.0.0.0/0', 'fd00::1', false],
    ['::/0', 'fd00::1', true],
    ['::ffff:10.0.0.0/104', '10.9.9.9', true],
    ['fd00::/17', 'fd00:7fff::', true],
    ['fd00::/17', 'fd00:8000::', false],
    ['fd00::/33', 'fd00:0:8000::', false],
  ]
  for (const [cidr, ip, isIn] of table) {
    const flow = { caller: null, dialled: { ip, port: 1 }, peer: { ip: '10.0.0.1', port: 1 }, serverName: null }
    assert.equal(flowTest(flowMatch({ destinationSubnets: [cidr] }))(flow), isIn, `${ip} in ${cidr}`)
  }
})

test('a malformed network is told when it is compiled, and not when a connection comes', () => {
  for (const bad of ['10.0.0.0/33', 'all', '', '10.0.0/8', 'fd00::/129']) {
    assert.throws(() => flowTest(flowMatch({ sourceSubnets: [bad] })), /is no CIDR/)
    assert.throws(() => flowTest(flowMatch({ destinationSubnets: [bad] })), /is no CIDR/)
  }
})

test('a server name is one host name in lower case, or none', () => {
  assert.equal(serverNameOf('API.Example.COM.'), 'api.example.com')
  assert.equal(serverNameOf('_srv.a-b.c'), '_srv.a-b.c')
  for (const odd of [null, '', '.', 'a..b', 'a b', 'a\n', '*.example', 'é', 'a'.repeat(254)]) {
    assert.equal(serverNameOf(odd), null)
  }
})

// --- routes

const PORTS = [
  { port: 80, name: 'tcp' },
  { port: 443, name: 'tls', protocol: 'opaque' as const },
]

/** Two services behind which pods of two versions stand, and a pod of the caller's namespace. */
const places = (wish?: Omit<VirtualServiceWish, 'hosts'>): World => {
  const mesh = world()
    .service('db', { ports: PORTS })
    .service('other', { ports: PORTS })
    .pods('shop-v1')
    .pods('db-v1')
    .pods('db-v2')
    .pods('other-v1')
    .destinationRule({ host: 'db', subsets: [{ name: 'v1' }, { name: 'v2' }] })
  return wish === undefined ? mesh : mesh.virtualService({ hosts: ['db'], ...wish })
}

const CALLER = 'shop-v1-1'

interface Wish extends Partial<FlowFacts> {
  readonly port?: number
  readonly die?: number
}

/** Where a connection to the Service db goes. */
function way(mesh: World, { port = 443, die = 0, ...facts }: Wish = {}): string {
  const snapshot = mesh.snapshot()
  const target = dialled(snapshot, 'db', port)
  const caller = mesh.pod(CALLER)
  const asked = { caller, dialled: { ip: '10.96.0.1', port }, peer: { ip: '10.244.0.1', port: 1 }, serverName: null }
  return text(routeFlow(snapshot, target, { ...asked, ...facts }, drawn(die)))
}

function text(route: FlowRoute): string {
  if (route.kind === 'none') return route.code
  const { host, subset, port } = route.backends
  return `${host.split('.')[0]}:${port}${subset === null ? '' : `/${subset}`} by ${route.by?.rule ?? 'nobody'}`
}

const going = (...destinations: FlowRule['destinations']) => ({ destinations })

test('without rules for flows a connection goes to the service: so does one that http rules alone speak of', () => {
  assert.equal(way(places()), 'db:443 by nobody')
  assert.equal(way(places({ http: [{ destinations: [to('other')] }] })), 'db:443 by nobody')
})

test('the first tcp rule that matches decides', () => {
  const mesh = places({
    tcp: [
      { matches: [flowMatch({ port: 80 })], ...going(to('db', { subset: 'v1' })) },
      { matches: [flowMatch({ sourceLabels: { app: 'nobody' } }), flowMatch({ port: 443 })], ...going(to('other')) },
      { matches: [], ...going(to('db', { subset: 'v2' })) },
    ],
  })
  assert.equal(way(mesh, { port: 80 }), 'db:80/v1 by tcp[0]')
  assert.equal(way(mesh, { port: 443 }), 'other:443 by tcp[1]')
})

test('a tls rule takes what begins with TLS and asks for one of its names; others go by tcp rules, else to the service', () => {
  const tls = [{ matches: [flowMatch({ serverNames: ['a.example', '*.b.example'] })], ...going(to('other')) }]
  const bare = places({ tls })
  assert.equal(way(bare, { serverName: 'a.example' }), 'other:443 by tls[0]')
  assert.equal(way(bare, { serverName: 'x.y.b.example' }), 'other:443 by tls[0]')
  for (const serverName of ['b.example', 'c.example', null]) assert.equal(way(bare, { serverName }), 'db:443 by nobody')
  const both = places({ tls, tcp: [{ matches: [], ...going(to('db', { subset: 'v2' })) }] })
  assert.equal(way(both, { serverName: 'a.example' }), 'other:443 by tls[0]')
  assert.equal(way(both, { serverName: 'c.example' }), 'db:443/v2 by tcp[0]')
  assert.equal(way(both), 'db:443/v2 by tcp[0]')
})

test('where no rule matches a connection goes to the service, under REGISTRY_ONLY too', () => {
  const mesh = places({ tcp: [{ matches: [flowMatch({ port: 80 })], ...going(to('other')) }] })
  assert.equal(way(mesh), 'db:443 by nobody')
  assert.equal(way(mesh.settings({ outboundTrafficPolicy: 'REGISTRY_ONLY' })), 'db:443 by nobody')
})

test('destinations have their share by weight, and one that is not known is no way', () => {
  const shares = [to('db', { subset: 'v1', weight: 1 }), to('db', { subset: 'v2', weight: 3 })]
  const mesh = places({ tcp: [{ matches: [], ...going(...shares) }] })
  const ways = [0, 0.24, 0.26, 0.99].map((die) => way(mesh, { die }))
  assert.deepEqual(
    ways,
    ['v1', 'v1', 'v2', 'v2'].map((subset) => `db:443/${subset} by tcp[0]`),
  )
  for (const unknown of [to('nowhere'), to('db', { subset: 'v9' }), to('db', { port: 9 })]) {
    assert.equal(way(places({ tcp: [{ matches: [], ...going(unknown) }] })), 'NO_CLUSTER')
  }
  const idle = [to('db', { weight: 0 }), to('other', { weight: 0 })]
  assert.equal(way(places({ tcp: [{ matches: [], ...going(...idle) }] })), 'NO_ROUTE')
  assert.equal(way(places({ tcp: [{ matches: [], ...going() }] })), 'NO_ROUTE')
})

const EVERY_RULE = fc.array(fc.record({ matches: fc.array(anyMatch, { maxLength: 3 }) }), { maxLength: 4 })

test('the rule that decides is the one that a slow reading finds', () => {
  const caller = new Set<string>()
  fc.assert(
    fc.property(EVERY_RULE, EVERY_RULE, anyFlow, (tls, tcp, asked) => {
      const ruled = (rules: typeof tls): FlowRule[] => rules.map(({ matches }) => ({ matches, ...going(to('other')) }))
      const mesh = places({ tls: ruled(tls), tcp: ruled(tcp), exportTo: ['*'] })
      const snapshot = mesh.snapshot()
      const first = (rules: typeof tls): number =>
        rules.findIndex(({ matches }) => matches.length === 0 || matches.some((one) => referenceMatch(one, asked)))
      const [byName, byAddress] = [asked.serverName === null ? -1 : first(tls), first(tcp)]
      const expected = byName >= 0 ? `tls[${byName}]` : byAddress >= 0 ? `tcp[${byAddress}]` : 'nobody'
      caller.add(expected)
      const route = routeFlow(snapshot, dialled(snapshot, 'db', 443), asked, drawn(0))
      assert.equal(route.kind === 'forward' ? (route.by?.rule ?? 'nobody') : route.code, expected)
    }),
    { numRuns: 1500, seed: 5 },
  )
  assert.ok(caller.size >= 6, [...caller].join())
})

/** Where a connection to an address goes. */
function wayTo(mesh: World, ip: string, serverName: string | null = null, port = 443): string {
  const snapshot = mesh.snapshot()
  const address = { ip, port }
  const asked = { caller: mesh.pod(CALLER), dialled: address, peer: { ip: '10.244.0.1', port: 1 }, serverName }
  const route = routeFlow(snapshot, resolve(snapshot, address), asked, drawn(0))
  if (route.kind === 'none') return route.code
  const { host, subset, endpoints } = route.backends
  const ips = endpoints.map((endpoint) => endpoint.address.ip).join(' ')
  return `${host}${subset === null ? '' : `/${subset}`} ${ips} by ${route.by?.rule ?? 'nobody'}`
}

test('an address that nothing stands for is known by server name', () => {
  const OUT = '203.0.113.7'
  const rules = { matches: [flowMatch({ serverNames: ['*.example.com'] })] }
  const mesh = places()
    .virtualService({
      hosts: ['*.example.com'],
      tls: [{ matches: [flowMatch({ serverNames: ['own.example.com'] })], ...going(to('own.example.com')) }],
      tcp: [],
    })
    .virtualService({ hosts: ['in.example.com'], tls: [{ ...rules, ...going(to('other')) }] })
    .service('ext', { addresses: [], externalName: 'api.vendor.example', ports: [] })
  const inside = `${hostOf('other')} 10.244.0.4 by tls[0]`
  assert.equal(wayTo(mesh, OUT, 'in.example.com'), inside)
  assert.equal(wayTo(mesh, OUT, 'own.example.com'), `${OUT} ${OUT} by tls[0]`)
  assert.equal(wayTo(mesh, OUT, 'x.example.com'), `${OUT} ${OUT} by nobody`)
  assert.equal(wayTo(mesh, OUT, 'elsewhere.example'), `${OUT} ${OUT} by nobody`)
  assert.equal(wayTo(mesh, OUT), `${OUT} ${OUT} by nobody`)
  assert.equal(wayTo(mesh, OUT, hostOf('other')), `${OUT} ${OUT} by nobody`, 'a Service is dialled by its addresses')
  assert.equal(wayTo(mesh, OUT, hostOf('ext')), `${hostOf('ext')} ${OUT} by nobody`)
  mesh.settings({ outboundTrafficPolicy: 'REGISTRY_ONLY' })
  assert.equal(wayTo(mesh, OUT, 'in.example.com'), inside)
  for (const name of ['own.example.com', 'x.example.com', null]) {
    const expected = name === 'own.example.com' ? 'NO_CLUSTER' : 'BLACK_HOLE_FLOW'
    assert.equal(wayTo(mesh, OUT, name), expected, String(name))
  }
  assert.equal(wayTo(mesh, OUT, hostOf('ext')), `${hostOf('ext')} ${OUT} by nobody`)
})

test('an endpoint of a headless service stands where a rule names that service; a dialled pod gets no rules', () => {
  const mesh = world()
    .pods('shop-v1')
    .service('db', { headless: true, ports: [{ port: 443 }] })
    .pods('db', { count: 2, behind: ['db'] })
    .service('other', { ports: [{ port: 443 }] })
    .pods('other')
    .virtualService({
      hosts: ['db'],
      tls: [{ matches: [flowMatch({ serverNames: ['away.example'] })], ...going(to('other')) }],
      tcp: [{ matches: [], ...going(to('db', { subset: 'v9' })) }],
    })
    .destinationRule({ host: 'db', subsets: [{ name: 'v9' }] })
    .virtualService({ hosts: [`db-1.${hostOf('db')}`], tls: [{ matches: [], ...going(to('other')) }] })
  assert.equal(wayTo(mesh, '10.244.0.2'), `${hostOf('db')}/v9 10.244.0.2 by tcp[0]`)
  assert.equal(wayTo(mesh, '10.244.0.2', 'away.example'), `${hostOf('other')} 10.244.0.4 by tls[0]`)
  assert.equal(wayTo(mesh, '10.244.0.2', `db-1.${hostOf('db')}`), `${hostOf('other')} 10.244.0.4 by tls[0]`)
  assert.equal(wayTo(mesh, '10.244.0.4', 'away.example'), '10.244.0.4 10.244.0.4 by nobody')
})

test('a server name is asked for where a rule of the dialled port may look at it', () => {
  const asks = (mesh: World, port: number): boolean => {
    const snapshot = mesh.snapshot()
    return looksAtServerName(snapshot, dialled(snapshot, 'db', port), { caller: mesh.pod(CALLER), port })
  }
  assert.equal(asks(places(), 443), false)
  assert.equal(asks(places({ tcp: [{ matches: [], ...going(to('db')) }] }), 443), false)
  const matches = [flowMatch({ serverNames: ['a.example'], port: 443 })]
  const mesh = places({ tls: [{ matches, ...going(to('db')) }] })
  assert.deepEqual([asks(mesh, 443), asks(mesh, 80)], [true, false])
})
