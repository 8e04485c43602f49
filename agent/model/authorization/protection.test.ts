import assert from 'node:assert/strict'
import { test } from 'node:test'
import { world } from '../world.fixture.ts'
import { protectionOf } from './protection.ts'

test('who dials any port of a pod has the node remember no more', () => {
  const snapshot = world()
    .service('a')
    .pods('a')
    .authorizationPolicy({ name: 'all' })
    .authorizationPolicy({ name: 'aimed', action: 'DENY', targets: [{ namespace: 'default', name: 'a' }] })
    .requestAuthentication({ rules: [{ issuer: 'i', keys: { kind: 'inline', jwks: '{}' } }] })
    .snapshot()
  const [pod] = [...snapshot.workloadByUid.values()]
  assert.ok(pod !== undefined)
  const behind = protectionOf(snapshot, pod, 8080)
  const told = new Set(Array.from({ length: 1000 }, (_, port) => protectionOf(snapshot, pod, 1 + port)))
  const [only] = told
  assert.deepEqual([told.size, only?.table?.policies.length, only?.tokens.length], [1, 1, 1])
  assert.equal(protectionOf(snapshot, pod, 1), only)
  assert.deepEqual([protectionOf(snapshot, pod, 8080) === behind, behind.table?.policies.length], [true, 2])
})

test('where endpoints come and go, a pod may have other policies, and tables are put together once', () => {
  const before = world().service('a').pods('a')
  before.authorizationPolicy({ name: 'aimed', action: 'DENY', targets: [{ namespace: 'default', name: 'a' }] })
  before.authorizationPolicy({ name: 'all' })
  const one = before.snapshot()
  const [pod] = [...one.workloadByUid.values()]
  assert.ok(pod !== undefined)
  const other = { ...one, servicesByEndpoint: world().snapshot().servicesByEndpoint }
  const [behind, bare] = [protectionOf(one, pod, 8080), protectionOf(one, pod, 1)]
  const next = one.protections.after(one, other)
  assert.notEqual(next, one.protections)
  assert.deepEqual(
    next.of(other, pod, 8080).table?.policies.map(({ ref }) => ref.name),
    ['all'],
  )
  assert.equal(next.of(other, pod, 8080).table, bare.table)
  assert.equal(next.after(other, one).of(one, pod, 8080).table, behind.table)
  const fresh = { ...one, authorizationPolicies: world().snapshot().authorizationPolicies }
  assert.equal(next.after(other, fresh).of(fresh, pod, 8080).table, null)
})
