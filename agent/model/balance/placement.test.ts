import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Backends } from '../backends.ts'
import { OUTLIERS } from './balance.fixture.ts'
import { localityText, NOWHERE_KNOWN } from './locality.ts'
import { groupsOf } from './placement.ts'
import { routeTcp } from '../route.ts'
import type { Endpoint } from '../service.ts'
import type { LocalityPreference, OutlierDetection } from '../traffic-policy.ts'
import { NO_POLICY } from '../destination.ts'
import { dialled, type ServiceWish, world, type World } from '../world.fixture.ts'

const ENABLED: LocalityPreference = { enabled: true, distribute: [], failover: [], failoverPriority: [] }

/** The caller is on node-1, at eu/a/1; `far` is a node that nothing is known of. */
function spread(service: ServiceWish = {}): World {
  return world()
    .service('web', service)
    .node('node-1', 'eu/a/1')
    .node('rack', 'eu/a/2')
    .node('zone', 'eu/b/1')
    .node('region', 'us/a/1')
    .node('other', 'asia/a/1')
    .pods('web-near', { node: 'node-1' })
    .pods('web-rack', { node: 'rack' })
    .pods('web-zone', { node: 'zone' })
    .pods('web-region', { node: 'region' })
    .pods('web-other', { node: 'other' })
    .pods('web-far', { node: 'far' })
    .pods('client', { behind: [] })
}

interface Rule {
  readonly locality?: Partial<LocalityPreference>
  readonly outliers?: OutlierDetection | null
}

function backendsOf(mesh: World, rule: Rule | null, labels: Readonly<Record<string, string>> = {}): Backends {
  if (rule !== null) {
    const { locality, outliers = null } = rule
    const said = locality === undefined ? null : { ...ENABLED, ...locality }
    const balancing = said === null ? null : { simple: null, hash: null, locality: said, warmup: null }
    mesh.destinationRule({ host: 'web', policy: { balancing, outliers } })
  }
  const snapshot = mesh.snapshot()
  const client = mesh.pod('client-1')
  const caller = { ...client, labels: { ...client.labels, ...labels } }
  return routeTcp(snapshot, dialled(snapshot, 'web'), { consumer: 'default', caller })
}

/** The versions of the pods by priority, as the world names them. */
function order({ groups }: Backends, mesh: World): readonly string[] | null {
  const { workloads } = mesh.inventory()
  const nameOf = ({ workload }: Endpoint): string =>
    workloads.find(({ uid }) => uid === workload)?.labels['version'] ?? ''
  return groups?.map(({ endpoints }) => endpoints.map(nameOf).join()) ?? null
}

test('without a word, or without outlier detection, endpoints are alike', () => {
  for (const rule of [null, {}, { locality: {} }, { locality: { failover: [{ from: 'eu', to: 'us' }] } }]) {
    assert.equal(backendsOf(spread(), rule).groups, null, JSON.stringify(rule))
  }
  const off = { locality: { enabled: false, distribute: [{ from: '*', to: [{ locality: 'us', weight: 100 }] }] } }
  assert.equal(backendsOf(spread(), { ...off, outliers: OUTLIERS }).groups, null)
})

test('with outlier detection the nearest come first, and who is in no known place last', () => {
  const mesh = spread()
  const found = backendsOf(mesh, { outliers: OUTLIERS })
  assert.deepEqual(order(found, mesh), ['near', 'rack', 'zone', 'region,other', 'far'])
  assert.deepEqual(
    found.groups?.map(({ priority, locality }) => [priority, locality]),
    [
      [0, 'eu/a/1'],
      [1, 'eu/a/2'],
      [2, 'eu/b/1'],
      [3, 'asia/a/1,us/a/1'],
      [4, ''],
    ],
  )
})

test('a region fails over to the one that is named, and to the others after it', () => {
  const mesh = spread()
  const failover = [{ from: 'us', to: 'asia' }, ...[{ from: 'eu', to: 'asia' }]]
  const found = backendsOf(mesh, { locality: { failover }, outliers: OUTLIERS })
  assert.deepEqual(order(found, mesh), ['near', 'rack', 'zone', 'other', 'region,far'])
})

test('labels say the order: the more agree in a row the sooner, and places are labels too', () => {
  const rows: readonly (readonly [readonly string[], readonly string[] | null])[] = [
    [['version'], null],
    [['version=zone'], ['zone', 'near,rack,region,other,far']],
    [['topology.kubernetes.io/region'], ['near,rack,zone', 'region,other,far']],
    [
      ['topology.kubernetes.io/region', 'version=rack'],
      ['rack', 'near,zone', 'region,other,far'],
    ],
    [
      ['version=rack', 'topology.kubernetes.io/region'],
      ['rack', 'near,zone,region,other,far'],
    ],
    [['kubernetes.io/hostname'], ['near', 'rack,zone,region,other,far']],
    [['app', 'topology.istio.io/network'], null],
  ]
  for (const [failoverPriority, wanted] of rows) {
    const mesh = spread()
    const found = backendsOf(
      mesh,
      { locality: { failoverPriority }, outliers: OUTLIERS },
      { app: 'web', version: 'none' },
    )
    assert.deepEqual(order(found, mesh), wanted, failoverPriority.join())
  }
  const mesh = spread()
  const both = { failoverPriority: ['version=other'], failover: [{ from: 'eu', to: 'us' }] }
  const found = backendsOf(mesh, { locality: both, outliers: OUTLIERS })
  assert.deepEqual(order(found, mesh), ['other', 'near', 'rack', 'zone', 'region', 'far'])
})

test('callers whose labels differ have orders of their own', () => {
  const mesh = spread().destinationRule({
    host: 'web',
    policy: {
      balancing: { simple: null, hash: null, warmup: null, locality: { ...ENABLED, failoverPriority: ['version'] } },
      outliers: OUTLIERS,
    },
  })
  const snapshot = mesh.snapshot()
  const [first, second] = ['near', 'zone'].map((version) => {
    const caller = { ...mesh.pod('client-1'), labels: { version } }
    return order(routeTcp(snapshot, dialled(snapshot, 'web'), { consumer: 'default', caller }), mesh)?.[0]
  })
  assert.deepEqual([first, second], ['near', 'zone'])
})

test('shares hold without outlier detection, for the callers they are given for', () => {
  const to = [
    { locality: 'eu/a/*', weight: 70 },
    { locality: 'us/*', weight: 20 },
    { locality: 'nowhere', weight: 10 },
  ]
  const mesh = spread()
  const found = backendsOf(mesh, {
    locality: {
      distribute: [
        { from: 'us/*', to: [] },
        { from: 'eu/a', to },
      ],
    },
  })
  assert.deepEqual(
    found.groups?.map(({ priority, locality, weight }) => [priority, locality, weight]),
    [
      [0, 'eu/a/*', 70],
      [0, 'us/*', 20],
    ],
  )
  assert.deepEqual(order(found, mesh), ['near,rack', 'region'])
  const elsewhere = backendsOf(spread(), { locality: { distribute: [{ from: 'us', to }] }, outliers: OUTLIERS })
  assert.equal(elsewhere.groups, null)
  const nobody = backendsOf(spread(), { locality: { distribute: [{ from: '*', to: to.slice(2) }] } })
  assert.deepEqual(nobody.groups, [])
})

test('a Service’s own trafficDistribution is an order, where no rule speaks of localities', () => {
  const zone = spread({ distribution: 'zone' })
  assert.deepEqual(order(backendsOf(zone, null), zone), ['near,rack', 'zone', 'region,other,far'])
  const node = spread({ distribution: 'node' })
  assert.deepEqual(order(backendsOf(node, null), node), ['near', 'rack', 'zone', 'region,other,far'])
  assert.equal(backendsOf(spread({ distribution: 'zone' }), { locality: { enabled: false } }).groups, null)
  assert.equal(backendsOf(spread({ distribution: 'zone' }), { locality: {} }).groups, null)
  const unplaced = world().service('web', { distribution: 'zone' }).pods('web-v1').pods('web-v2', { node: 'b' })
  assert.equal(backendsOf(unplaced.pods('client', { behind: [] }), null).groups, null)
})

test('pods that say where they are count there: endpoints and callers', () => {
  const mesh = spread().pods('web-moved', { node: 'other', labels: { version: 'moved', 'istio-locality': 'eu.a.1' } })
  assert.deepEqual(order(backendsOf(mesh, { outliers: OUTLIERS }), mesh)?.[0], 'near,moved')
  const away = spread()
  const found = backendsOf(away, { outliers: OUTLIERS }, { 'istio-locality': 'us.a.1' })
  assert.deepEqual(order(found, away), ['region', 'near,rack,zone,other', 'far'])
})

test('every endpoint is in one group, priorities leave no number out, and an order loses nobody', () => {
  const locality = fc.constantFrom('eu/a', 'eu/b', 'us/a', 'asia', '').map((text) => {
    const [region = '', zone = ''] = text.split('/')
    return text === '' ? null : { region, zone, subzone: '' }
  })
  const failover = fc.constantFrom([], [{ from: 'eu', to: 'us' }])
  const failoverPriority = fc.subarray(['topology.kubernetes.io/zone', 'kubernetes.io/hostname', 'x=1'])
  fc.assert(
    fc.property(fc.array(locality, { maxLength: 12 }), failover, failoverPriority, (places, to, labels) => {
      const endpoints = places.map((place, index): Endpoint => {
        const state = { ready: true, serving: true, terminating: false, workload: null, readySinceMs: null }
        return { ...state, address: { ip: `10.0.0.${index}`, port: 80 }, node: `n${index % 3}`, locality: place }
      })
      const said = { ...ENABLED, failover: to, failoverPriority: labels }
      const balancing = { ...NO_POLICY.balancing, locality: said }
      const ground = {
        caller: null,
        node: 'n1',
        locality: { region: 'eu', zone: 'a', subzone: '' },
        workloadOf: () => null,
      }
      const groups = groupsOf(endpoints, { distribution: null }, { balancing, outliers: OUTLIERS }, ground)
      if (groups === null) return
      assert.deepEqual(
        groups.map(({ priority }) => priority),
        groups.map((_, index) => index),
      )
      const all = groups.flatMap((group) => group.endpoints)
      assert.equal(all.length, endpoints.length)
      assert.deepEqual(new Set(all), new Set(endpoints))
      for (const { locality: text, endpoints: own } of groups) {
        const texts = new Set(own.map((one) => localityText(one.locality ?? NOWHERE_KNOWN)))
        assert.deepEqual(new Set(text.split(',')), texts)
      }
    }),
  )
})
