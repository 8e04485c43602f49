import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nameOf } from '../analysis/world.ts'
import { clientTls } from '../traffic-policy.fixture.ts'
import { PLAIN_TERMS } from '../terms.ts'
import { ROOT_NAMESPACE, type World, world } from '../world.fixture.ts'
import { sceneOf } from './joining.fixture.ts'
import { awaited, planOf } from './plan.ts'

/** Three pods of a namespace that did not join, and one of another that did. */
const shop = (): World =>
  world()
    .service('web')
    .pods('web', { count: 2, joined: false })
    .pods('db', { joined: false, node: 'node-2' })
    .pods('other', { namespace: 'other' })

test('a namespace of sound pods joins, and nothing needs care', () => {
  const plan = planOf('join', sceneOf(shop()))
  assert.deepEqual(plan.cares, [])
  assert.equal(awaited(plan).size, 3)
  assert.deepEqual(
    plan.agents.map(({ node, ready }) => [node, ready]),
    [
      ['node-1', true],
      ['node-2', true],
    ],
  )
  assert.deepEqual(
    plan.modes.map(({ mode, by, pods }) => [mode, by, pods]),
    [['PERMISSIVE', null, ['web-1', 'web-2', 'db-1']]],
  )
  assert.equal(plan.outside, 0)
})

test('pods that cannot be captured, an agent that is not ready and a missing controller need care', () => {
  const agents = new Map([
    ['node-1', true],
    ['node-2', false],
  ])
  const { cares } = planOf(
    'join',
    sceneOf(shop(), { 'web-1': { unfit: 'hostNetwork' } }, { agents, controller: false }),
  )
  assert.deepEqual(cares, [
    '1 pod cannot be captured',
    'the agent of node-2 is not ready',
    'no controller leads: without one no pod gets a certificate',
  ])
  assert.deepEqual(planOf('join', sceneOf(shop(), {}, { controller: null })).cares, [])
})

test('modes are told by pod and port, with who says so', () => {
  const mesh = shop()
    .peerAuthentication({ name: 'all', namespace: ROOT_NAMESPACE, mode: 'STRICT' })
    .peerAuthentication({ name: 'db', selector: { app: 'db' }, mode: 'PERMISSIVE', ports: { 3306: 'STRICT' } })
  const { modes } = planOf('join', sceneOf(mesh))
  assert.deepEqual(
    modes.map(({ mode, ports, by, pods }) => [mode, ports, by === null ? null : nameOf(by), pods]),
    [
      ['STRICT', {}, 'PeerAuthentication istio-system/all', ['web-1', 'web-2']],
      ['PERMISSIVE', { 3306: 'STRICT' }, 'PeerAuthentication default/db', ['db-1']],
    ],
  )
})

test('a Service with callers outside of the cluster needs care where STRICT would refuse them, and only there', () => {
  const doors = [{ service: 'web', by: 'LoadBalancer' }]
  assert.deepEqual(planOf('join', sceneOf(shop(), {}, { doors })).doors, [{ ...doors[0], refused: false }])
  const strict = sceneOf(shop().peerAuthentication({ mode: 'STRICT' }), {}, { doors })
  assert.deepEqual(planOf('join', strict).cares, [
    'STRICT refuses who comes from outside the cluster: web (LoadBalancer)',
  ])
  const byPort = shop().peerAuthentication({ selector: { app: 'web' }, mode: 'STRICT', ports: { 8080: 'PERMISSIVE' } })
  assert.deepEqual(planOf('join', sceneOf(byPort, {}, { doors })).cares, [])
})

test('guards are told that are for its pods, those of the whole mesh among them, and none of other namespaces', () => {
  const mesh = shop()
    .authorizationPolicy({ name: 'mine', selector: { app: 'db' }, action: 'DENY' })
    .authorizationPolicy({ name: 'all', namespace: ROOT_NAMESPACE })
    .authorizationPolicy({ name: 'theirs', namespace: 'other' })
    .authorizationPolicy({ name: 'to-web', targets: [{ namespace: 'default', name: 'web' }] })
    .requestAuthentication({ name: 'tokens', selector: { app: 'nobody' } })
  const { guards } = planOf('join', sceneOf(mesh))
  assert.deepEqual(
    guards.map(({ ref, action, pods }) => [ref.name, action, pods]),
    [
      ['mine', 'DENY', 1],
      ['all', 'ALLOW', 3],
      ['to-web', 'ALLOW', 2],
    ],
  )
})

test('routes are told that its callers can see: its own first', () => {
  const mesh = shop()
    .virtualService({ name: 'a', namespace: 'other', hosts: ['other'] })
    .virtualService({ name: 'hidden', namespace: 'other', hosts: ['other'], exportTo: ['other'] })
    .virtualService({ name: 'z', hosts: ['web'] })
    .destinationRule({ name: 'd', host: 'web' })
  assert.deepEqual(planOf('join', sceneOf(mesh)).routes.map(nameOf), [
    'DestinationRule default/d',
    'VirtualService default/z',
    'VirtualService other/a',
  ])
})

test('exclusions are told by the pods that share them; so are those that fail closed', () => {
  const terms = { ...PLAIN_TERMS, excludeInboundPorts: [9090] }
  const { exclusions, failClosed } = planOf(
    'join',
    sceneOf(shop(), {
      'web-1': { terms },
      'web-2': { terms },
      'db-1': { terms: { ...PLAIN_TERMS, onLoss: 'closed' } },
    }),
  )
  assert.deepEqual(
    exclusions.map(({ excludeInboundPorts, pods }) => [excludeInboundPorts, pods]),
    [[[9090], ['web-1', 'web-2']]],
  )
  assert.deepEqual(failClosed, ['db-1'])
})

test('what weft analyze would find afterwards is told, and what it finds already is not', () => {
  // who is outside cannot be called by the mesh's TLS: so it is while the rule stands and the pods have left
  const policy = { tls: clientTls('ISTIO_MUTUAL') }
  const mesh = world()
    .service('web')
    .pods('web', { captured: 'weft-agent-1' })
    .pods('caller', { namespace: 'other' })
    .destinationRule({ name: 'demands', namespace: 'other', host: 'web.default.svc.cluster.local', policy })
  const scene = sceneOf(mesh, {}, { wishes: { annotation: 'enabled', label: null } })
  assert.deepEqual(
    planOf('leave', scene).findings.map(({ code, object }) => [code, object.name]),
    [['WEFT0309', 'demands']],
  )
})

test('who leaves stops to be guarded: what holds today is told, and who stays is not', () => {
  const mesh = world()
    .service('web')
    .pods('web', { count: 2, captured: 'weft-agent-1' })
    .peerAuthentication({ name: 'strict', mode: 'STRICT' })
  const scene = sceneOf(mesh, { 'web-2': { wish: 'enabled' } }, { wishes: { annotation: 'enabled', label: null } })
  const plan = planOf('leave', scene)
  assert.deepEqual(
    plan.modes.map(({ mode, pods }) => [mode, pods]),
    [['STRICT', ['web-1']]],
  )
  assert.deepEqual([awaited(plan).size, plan.outside], [1, 1])
})
