import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeCluster } from '../fake-cluster.ts'
import { as, type Node } from '../world/kinds.ts'
import { conditionOf, isReady } from '../workloads/pods.ts'
import { NODELESS_LIMIT_MS, SILENCE_LIMIT_MS } from './nodes.ts'

const readiness = (box: FakeCluster, name: string) =>
  conditionOf(as<Node>(box.store.get('nodes', null, name)!), 'Ready')?.status

test('a node that stops renewing its Lease is marked, and its pods serve no more', (t) => {
  const box = new FakeCluster(1)
  t.after(() => box.stop())
  box.deploy('web')
  const renewTime = new Date(box.clock.now()).toISOString()
  box.store.create('leases.coordination.k8s.io', {
    metadata: { name: 'node-1', namespace: 'kube-node-lease' },
    spec: { renewTime },
  })
  box.clock.advance(SILENCE_LIMIT_MS - 1)
  assert.equal(readiness(box, 'node-1'), 'True')
  assert.ok(isReady(box.pods('web')[0]!))
  box.clock.advance(2)
  assert.equal(readiness(box, 'node-1'), 'Unknown')
  assert.ok(!isReady(box.pods('web')[0]!))
})

test('a node without a Lease is taken at its word', (t) => {
  const box = new FakeCluster(1)
  t.after(() => box.stop())
  box.clock.advance(10 * SILENCE_LIMIT_MS)
  assert.equal(readiness(box, 'node-1'), 'True')
})

test('pods of a node that is gone are removed after a while, and made again elsewhere', (t) => {
  const box = new FakeCluster(2)
  t.after(() => box.stop())
  box.deploy('web', { replicas: 2 })
  box.store.delete('nodes', null, 'node-1')
  box.clock.advance(NODELESS_LIMIT_MS - 1)
  assert.equal(box.pods('web').filter(({ spec }) => spec.nodeName === 'node-1').length, 1)
  box.clock.advance(2)
  assert.deepEqual(
    box.pods('web').map(({ spec }) => spec.nodeName),
    ['node-2', 'node-2'],
  )
})

test('a node that comes back in time keeps its pods', (t) => {
  const box = new FakeCluster(1)
  t.after(() => box.stop())
  box.deploy('web')
  const [pod] = box.pods('web')
  box.store.delete('nodes', null, 'node-1')
  box.clock.advance(NODELESS_LIMIT_MS / 2)
  box.addNode('node-1')
  box.clock.advance(NODELESS_LIMIT_MS)
  assert.equal(box.pods('web')[0]?.metadata.uid, pod!.metadata.uid)
})
