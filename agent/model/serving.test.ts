import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backendsFor } from './backends.ts'
import { hasLeft } from './serving.ts'
import { resolve } from './snapshot.ts'
import { hostOf, type PodsWish, world, type World } from './world.fixture.ts'

const two = (wish: PodsWish): World => world().service('web').pods('web-v1').pods('web-v2', wish)
/** Of the second pod. */
const ENDPOINT = '10.244.0.2:8080'

test('an endpoint has left once it is not ready, terminates, or is no endpoint any more', () => {
  const before = two({}).snapshot()
  assert.equal(hasLeft(before, two({}).snapshot(), ENDPOINT), false)
  assert.equal(hasLeft(before, two({ ready: false }).snapshot(), ENDPOINT), true)
  assert.equal(hasLeft(before, two({ ready: false, serving: true, terminating: true }).snapshot(), ENDPOINT), true)
  assert.equal(hasLeft(before, world().service('web').pods('web-v1').snapshot(), ENDPOINT), true)
  assert.equal(hasLeft(before, world().snapshot(), ENDPOINT), true)
})

test('nothing is kept to the last one that terminates and still serves: it waits for its connections to end', () => {
  const before = two({}).snapshot()
  const wish = { ready: false, serving: true, terminating: true }
  const last = world().service('web').pods('web-v1', { ready: false }).pods('web-v2', wish).snapshot()
  assert.equal(hasLeft(before, last, ENDPOINT), true)
  assert.equal(hasLeft(last, last, ENDPOINT), true)
})

test('an endpoint behind two services leaves with the last of them, and a stranger never does', () => {
  const both = world()
    .service('web')
    .service('all')
    .pods('web-v1', { behind: ['web', 'all'] })
  const one = world()
    .service('web')
    .pods('web-v1', { behind: ['web'] })
  assert.equal(hasLeft(both.snapshot(), one.snapshot(), '10.244.0.1:8080'), false)
  assert.equal(hasLeft(one.snapshot(), world().snapshot(), '203.0.113.1:80'), false)
})

test('internalTrafficPolicy Local leaves the endpoints of the own node, to those who dial a ClusterIP', () => {
  const mesh = world()
    .service('web', {
      localOnly: true,
      addresses: ['10.96.0.1', '198.51.100.1'],
      externalAddresses: ['198.51.100.1'],
    })
    .pods('web-v1', { node: 'node-1' })
    .pods('web-v2', { node: 'node-2' })
    .pods('web-v3', { node: null })
  const snapshot = mesh.snapshot()
  const destination = { host: hostOf('web'), subset: null, port: null } // one object, which answers are kept by
  const ips = (external: boolean): string[] => {
    const at = { consumer: 'default', caller: null, dialledPort: 80, family: 4, external } as const
    const found = backendsFor(snapshot, destination, at)
    return (found?.endpoints ?? []).map(({ address }) => address.ip)
  }
  assert.deepEqual(ips(false), ['10.244.0.1'])
  assert.deepEqual(ips(true), ['10.244.0.1', '10.244.0.2', '10.244.0.3'])
  const dial = (ip: string) => {
    const target = resolve(snapshot, { ip, port: 80 })
    return target.kind === 'service' && target.external
  }
  assert.deepEqual([dial('10.96.0.1'), dial('198.51.100.1')], [false, true])
})

test('where none is ready on the own node those that terminate and serve there do, and never those of another', () => {
  const wish = { ready: false, serving: true, terminating: true, node: 'node-1' }
  const at = { consumer: 'default', caller: null, dialledPort: 80, family: 4, external: false } as const
  const found = (mesh: World) =>
    backendsFor(mesh.snapshot(), { host: hostOf('web'), subset: null, port: null }, at)?.endpoints.length
  const local = world().service('web', { localOnly: true }).pods('web-v2', { node: 'node-2' })
  assert.equal(found(local), 0)
  assert.equal(found(local.pods('web-v1', wish)), 1)
})
