import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { FakeCluster, templateOf } from '../fake-cluster.ts'
import { as, type Job } from '../world/kinds.ts'
import { conditionOf } from './pods.ts'

function cluster(t: TestContext, nodes = 2): FakeCluster {
  const made = new FakeCluster(nodes)
  t.after(() => {
    made.stop()
    assert.deepEqual(made.warnings, [])
  })
  return made
}

const names = (box: FakeCluster, app: string) => box.pods(app).map(({ metadata }) => metadata.name)
const versions = (box: FakeCluster, app: string) => box.pods(app).map(({ metadata }) => metadata.labels?.['version'])

function workload(box: FakeCluster, kind: 'StatefulSet' | 'DaemonSet', spec: Record<string, unknown> = {}): void {
  box.apply(`${kind.toLowerCase()}s.apps`, kind, {
    metadata: { name: 'db' },
    spec: { selector: { matchLabels: { app: 'db' } }, template: templateOf('db', 'v1'), ...spec },
  })
}

test('a StatefulSet makes its pods in order, each when the one before is ready', (t) => {
  const box = cluster(t)
  const order: string[] = []
  box.store.watch('pods', ({ type, object }) => {
    const readyBefore = box.pods('db').filter((pod) => conditionOf(pod, 'Ready')?.status === 'True').length
    if (type === 'ADDED') order.push(`${object.metadata.name} after ${readyBefore}`)
  })
  workload(box, 'StatefulSet', { replicas: 3, serviceName: 'db' })
  assert.deepEqual(order, ['db-0 after 0', 'db-1 after 1', 'db-2 after 2'])
  const [first] = box.pods('db')
  assert.deepEqual([first!.spec.hostname, first!.spec.subdomain], ['db-0', 'db'])
})

test('a StatefulSet whose first pod is not ready waits, unless it may start in parallel', (t) => {
  const box = cluster(t)
  box.unhealthy.add('v1')
  workload(box, 'StatefulSet', { replicas: 3 })
  assert.deepEqual(names(box, 'db'), ['db-0'])
  box.store.delete('statefulsets.apps', 'default', 'db')
  box.settle()
  assert.deepEqual(names(box, 'db'), [])
  workload(box, 'StatefulSet', { replicas: 3, podManagementPolicy: 'Parallel' })
  assert.deepEqual(names(box, 'db'), ['db-0', 'db-1', 'db-2'])
})

test('a StatefulSet shrinks from its end and gives a replaced pod its old name', (t) => {
  const box = cluster(t)
  workload(box, 'StatefulSet', { replicas: 3 })
  box.store.delete('pods', 'default', 'db-1')
  box.settle()
  assert.deepEqual(names(box, 'db'), ['db-0', 'db-1', 'db-2'])
  box.change('statefulsets.apps', 'db', (spec) => (spec['replicas'] = 1))
  assert.deepEqual(names(box, 'db'), ['db-0'])
})

test('a StatefulSet updates from its end down to the partition, and remakes those below from the old template', (t) => {
  const box = cluster(t)
  workload(box, 'StatefulSet', { replicas: 3 })
  box.change('statefulsets.apps', 'db', (spec) => {
    spec['template'] = templateOf('db', 'v2')
    spec['updateStrategy'] = { type: 'RollingUpdate', rollingUpdate: { partition: 2 } }
  })
  assert.deepEqual(versions(box, 'db'), ['v1', 'v1', 'v2'])
  box.store.delete('pods', 'default', 'db-0')
  box.settle()
  assert.deepEqual(versions(box, 'db'), ['v1', 'v1', 'v2'])
  box.change('statefulsets.apps', 'db', (spec) => (spec['updateStrategy'] = { type: 'RollingUpdate' }))
  assert.deepEqual(versions(box, 'db'), ['v2', 'v2', 'v2'])
  const status = box.store.get('statefulsets.apps', 'default', 'db')?.status as Record<string, unknown>
  assert.equal(status['currentRevision'], status['updateRevision'])
  assert.equal(status['readyReplicas'], 3)
})

test('a claimed volume becomes a volume of the pod, and an event says that it is not kept', (t) => {
  const box = cluster(t)
  workload(box, 'StatefulSet', { volumeClaimTemplates: [{ metadata: { name: 'disk' }, spec: {} }] })
  assert.deepEqual(
    box.pods('db')[0]?.spec.volumes?.map(({ name }) => name),
    ['disk'],
  )
  assert.ok(box.store.list('events').some((event) => event['reason'] === 'VolumesNotKept'))
})

test('a DaemonSet has one pod on each node that suits it, cordoned ones too, also on nodes that come later', (t) => {
  const box = cluster(t, 0)
  box.addNode('one', { role: 'edge' })
  box.addNode('two', { role: 'edge' })
  box.addNode('three')
  box.store.modify('nodes', null, 'two', (node) => (node.spec = { unschedulable: true }))
  workload(box, 'DaemonSet', { template: templateOf('db', 'v1', { nodeSelector: { role: 'edge' } }) })
  const places = () =>
    box
      .pods('db')
      .map(({ spec }) => spec.nodeName)
      .sort()
  assert.deepEqual(places(), ['one', 'two'])
  box.addNode('four', { role: 'edge' })
  box.settle()
  assert.deepEqual(places(), ['four', 'one', 'two'])
  box.store.modify('nodes', null, 'one', ({ metadata }) => (metadata.labels = {}))
  box.settle()
  assert.deepEqual(places(), ['four', 'two'])
  const status = box.store.get('daemonsets.apps', 'default', 'db')?.status as Record<string, unknown>
  assert.deepEqual([status['desiredNumberScheduled'], status['numberReady'], status['numberMisscheduled']], [2, 2, 0])
})

test('a DaemonSet updates node by node, and stops at one that does not get ready', (t) => {
  const box = cluster(t, 3)
  workload(box, 'DaemonSet')
  box.unhealthy.add('v2')
  box.change('daemonsets.apps', 'db', (spec) => (spec['template'] = templateOf('db', 'v2')))
  assert.deepEqual(versions(box, 'db').sort(), ['v1', 'v1', 'v2'])
  box.change('daemonsets.apps', 'db', (spec) => (spec['template'] = templateOf('db', 'v3')))
  assert.deepEqual(versions(box, 'db'), ['v3', 'v3', 'v3'])
})

const job = (box: FakeCluster) => as<Job>(box.store.get('jobs.batch', 'default', 'work')!)

function run(box: FakeCluster, spec: Record<string, unknown>): void {
  box.apply('jobs.batch', 'Job', {
    metadata: { name: 'work' },
    spec: { template: templateOf('work', 'v1', { restartPolicy: 'Never' }), ...spec },
  })
}

function end(box: FakeCluster, phase: string): void {
  for (const { metadata, status } of box.pods('work')) {
    if (status?.phase === 'Running') box.setReady(metadata.name, false, phase)
  }
  box.settle()
}

test('a Job runs its pods until enough have succeeded, no more at once than it may', (t) => {
  const box = cluster(t)
  run(box, { completions: 3, parallelism: 2 })
  assert.equal(box.pods('work').length, 2)
  end(box, 'Succeeded')
  assert.equal(box.pods('work').length, 3)
  assert.equal(conditionOf(job(box), 'Complete'), undefined)
  end(box, 'Succeeded')
  assert.equal(conditionOf(job(box), 'Complete')?.status, 'True')
  assert.equal(box.pods('work').length, 3)
})

test('a Job tries a failed pod again after a while, and gives up at its limit', (t) => {
  const box = cluster(t)
  run(box, { backoffLimit: 1 })
  end(box, 'Failed')
  assert.equal(box.pods('work').length, 1)
  box.clock.advance(11_000)
  assert.equal(box.pods('work').length, 2)
  end(box, 'Failed')
  assert.equal(conditionOf(job(box), 'Failed')?.reason, 'BackoffLimitExceeded')
  box.clock.advance(3_600_000)
  assert.equal(box.pods('work').length, 2)
})

test('an ended Job goes when its time to live is over', (t) => {
  const box = cluster(t)
  run(box, { ttlSecondsAfterFinished: 60 })
  end(box, 'Succeeded')
  box.clock.advance(59_000)
  assert.ok(box.store.get('jobs.batch', 'default', 'work'))
  box.clock.advance(2_000)
  assert.equal(box.store.get('jobs.batch', 'default', 'work'), undefined)
  assert.equal(box.pods('work').length, 0)
})

test('a Job of a kind that is not carried out says so', (t) => {
  const box = cluster(t)
  run(box, { completionMode: 'Indexed' })
  assert.equal(conditionOf(job(box), 'Failed')?.reason, 'Unsupported')
  assert.equal(box.pods('work').length, 0)
})
