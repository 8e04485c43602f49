import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { addressText } from './address.ts'
import { ANYONE, footing } from './balance/balance.fixture.ts'
import { pick } from './balance/balance.ts'
import { request, seeded } from './request.fixture.ts'
import { routeHttp } from './route.ts'
import { entriesFor } from './host-index.ts'
import { compile, type Inventory, isTerminating, memoized, resolve, type Vantage, workloadAt } from './snapshot.ts'
import { dialled, hostOf, match, to, type World, world } from './world.fixture.ts'

function deeplyFrozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    Object.values(value).forEach(deeplyFrozen)
  }
  return value
}

function shop(): World {
  return world()
    .service('reviews', { ports: [{ port: 80, protocol: 'http', targetPort: 9080 }, { port: 81 }] })
    .service('files', { headless: true, ports: [{ port: 21 }] })
    .pods('reviews-v1', { count: 2 })
    .pods('files-v1')
    .pods('node-agent', { hostNetwork: true, ips: ['172.18.0.2'], behind: ['reviews'] })
}

test('an inventory that cannot be changed is compiled and routed all the same, and stays as it was', () => {
  const mesh = shop()
    .virtualService({
      hosts: ['reviews'],
      http: [{ matches: [match({ sourceLabels: { app: 'web' } })], destinations: [to('reviews', { subset: 'v1' })] }],
    })
    .virtualService({ hosts: ['*'], createdMs: 1, http: [{ destinations: [to('reviews')] }] })
    .destinationRule({ host: 'reviews', subsets: [{ name: 'v1' }] })
    .destinationRule({ host: '*.local', createdMs: 1 })
  const inventory = deeplyFrozen(mesh.inventory(7))
  const before = JSON.stringify(inventory)
  const snapshot = compile(inventory)
  const asked = { request: request(), caller: { ...mesh.pod('reviews-v1-1'), labels: { app: 'web' } } }
  const route = routeHttp(snapshot, dialled(snapshot, 'reviews'), asked, seeded(1))
  assert.ok(route.kind === 'forward')
  assert.notEqual(pick(route.backends, footing(), ANYONE, new Set(['10.244.0.1:9080'])), null)
  assert.equal(snapshot.version, 7)
  assert.equal(JSON.stringify(inventory), before)
})

test('an inventory crosses to another thread and means the same there', () => {
  const inventory = shop().inventory()
  assert.deepEqual(structuredClone(inventory), inventory)
})

test('a policy with a regex that RE2 refuses is left out and named, and all others are in force', () => {
  const matches = [match({ uri: { kind: 'regex', value: '(' } })]
  const mesh = shop()
    .virtualService({ name: 'bad', hosts: ['reviews'], http: [{ matches, destinations: [to('reviews')] }] })
    .virtualService({ name: 'good', hosts: ['reviews'], http: [{ destinations: [to('reviews')] }] })
  const refused: string[] = []
  const snapshot = compile(mesh.inventory(), ({ object, why }) => refused.push(`${object.name}: ${why}`))
  assert.equal(refused.length, 1)
  assert.match(refused[0]!, /^bad: .*missing/)
  const [level] = entriesFor(snapshot.virtualServices, hostOf('reviews'))
  assert.deepEqual(
    level?.map(({ source }) => source.ref.name),
    ['good'],
  )
})

test('a service is found by each of its addresses at each of its ports, and at no other port', () => {
  const snapshot = shop()
    .service('public', { addresses: ['10.96.0.9', '198.51.100.7', 'fd00::9'], ports: [{ port: 80 }, { port: 443 }] })
    .snapshot()
  for (const ip of ['10.96.0.9', '198.51.100.7', 'fd00::9']) {
    for (const port of [80, 443]) {
      const target = resolve(snapshot, { ip, port })
      assert.ok(target.kind === 'service' && target.service.name === 'public' && target.port.port === port)
      assert.equal(target.family, ip === 'fd00::9' ? 6 : 4)
    }
    assert.equal(resolve(snapshot, { ip, port: 8080 }).kind, 'unknown')
  }
})

test('nobody takes another’s ClusterIP by naming it as an external one, whichever comes first', () => {
  const claiming = { addresses: ['10.96.0.7'], externalAddresses: ['10.96.0.7'] }
  const owning = { addresses: ['10.96.0.7'] }
  const owner = (mesh: World) => {
    const target = resolve(mesh.snapshot(), { ip: '10.96.0.7', port: 80 })
    return target.kind === 'service' && [target.service.name, target.external]
  }
  assert.deepEqual(owner(world().service('a', claiming).service('b', owning)), ['b', false])
  assert.deepEqual(owner(world().service('b', owning).service('a', claiming)), ['b', false])
  assert.deepEqual(owner(world().service('a', claiming)), ['a', true])
  assert.deepEqual(owner(world().service('b', owning).service('a', owning)), ['a', false])
})

test('a pod that is being ended is about to go, with a service or without', () => {
  const mesh = shop().pods('lone', { behind: [] })
  const lone = { ip: mesh.pod('lone-1').ips[0]!, port: 7 }
  const served = { ip: mesh.pod('reviews-v1-1').ips[0]!, port: 9080 }
  const going = () => [lone, served].map((address) => isTerminating(mesh.snapshot(), address))
  assert.deepEqual(going(), [false, false])
  mesh.end('lone-1', 'terminates').end('reviews-v1-1', 'terminates')
  assert.deepEqual(going(), [true, true])
})

test('a pod is found by its address at any port, with the service it stands behind at that port', () => {
  const mesh = shop()
  const snapshot = mesh.snapshot()
  const pod = mesh.pod('reviews-v1-2')
  const behind = (port: number) => {
    const target = resolve(snapshot, { ip: pod.ips[0]!, port })
    assert.ok(target.kind === 'workload' && target.workload.uid === pod.uid)
    return target.behind && `${target.behind.service.name}:${target.behind.port.port}`
  }
  assert.deepEqual([behind(9080), behind(81), behind(7)], ['reviews:80', 'reviews:81', null])
})

test('a pod of both families is found by either address, behind the service of that family', () => {
  const mesh = world()
    .service('reviews', { addresses: ['10.96.0.1', 'fd00::1'] })
    .service('old', { ports: [{ port: 81 }] })
    .pods('reviews-v1', { ips: ['10.244.9.1', 'fd00:1::1'], behind: ['reviews', 'old'] })
  const snapshot = mesh.snapshot()
  const behind = (ip: string, port: number): string | null => {
    const target = resolve(snapshot, { ip, port })
    assert.ok(target.kind === 'workload' && target.workload === mesh.pod('reviews-v1-1'))
    return target.behind && target.behind.service.name
  }
  assert.deepEqual([behind('10.244.9.1', 8080), behind('fd00:1::1', 8080)], ['reviews', 'reviews'])
  assert.deepEqual([behind('10.244.9.1', 81), behind('fd00:1::1', 81)], ['old', null])
})

test('a pod behind several services at one port is told by the first of them by host', () => {
  const ports = [{ port: 80 }]
  const mesh = world()
    .service('b', { ports })
    .service('a', { ports })
    .pods('x-v1', { behind: ['b', 'a'] })
  const target = resolve(mesh.snapshot(), { ip: mesh.pod('x-v1-1').ips[0]!, port: 80 })
  assert.ok(target.kind === 'workload')
  assert.equal(target.behind?.service.host, hostOf('a'))
})

test('a headless service is reached by its pods’ own addresses', () => {
  const mesh = shop()
  const snapshot = mesh.snapshot()
  const target = resolve(snapshot, { ip: mesh.pod('files-v1-1').ips[0]!, port: 21 })
  assert.ok(target.kind === 'workload')
  assert.equal(target.behind?.service.headless, true)
})

test('a node’s address is never taken for the pods that share it', () => {
  const mesh = shop()
  const snapshot = mesh.snapshot()
  assert.deepEqual(resolve(snapshot, { ip: '172.18.0.2', port: 10250 }), {
    kind: 'unknown',
    address: { ip: '172.18.0.2', port: 10250 },
    behind: null,
  })
  const endpoint = snapshot.serviceByHost
    .get(hostOf('reviews'))!
    .ports[0]!.endpoints.find(({ address }) => address.ip === '172.18.0.2')
  assert.equal(workloadAt(snapshot, endpoint!)?.name, 'node-agent-1') // an endpoint names its pod by uid
})

test('an endpoint that names no pod is told by its address, one that names an unknown pod by nothing', () => {
  const mesh = shop()
  const snapshot = mesh.snapshot()
  const pod = mesh.pod('files-v1-1')
  const endpoint = { ready: true, serving: true, terminating: false, node: null, locality: null, readySinceMs: null }
  const address = { ip: pod.ips[0]!, port: 1 }
  assert.equal(workloadAt(snapshot, { ...endpoint, address, workload: null })?.uid, pod.uid)
  assert.equal(workloadAt(snapshot, { ...endpoint, address, workload: 'gone' }), null)
  assert.equal(workloadAt(snapshot, { ...endpoint, address: { ip: '192.0.2.1', port: 1 }, workload: null }), null)
})

test('an address is told by its text, which no two addresses share', () => {
  const address = fc.record({ ip: fc.oneof(fc.ipV4(), fc.ipV6()), port: fc.nat(65535) })
  fc.assert(
    fc.property(address, address, (a, b) => {
      assert.equal(addressText(a) === addressText(b), a.ip === b.ip && a.port === b.port)
    }),
  )
})

test('entries for a host are those of every pattern that covers it, the closest first', () => {
  const hosts = [
    '*',
    '*.local',
    '*.shop.svc.cluster.local',
    'reviews.shop.svc.cluster.local',
    '*s.shop.svc.cluster.local',
  ]
  const mesh = world()
  for (const host of hosts) mesh.virtualService({ name: host, hosts: [host], http: [] })
  const { virtualServices } = mesh.snapshot()
  const found = (host: string): string[] =>
    entriesFor(virtualServices, host).map((level) => level.map(({ source }) => source.ref.name).join())
  assert.deepEqual(found('reviews.shop.svc.cluster.local'), [hosts[3], hosts[4], hosts[2], '*.local', '*'])
  assert.deepEqual(found('web.shop.svc.cluster.local'), [hosts[2], '*.local', '*'])
  assert.deepEqual(found('example.com'), ['*'])
})

test('an answer is worked out once for an object and a vantage, also where it is null', () => {
  const snapshot = compile({ ...shop().inventory() } satisfies Inventory)
  let worked = 0
  const [one, other] = [{}, {}]
  const ask = (of: object, wish: Partial<Vantage> = {}): null =>
    memoized(
      snapshot,
      of,
      { consumer: 'shop', caller: null, dialledPort: 80, family: 4, external: false, ...wish },
      () => {
        worked++
        return null
      },
    )
  assert.deepEqual([ask(one), ask(one), ask(other), ask(other)], [null, null, null, null])
  assert.equal(worked, 2)
  for (const wish of [{ consumer: 'bank' }, { dialledPort: 81 }, { family: 6 }, { external: true }] as const) {
    ask(one, wish)
    ask(one, wish)
  }
  assert.equal(worked, 6)
})
