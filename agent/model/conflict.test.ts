import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  destinationRuleLosses,
  type Ground,
  type JoinedPod,
  type Loss,
  type Losses,
  peerAuthenticationLosses,
  virtualServiceLosses,
} from './conflict.ts'
import { peerModesOf, peersByNamespace } from './peer-authentication.ts'
import { virtualServiceFor } from './route.ts'
import { dialled, hostOf, ROOT_NAMESPACE, to, type VirtualServiceWish, type World, world } from './world.fixture.ts'

const GROUND: Ground = {
  namespaces: ['client', 'other', 'shop', ROOT_NAMESPACE],
  rootNamespace: ROOT_NAMESPACE,
  clusterDomain: 'cluster.local',
  pods: [],
}
const HOST = hostOf('reviews', 'shop')
const http = [{ destinations: [to(HOST)] }]
const virtual = (name: string, namespace: string, more: Partial<VirtualServiceWish> = {}): VirtualServiceWish => {
  return { name, namespace, hosts: [HOST], http, ...more }
}
const services = (mesh: World): Losses => virtualServiceLosses(mesh.inventory().virtualServices, GROUND)
const rules = (mesh: World): Losses => destinationRuleLosses(mesh.inventory().destinationRules, GROUND)
const told = (losses: readonly Loss[] | undefined): unknown[] =>
  (losses ?? []).map(({ winners, whole, lostFor, keptFor, fields }) => ({
    winners: winners.map(({ namespace, name }) => `${namespace}/${name}`).join(),
    ...(whole ? { whole } : { lostFor: lostFor.join(), keptFor: keptFor.join() }),
    ...(fields.length > 0 ? { fields: fields.join() } : {}),
  }))

test('of two VirtualServices of one namespace and host the younger loses everywhere', () => {
  const losses = services(world().virtualService(virtual('old', 'shop')).virtualService(virtual('young', 'shop')))
  assert.deepEqual([...losses.keys()], ['shop/young'])
  assert.deepEqual(told(losses.get('shop/young')), [{ winners: 'shop/old', whole: true }])
})

test('a consumer’s own VirtualService wins for its callers, the service’s for all others', () => {
  const losses = services(world().virtualService(virtual('a', 'shop')).virtualService(virtual('b', 'client')))
  const rest = `${ROOT_NAMESPACE},other,shop`
  assert.deepEqual(told(losses.get('shop/a')), [{ winners: 'client/b', lostFor: 'client', keptFor: rest }])
  assert.deepEqual(told(losses.get('client/b')), [{ winners: 'shop/a', lostFor: rest, keptFor: 'client' }])
})

test('what is exported to its own namespace alone takes nothing from others, and loses nothing to them', () => {
  const mesh = world()
    .virtualService(virtual('a', 'shop'))
    .virtualService(virtual('b', 'client', { exportTo: ['client'] }))
  const losses = services(mesh)
  assert.deepEqual([...losses.keys()], ['shop/a'])
  assert.deepEqual(told(losses.get('shop/a')).length, 1)
  assert.equal(services(world().virtualService(virtual('hidden', 'shop', { exportTo: [] }))).size, 0)
})

test('an exact host beside a wildcard is no conflict; the same wildcard twice is one', () => {
  const wild = { hosts: ['*.shop.svc.cluster.local'] }
  const mesh = world()
    .virtualService(virtual('exact', 'shop'))
    .virtualService(virtual('wild', 'shop', wild))
  assert.equal(services(mesh).size, 0)
  const losses = services(mesh.virtualService(virtual('wild-2', 'shop', wild)))
  assert.deepEqual(told(losses.get('shop/wild-2')), [{ winners: 'shop/wild', whole: true }])
})

test('a wildcard over services of all namespaces is kept by each namespace for its own services', () => {
  const all = { hosts: ['*'] }
  const losses = services(
    world()
      .virtualService(virtual('a', 'shop', all))
      .virtualService(virtual('b', 'client', all)),
  )
  assert.deepEqual([...losses].map(([key, [loss]]) => [key, loss?.whole]).sort(), [
    ['client/b', false],
    ['shop/a', false],
  ])
})

test('rules of requests and rules of connections contend each among themselves', () => {
  const tcp = [{ matches: [], destinations: [] }]
  const flows = { http: [], tcp }
  const mesh = world()
    .virtualService(virtual('requests', 'shop'))
    .virtualService(virtual('connections', 'shop', flows))
  assert.equal(services(mesh).size, 0)
  const losses = services(mesh.virtualService(virtual('both', 'shop', { tcp })))
  assert.deepEqual([...losses.keys()], ['shop/both'])
  assert.deepEqual(
    losses.get('shop/both')?.map(({ winners, fields }) => [winners[0]?.name, ...fields]),
    [
      ['requests', 'spec.http'],
      ['connections', 'spec.tls', 'spec.tcp'],
    ],
  )
})

test('DestinationRules of one namespace lose only the fields that an older one has too', () => {
  const policy = { simple: 'RANDOM', ports: [] } as const
  const mesh = world()
    .destinationRule({ name: 'old', namespace: 'shop', host: HOST, policy, subsets: [{ name: 'v1' }] })
    .destinationRule({ name: 'young', namespace: 'shop', host: HOST, subsets: [{ name: 'v2' }, { name: 'v1' }] })
    .destinationRule({ name: 'last', namespace: 'shop', host: HOST, policy, subsets: [{ name: 'v3' }] })
  const losses = rules(mesh)
  const [young, last] = [told(losses.get('shop/young')), told(losses.get('shop/last'))] as [{ fields: string }[], never]
  assert.deepEqual([losses.size, young[0]?.fields], [2, 'spec.subsets[1]'])
  assert.match(JSON.stringify(last), /shop\/old.*spec\.trafficPolicy"/)
})

test('DestinationRules that select callers contend with those alone that select the same', () => {
  const policy = { simple: 'RANDOM' } as const
  const mesh = world()
    .destinationRule({ name: 'all', namespace: 'client', host: HOST, policy })
    .destinationRule({ name: 'some', namespace: 'client', host: HOST, policy, callers: { app: 'a' } })
    .destinationRule({ name: 'others', namespace: 'client', host: HOST, policy, callers: { app: 'b' } })
    .destinationRule({ name: 'far', namespace: 'shop', host: HOST, policy, callers: { app: 'a' } })
  assert.equal(rules(mesh).size, 0)
  const losses = rules(
    mesh.destinationRule({ name: 'late', namespace: 'client', host: HOST, policy, callers: { app: 'a' } }),
  )
  assert.deepEqual([...losses.keys()], ['client/late'])
  assert.match(JSON.stringify(told(losses.get('client/late'))), /client\/some.*spec\.trafficPolicy/)
})

test('a DestinationRule of the consumer wins whole for its callers; one of a third namespace is nobody’s rival', () => {
  const mesh = world()
    .destinationRule({ name: 'a', namespace: 'shop', host: HOST })
    .destinationRule({ name: 'b', namespace: 'client', host: HOST })
  const losses = rules(mesh)
  const rest = `${ROOT_NAMESPACE},other,shop`
  assert.deepEqual(told(losses.get('shop/a')), [{ winners: 'client/b', lostFor: 'client', keptFor: rest }])
  assert.equal(losses.has('client/b'), false)
})

test('whoever is in force for a call by route.ts never loses it here, and everybody else that is seen does', () => {
  const namespaces = GROUND.namespaces
  const wish = fc.record({
    namespace: fc.constantFrom(...namespaces),
    exportTo: fc.constantFrom(['*'], ['client'], ['shop', 'other'], []),
    createdMs: fc.nat(2),
  })
  fc.assert(
    fc.property(fc.array(wish, { maxLength: 6 }), fc.constantFrom(...namespaces), (wishes, consumer) => {
      const mesh = world().service('reviews', { namespace: 'shop' })
      for (const [index, more] of wishes.entries()) mesh.virtualService(virtual(`v${index}`, more.namespace, more))
      const snapshot = mesh.snapshot()
      const winner = virtualServiceFor(snapshot, dialled(snapshot, 'reviews', 80, 'shop'), consumer)?.source
      const losses = services(mesh)
      for (const one of mesh.inventory().virtualServices) {
        const { ref, exportTo } = one
        const [loss] = losses.get(`${ref.namespace}/${ref.name}`) ?? []
        const isSeen = exportTo.includes('*') || exportTo.includes(consumer)
        assert.equal(loss?.lostFor.includes(consumer) ?? false, isSeen && one !== winner)
      }
    }),
  )
})

test('a thousand rules of one host in one namespace are told apart in a moment', () => {
  const mesh = world()
  for (let index = 0; index < 1000; index++) {
    mesh.destinationRule({ name: `d${index}`, namespace: 'shop', host: HOST, subsets: [{ name: 'v1' }] })
  }
  assert.equal(rules(mesh).size, 999)
})

const peers = (mesh: World, pods: readonly JoinedPod[] = []): Losses =>
  peerAuthenticationLosses(mesh.inventory().peerAuthentications, { ...GROUND, pods })
const contested = (losses: Losses): string[] =>
  [...losses].flatMap(([key, list]) =>
    list.map(
      ({ host, winners, whole }) =>
        `${key}: ${host}, ${winners.map(({ name }) => name).join()}${whole ? '' : ', in part'}`,
    ),
  )

test('of two PeerAuthentications for all of a namespace, or of the mesh, the younger loses', () => {
  const mesh = world()
    .peerAuthentication({ name: 'young', namespace: 'shop', mode: 'STRICT', createdMs: 2 })
    .peerAuthentication({ name: 'old', namespace: 'shop', createdMs: 1 })
    .peerAuthentication({ name: 'a', namespace: ROOT_NAMESPACE, createdMs: 1 })
    .peerAuthentication({ name: 'b', namespace: ROOT_NAMESPACE, createdMs: 1 })
    .peerAuthentication({ name: 'alone', namespace: 'client', mode: 'STRICT' })
    .peerAuthentication({ name: 'own', namespace: 'client', selector: { app: 'web' }, mode: 'DISABLE' })
  assert.deepEqual(contested(peers(mesh)).sort(), [
    `${ROOT_NAMESPACE}/b: the mesh, a`,
    'shop/young: namespace shop, old',
  ])
})

test('of two PeerAuthentications with selectors the younger loses all pods where the older wants no other label, else those that have both', () => {
  const mesh = world()
    .peerAuthentication({ name: 'web', namespace: 'shop', selector: { app: 'web' } })
    .peerAuthentication({ name: 'db', namespace: 'shop', selector: { app: 'db' } })
    .peerAuthentication({ name: 'web-v1', namespace: 'shop', selector: { version: 'v1', app: 'web' } })
    .peerAuthentication({ name: 'v2', namespace: 'shop', selector: { version: 'v2' } })
  const pod = (app: string, version: string, namespace = 'shop'): JoinedPod => {
    return { namespace, name: app, labels: { app, version }, captured: null }
  }
  const always = 'shop/web-v1: pods with app=web, version=v1, web'
  assert.deepEqual(contested(peers(mesh)), [always])
  assert.deepEqual(contested(peers(mesh, [pod('other', 'v2'), pod('db', 'v2', 'client')])), [always])
  const both = peers(mesh, [pod('web', 'v2'), pod('web', 'v2'), pod('db', 'v2')])
  assert.deepEqual(contested(both), [
    always,
    'shop/v2: pods with app=web, version=v2, web, in part',
    'shop/v2: pods with app=db, version=v2, db, in part',
  ])
})

test('whoever decides for a pod as peer-authentication.ts has it does not lose every pod here', () => {
  const label = fc.record({ app: fc.constantFrom('web', 'db'), version: fc.constantFrom('v1', 'v2') })
  const selector = fc.record(
    { app: fc.constantFrom('web', 'db'), version: fc.constantFrom('v1', 'v2') },
    { requiredKeys: [] },
  )
  const wish = fc.record({ selector, createdMs: fc.nat(2) })
  fc.assert(
    fc.property(fc.array(wish, { maxLength: 5 }), fc.array(label, { maxLength: 4 }), (wishes, labels) => {
      const mesh = world()
      for (const { selector: given, createdMs } of wishes) {
        const own = Object.keys(given).length === 0 ? null : given
        mesh.peerAuthentication({ namespace: 'shop', mode: 'STRICT', createdMs, selector: own })
      }
      const pods = labels.map((own, index) => ({ namespace: 'shop', name: `p${index}`, labels: own, captured: null }))
      const losses = peers(mesh, pods)
      const byNamespace = peersByNamespace(mesh.inventory().peerAuthentications)
      for (const pod of pods) {
        const { by } = peerModesOf(pod, { byNamespace, rootNamespace: ROOT_NAMESPACE }).others
        const own = losses.get(`shop/${by?.name}`) ?? []
        assert.ok(!own.some(({ whole }) => whole), `${by?.name} decides and is told to be overridden`)
      }
    }),
  )
})
