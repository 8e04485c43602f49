import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Caller } from '../identity.ts'
import { DEFAULT_MESH_SETTINGS, type MeshSettings } from '../mesh-settings.ts'
import { world } from '../world.fixture.ts'
import { sourceOf } from './source.ts'

const mesh: MeshSettings = { ...DEFAULT_MESH_SETTINGS, trustDomain: 'td.example', trustDomainAliases: ['old.example'] }
const pods = world().pods('web', { namespace: 'shop', serviceAccount: 'web' }).pods('dark', { serviceAccount: '' })
const web: Caller = { kind: 'workload', workload: pods.pod('web-1', 'shop'), proof: 'netns' }
const peer = (trustDomain: string): Caller => {
  const id = { trustDomain, namespace: 'shop', serviceAccount: 'web' }
  return { kind: 'peer', id, workload: null, proof: 'tls', certificate: '' }
}

test('a caller of the mesh has all names that the mesh has', () => {
  const names = ['td.example', 'old.example', 'cluster.local']
  for (const caller of [web, peer('td.example'), peer('old.example')]) {
    const { principals, trustDomains, namespace, serviceAccount, ip } = sourceOf(caller, mesh, '10.0.0.1')
    assert.deepEqual(new Set(trustDomains), new Set(names))
    assert.deepEqual(new Set(principals), new Set(names.map((name) => `${name}/ns/shop/sa/web`)))
    assert.deepEqual([namespace, serviceAccount, ip], ['shop', 'shop/web', '10.0.0.1'])
  }
  assert.equal(sourceOf(peer('old.example'), mesh, '10.0.0.1').principals[0], 'old.example/ns/shop/sa/web')
})

test('a caller of another trust domain has its own name alone', () => {
  assert.deepEqual(sourceOf(peer('other.example'), mesh, '10.0.0.1').principals, ['other.example/ns/shop/sa/web'])
})

test('who is not proved has no name at all', () => {
  const source = sourceOf({ kind: 'unproven', why: 'plaintext' }, mesh, '10.0.0.1')
  assert.deepEqual(source, { principals: [], trustDomains: [], namespace: null, serviceAccount: null, ip: '10.0.0.1' })
})

test('a pod whose account nobody knows is of its namespace, and no principal', () => {
  const { principals, namespace, serviceAccount } = sourceOf(
    { kind: 'workload', workload: pods.pod('dark-1'), proof: 'netns' },
    mesh,
    '10.0.0.1',
  )
  assert.deepEqual([principals, namespace, serviceAccount], [[], 'default', null])
})

test('it is the same object until the mesh or the address is another', () => {
  const source = sourceOf(web, mesh, '10.0.0.1')
  assert.equal(sourceOf(web, mesh, '10.0.0.1'), source)
  assert.notEqual(sourceOf(web, mesh, '10.0.0.2'), source)
  assert.notEqual(sourceOf(web, { ...mesh }, '10.0.0.1'), source)
  assert.equal(sourceOf(web, mesh, '::ffff:10.0.0.1').ip, '10.0.0.1')
})
