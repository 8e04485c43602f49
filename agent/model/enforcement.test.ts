import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { JoinedPod } from './conflict.ts'
import { authenticationEnforcements, authorizationEnforcements, type Enforcement, enforcements } from './enforcement.ts'
import { ruleOf } from './authorization/authorization.fixture.ts'
import { ROOT_NAMESPACE, type World, world } from './world.fixture.ts'

const pod = (name: string, captured: boolean, more: Partial<JoinedPod> = {}): JoinedPod => ({
  ...{ namespace: 'shop', name, labels: { app: name.split('-')[0] ?? '' }, captured: captured ? 'agent-1' : null },
  ...more,
})
const PODS = [pod('web-1', true), pod('web-2', false), pod('db-1', false), pod('far-1', false, { namespace: 'other' })]

function found(mesh: World, pods: readonly JoinedPod[] = PODS): Record<string, Enforcement> {
  const { peerAuthentications } = mesh.inventory()
  return Object.fromEntries(enforcements(peerAuthentications, { pods, rootNamespace: ROOT_NAMESPACE }))
}

test('an object that says STRICT answers for the pods that it decides for, and names those that are not captured', () => {
  const mesh = world().peerAuthentication({ name: 'all', namespace: 'shop', mode: 'STRICT' })
  assert.deepEqual(found(mesh), { 'shop/all': { pods: 3, uncaptured: 2, named: ['shop/db-1', 'shop/web-2'] } })
  mesh.peerAuthentication({ name: 'db', namespace: 'shop', selector: { app: 'db' }, mode: 'PERMISSIVE' })
  assert.deepEqual(found(mesh), { 'shop/all': { pods: 2, uncaptured: 1, named: ['shop/web-2'] } })
  mesh.peerAuthentication({ name: 'mesh', namespace: ROOT_NAMESPACE, mode: 'STRICT' })
  assert.deepEqual(found(mesh)[`${ROOT_NAMESPACE}/mesh`], { pods: 1, uncaptured: 1, named: ['other/far-1'] })
})

test('one strict port is enough, and a pod whose port is decided elsewhere than the rest is under both', () => {
  const mesh = world()
    .peerAuthentication({ name: 'all', namespace: 'shop', mode: 'STRICT' })
    .peerAuthentication({
      name: 'db',
      namespace: 'shop',
      selector: { app: 'db' },
      ports: { 5432: 'STRICT', 80: 'DISABLE' },
    })
  const both = found(mesh)
  assert.deepEqual([both['shop/all']?.pods, both['shop/db']], [3, { pods: 1, uncaptured: 1, named: ['shop/db-1'] }])
})

test('what says nothing strict, or is overridden everywhere, answers for no pod', () => {
  const mesh = world()
    .peerAuthentication({ name: 'old', namespace: 'shop', mode: 'PERMISSIVE' })
    .peerAuthentication({ name: 'young', namespace: 'shop', mode: 'STRICT' })
  assert.deepEqual(found(mesh), { 'shop/young': { pods: 0, uncaptured: 0, named: [] } })
  assert.deepEqual(found(world().peerAuthentication({ namespace: 'shop', mode: 'DISABLE' })), {})
})

test('a few of many are named, the same whatever order the pods come in', () => {
  const mesh = world().peerAuthentication({ name: 'all', namespace: 'shop', mode: 'STRICT' })
  const pods = Array.from({ length: 20 }, (_, index) => pod(`web-${String(index).padStart(2, '0')}`, false))
  const named = ['00', '01', '02', '03', '04'].map((number) => `shop/web-${number}`)
  for (const order of [pods, [...pods].reverse()]) {
    assert.deepEqual(found(mesh, order), { 'shop/all': { pods: 20, uncaptured: 20, named } })
  }
})

test('a guard answers for all pods that it is for, and one that has no effect for none', () => {
  const rules = [ruleOf({})]
  const mesh = world()
    .authorizationPolicy({ name: 'all', namespace: 'shop' })
    .authorizationPolicy({ name: 'web', namespace: 'shop', action: 'DENY', selector: { app: 'web' }, rules })
    .authorizationPolicy({ name: 'mesh', namespace: ROOT_NAMESPACE, action: 'AUDIT', rules })
    .authorizationPolicy({ name: 'far', namespace: ROOT_NAMESPACE, selector: { app: 'far' } })
    .authorizationPolicy({ name: 'none', namespace: 'empty' })
    .authorizationPolicy({ name: 'dry', namespace: 'shop', dryRun: true, rules })
    .authorizationPolicy({ name: 'idle', namespace: 'shop', action: 'DENY' })
    .authorizationPolicy({ name: 'at', namespace: 'shop', targets: [{ namespace: 'shop', name: 'web' }] })
    .requestAuthentication({
      ...{ name: 'tokens', namespace: 'shop', selector: { app: 'db' } },
      rules: [{ issuer: 'a', keys: { kind: 'inline', jwks: '' } }],
    })
    .requestAuthentication({ name: 'no-rule', namespace: 'shop' })
  const { authorizationPolicies, requestAuthentications } = mesh.inventory()
  const ground = { pods: PODS, rootNamespace: ROOT_NAMESPACE }
  const one = (pods: number, ...named: string[]): Enforcement => ({ pods, uncaptured: named.length, named })
  assert.deepEqual(Object.fromEntries(authorizationEnforcements(authorizationPolicies, ground)), {
    'shop/all': one(3, 'shop/db-1', 'shop/web-2'),
    'shop/web': one(2, 'shop/web-2'),
    [`${ROOT_NAMESPACE}/mesh`]: one(4, 'other/far-1', 'shop/db-1', 'shop/web-2'),
    [`${ROOT_NAMESPACE}/far`]: one(1, 'other/far-1'),
    'empty/none': one(0),
  })
  assert.deepEqual(Object.fromEntries(authenticationEnforcements(requestAuthentications, ground)), {
    'shop/tokens': one(1, 'shop/db-1'),
  })
})
