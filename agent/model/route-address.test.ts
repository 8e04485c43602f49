import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { request } from './request.fixture.ts'
import { routeAddress } from './route-address.ts'
import { type HttpRoute } from './http/route.ts'
import { keptFrom } from './route.ts'
import { resolvePod } from './snapshot.ts'
import { hostOf, rule, to, world, type World } from './world.fixture.ts'

const CALLER = 'shop-v1-1'

/** Routes a request from a pod of namespace default. */
function route(mesh: World, ip: string, authority: string, port = 8080): HttpRoute {
  const snapshot = mesh.snapshot()
  const target = resolvePod(snapshot, { ip, port })
  const asked = { request: request({ authority }), caller: snapshot.workloadByUid.get(`uid-default-${CALLER}`) ?? null }
  return routeAddress(snapshot, target, asked, () => 0)
}

/** Where it goes: who it is accounted to, and the addresses that may serve. */
function way(route: HttpRoute): string {
  if (route.kind !== 'forward') return route.kind === 'none' ? route.code : `${route.status}`
  const { host, subset, endpoints } = route.backends
  const ips = endpoints.map(({ address }) => address.ip).join(' ')
  return `${host.split('.')[0]}${subset === null ? '' : `/${subset}`} ${ips} by ${route.by?.rule ?? 'nobody'}`
}

/** Pods web-0 at 10.244.0.2 and web-1 at .3 behind the headless web; another service at 10.96.0.*. */
const stateful = (): World =>
  world()
    .pods('shop-v1')
    .service('web', { headless: true })
    .pods('web', { count: 2, behind: ['web'] })
    .service('other')
    .pods('other')
const WEB_0 = '10.244.0.2'

test('a caller of a headless service gets the endpoint that it dialled, accounted to the service', () => {
  for (const authority of ['web', 'web.default', hostOf('web'), `web-0.${hostOf('web')}:8080`, 'anything.example']) {
    assert.equal(way(route(stateful(), WEB_0, authority)), `web ${WEB_0} by nobody`, authority)
  }
})

test('the routes of a headless service apply, and what names the service itself is the dialled endpoint', () => {
  const self = stateful()
    .virtualService({ hosts: ['web'], http: [rule({ name: 'self', destinations: [to('web', { subset: 'v9' })] })] })
    .destinationRule({ host: 'web', subsets: [{ name: 'v9' }] })
  assert.equal(way(route(self, WEB_0, 'web-0.web')), `web/v9 ${WEB_0} by self`)
  const away = stateful().virtualService({
    hosts: ['web'],
    http: [rule({ name: 'away', destinations: [to('other')] })],
  })
  assert.equal(way(route(away, WEB_0, 'web')), 'other 10.244.0.4 by away')
  assert.equal(way(route(away, WEB_0, WEB_0)), `${WEB_0.split('.')[0]} ${WEB_0} by nobody`, 'a pod was asked for')
})

test('a VirtualService for a StatefulSet pod’s own name comes before its service’s', () => {
  const mesh = stateful()
    .virtualService({ hosts: ['web'], http: [rule({ name: 'service', destinations: [to('web')] })] })
    .virtualService({
      hosts: [`web-0.${hostOf('web')}`],
      http: [rule({ name: 'pod', destinations: [to(`web-0.${hostOf('web')}`)] })],
    })
  assert.equal(way(route(mesh, WEB_0, 'web-0.web.default.svc')), `web ${WEB_0} by pod`)
  assert.equal(way(route(mesh, '10.244.0.3', 'web-1.web')), 'web 10.244.0.3 by service')
})

test('a wildcard stands for pods’ own names where it speaks of no more than them', () => {
  const mesh = stateful()
    .virtualService({ hosts: ['*.local'], http: [rule({ name: 'all', destinations: [to('other')] })] })
    .virtualService({ hosts: ['web'], http: [rule({ name: 'service', destinations: [to('web')] })] })
  assert.equal(way(route(mesh, WEB_0, 'web-0.web')), `web ${WEB_0} by service`)
  mesh.virtualService({
    hosts: [`*.${hostOf('web')}`],
    http: [rule({ name: 'pods', destinations: [to('web')] })],
  })
  assert.equal(way(route(mesh, WEB_0, 'web-0.web')), `web ${WEB_0} by pods`)
  assert.equal(way(route(mesh, WEB_0, 'web')), `web ${WEB_0} by service`)
})

test('of several headless services behind one address the one that Host names is meant', () => {
  const mesh = world()
    .pods('shop-v1')
    .service('web', { headless: true })
    .service('all', { headless: true })
    .pods('web', { behind: ['web', 'all'] })
  assert.equal(way(route(mesh, WEB_0, 'web')), `web ${WEB_0} by nobody`)
  assert.equal(way(route(mesh, WEB_0, 'web-1.all.default')), `all ${WEB_0} by nobody`)
  assert.match(way(route(mesh, WEB_0, 'neither')), /^10 /)
})

test('an address without a pod is known by the headless service that has it for an endpoint', () => {
  const mesh = world()
    .pods('shop-v1')
    .service('db', { headless: true })
    .external('db', { ip: '203.0.113.5', port: 8080 })
    .settings({ outboundTrafficPolicy: 'REGISTRY_ONLY' })
  assert.equal(way(route(mesh, '203.0.113.5', 'db')), 'db 203.0.113.5 by nobody')
  const snapshot = mesh.snapshot()
  const kept = (port: number) => keptFrom(snapshot, { ip: '203.0.113.5', port }, 'BLACK_HOLE')?.code
  assert.deepEqual([kept(8080), kept(8081)], [undefined, 'BLACK_HOLE'])
})

test('what belongs to nothing is gone to as it was dialled, or with REGISTRY_ONLY to nowhere', () => {
  const mesh = world().pods('shop-v1')
  assert.equal(way(route(mesh, '203.0.113.1', 'example.com', 80)), '203 203.0.113.1 by nobody')
  mesh.settings({ outboundTrafficPolicy: 'REGISTRY_ONLY' })
  assert.equal(way(route(mesh, '203.0.113.1', 'example.com', 80)), 'BLACK_HOLE')
  assert.equal(way(route(mesh, '203.0.113.1', '203.0.113.1', 80)), 'BLACK_HOLE')
  assert.equal(way(route(mesh, '10.244.0.1', 'example.com')), '10 10.244.0.1 by nobody', 'a pod is known')
})

test('a VirtualService for a host that is no service’s applies where the address belongs to nothing, and only there', () => {
  const mesh = stateful().virtualService({
    hosts: ['example.com'],
    http: [rule({ name: 'self', destinations: [to('example.com')], timeoutMs: 5 })],
  })
  const found = route(mesh, '203.0.113.1', 'Example.com.:80', 80)
  assert.equal(way(found), '203 203.0.113.1 by self')
  assert.equal(found.kind === 'forward' && found.timeoutMs, 5)
  assert.equal(way(route(mesh, WEB_0, 'example.com')), `web ${WEB_0} by nobody`)
  mesh.settings({ outboundTrafficPolicy: 'REGISTRY_ONLY' })
  assert.equal(way(route(mesh, '203.0.113.1', 'example.com', 80)), 'NO_CLUSTER')
  const inside = world()
    .pods('shop-v1')
    .service('other')
    .pods('other')
    .virtualService({ hosts: ['example.com'], http: [rule({ name: 'in', destinations: [to('other', { port: 80 })] })] })
  assert.equal(way(route(inside, '203.0.113.1', 'example.com', 80)), 'other 10.244.0.2 by in')
})

test('a Host that is a service’s with an address of its own changes nothing at an address that belongs to nothing', () => {
  const mesh = stateful().virtualService({ hosts: ['other'], http: [rule({ destinations: [to('other')] })] })
  assert.equal(way(route(mesh, '203.0.113.1', hostOf('other'), 80)), '203 203.0.113.1 by nobody')
})

test('an ExternalName service is known by its Host: routed, accounted to it, and allowed with REGISTRY_ONLY', () => {
  const mesh = world()
    .pods('shop-v1')
    .service('ext', { addresses: [], externalName: 'api.example.com', ports: [] })
    .settings({ outboundTrafficPolicy: 'REGISTRY_ONLY' })
  assert.equal(way(route(mesh, '203.0.113.1', 'ext.default', 80)), 'ext 203.0.113.1 by nobody')
  assert.equal(way(route(mesh, '203.0.113.1', 'api.example.com', 80)), 'BLACK_HOLE')
  mesh.virtualService({ hosts: ['ext'], http: [rule({ name: 'ext', destinations: [to('ext')] })] })
  assert.equal(way(route(mesh, '203.0.113.1', 'ext', 80)), 'ext 203.0.113.1 by ext')
})

test('a destination that is an alias of a service is that service, and an alias of a host outside is none', () => {
  const mesh = world()
    .pods('shop-v1')
    .service('other')
    .pods('other')
    .service('alias', { addresses: [], externalName: hostOf('other'), ports: [] })
    .service('loop', { addresses: [], externalName: hostOf('loop'), ports: [] })
    .virtualService({
      hosts: ['a.example'],
      http: [rule({ name: 'alias', destinations: [to('alias', { port: 80 })] })],
    })
    .virtualService({ hosts: ['b.example'], http: [rule({ destinations: [to('loop', { port: 80 })] })] })
  assert.equal(way(route(mesh, '203.0.113.1', 'a.example', 80)), 'other 10.244.0.2 by alias')
  assert.equal(way(route(mesh, '203.0.113.1', 'b.example', 80)), 'NO_CLUSTER')
})

test('a Host is the same host in any case of letters, with a port or a last dot, and any text has a route', () => {
  const mesh = stateful().virtualService({
    hosts: ['example.com'],
    http: [rule({ name: 'here', destinations: [to('example.com')] })],
  })
  const host = fc
    .tuple(fc.mixedCase(fc.constant('example.com')), fc.constantFrom('', '.'), fc.option(fc.nat(65535)))
    .map(([name, dot, port]) => `${name}${dot}${port === null ? '' : `:${port}`}`)
  fc.assert(
    fc.property(
      host,
      fc.oneof(
        fc.string(),
        fc.ipV6().map((ip) => `[${ip}]:80`),
      ),
      (known, any) => {
        assert.equal(way(route(mesh, '203.0.113.1', known, 80)), '203 203.0.113.1 by here')
        for (const ip of ['203.0.113.1', WEB_0]) assert.equal(route(mesh, ip, any).kind, 'forward')
      },
    ),
  )
})

test('however many ports a caller dials of what the mesh does not know, what is remembered has a bound', () => {
  const http = [{ destinations: [to('web', { port: 80 })] }]
  const mesh = world()
    .service('web')
    .pods('web')
    .virtualService({ hosts: ['out.example'], http })
  const snapshot = mesh.snapshot()
  const asked = { request: request({ authority: 'out.example' }), caller: mesh.pod('web-1') }
  for (let port = 1; port < 5000; port++) {
    const address = { ip: '192.0.2.7', port }
    const route = routeAddress(snapshot, { kind: 'unknown', address, behind: null }, asked, () => 0)
    assert.equal(route.kind === 'forward' && route.backends.host, hostOf('web'))
  }
  for (const known of snapshot.memo.values()) assert.ok(known.length <= 1024)
})
