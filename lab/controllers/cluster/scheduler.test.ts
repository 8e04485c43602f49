import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeCluster, templateOf } from '../fake-cluster.ts'
import { conditionOf } from '../workloads/pods.ts'

const perNode = (box: FakeCluster, app?: string) => {
  const counts: Record<string, number> = {}
  for (const { spec } of box.pods(app)) counts[spec.nodeName ?? 'none'] = (counts[spec.nodeName ?? 'none'] ?? 0) + 1
  return counts
}

test('the pods of one owner are spread over the nodes, and so are those of many', (t) => {
  const box = new FakeCluster(2)
  t.after(() => box.stop())
  box.deploy('web', { replicas: 4 })
  assert.deepEqual(perNode(box, 'web'), { 'node-1': 2, 'node-2': 2 })
  for (const name of ['a', 'b', 'c', 'd']) box.deploy(name)
  assert.deepEqual(perNode(box), { 'node-1': 4, 'node-2': 4 })
})

test('an owner has its pods on different nodes even if one of them is fuller', (t) => {
  const box = new FakeCluster(2)
  t.after(() => box.stop())
  const nodeSelector = { 'kubernetes.io/hostname': 'node-1' }
  box.deploy('heavy', { replicas: 5, template: templateOf('heavy', 'v1', { nodeSelector }) })
  box.deploy('web', { replicas: 2 })
  assert.deepEqual(perNode(box, 'web'), { 'node-1': 1, 'node-2': 1 })
})

test('a scheduled pod says so in a condition and an event', (t) => {
  const box = new FakeCluster(1)
  t.after(() => box.stop())
  box.deploy('web')
  const [pod] = box.pods('web')
  assert.equal(conditionOf(pod!, 'PodScheduled')?.status, 'True')
  const events = box.store.list('events').filter((event) => event['reason'] === 'Scheduled')
  assert.equal(events[0]?.['message'], `Successfully assigned default/${pod!.metadata.name} to node-1`)
})

test('a pod waits, and says why, until a node suits it', (t) => {
  const box = new FakeCluster(1)
  t.after(() => box.stop())
  box.deploy('web', { template: templateOf('web', 'v1', { nodeSelector: { disk: 'ssd' } }) })
  const waiting = conditionOf(box.pods('web')[0]!, 'PodScheduled')
  assert.deepEqual([waiting?.status, waiting?.reason], ['False', 'Unschedulable'])
  assert.equal(waiting?.message, "0/1 nodes are available: 1 didn't match Pod's node affinity/selector.")
  box.addNode('fast', { disk: 'ssd' })
  box.settle()
  assert.deepEqual(perNode(box, 'web'), { fast: 1 })
})

test('required node affinity is met by one of its terms', (t) => {
  const box = new FakeCluster(2)
  t.after(() => box.stop())
  const nodeSelectorTerms = [
    { matchExpressions: [{ key: 'absent', operator: 'Exists' }] },
    { matchFields: [{ key: 'metadata.name', operator: 'In', values: ['node-2'] }] },
  ]
  const affinity = { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } } }
  box.deploy('web', { replicas: 3, template: templateOf('web', 'v1', { affinity }) })
  assert.deepEqual(perNode(box, 'web'), { 'node-2': 3 })
})

test('no pod goes to a cordoned node or one that is not ready', (t) => {
  const box = new FakeCluster(2)
  t.after(() => box.stop())
  box.store.modify('nodes', null, 'node-1', (node) => (node.spec = { unschedulable: true }))
  box.deploy('web', { replicas: 2 })
  assert.deepEqual(perNode(box, 'web'), { 'node-2': 2 })
})
