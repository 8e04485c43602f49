import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { FakeCluster, templateOf } from '../fake-cluster.ts'
import { conditionOf } from './pods.ts'
import { REVISION } from './revisions.ts'

function cluster(t: TestContext, nodes?: number): FakeCluster {
  const made = new FakeCluster(nodes)
  t.after(() => {
    made.stop()
    assert.deepEqual(made.warnings, [])
  })
  return made
}

/** What `kubectl rollout status` waits for. */
function isRolledOut(box: FakeCluster, name: string): boolean {
  const { metadata, spec, status = {} } = box.deployment(name)
  const count = (field: string) => Number(status[field] ?? 0)
  const desired = spec.replicas ?? 1
  return (
    count('observedGeneration') >= (metadata.generation ?? 0) &&
    count('updatedReplicas') >= desired &&
    count('replicas') <= count('updatedReplicas') &&
    count('availableReplicas') >= count('updatedReplicas')
  )
}

const imagesOf = (box: FakeCluster, app: string) => box.pods(app).map(({ metadata }) => metadata.labels?.['version'])

test('a Deployment becomes a ReplicaSet and pods with the names that Kubernetes gives', (t) => {
  const box = cluster(t)
  box.deploy('reviews-v1', { replicas: 2 })
  const [set] = box.replicaSets()
  assert.match(set!.metadata.name, /^reviews-v1-[bcdfghjklmnpqrstvwxz2456789]{7,10}$/)
  for (const { metadata } of box.pods()) {
    assert.match(metadata.name, new RegExp(`^${set!.metadata.name}-[bcdfghjklmnpqrstvwxz2456789]{5}$`))
    assert.equal(metadata.labels?.['pod-template-hash'], set!.metadata.labels?.['pod-template-hash'])
    assert.equal(metadata.ownerReferences?.[0]?.uid, set!.metadata.uid)
  }
  assert.equal(box.pods().length, 2)
  assert.ok(isRolledOut(box, 'reviews-v1'))
  assert.equal(conditionOf(box.deployment('reviews-v1'), 'Available')?.status, 'True')
  assert.equal(conditionOf(box.deployment('reviews-v1'), 'Progressing')?.reason, 'NewReplicaSetAvailable')
})

test('a deleted pod is replaced, and a changed count is met', (t) => {
  const box = cluster(t)
  box.deploy('web', { replicas: 3 })
  const [first] = box.pods()
  box.store.delete('pods', 'default', first!.metadata.name)
  box.settle()
  assert.equal(box.pods().length, 3)
  assert.ok(!box.pods().some(({ metadata }) => metadata.uid === first!.metadata.uid))
  box.change('deployments.apps', 'web', (spec) => (spec['replicas'] = 1))
  assert.equal(box.pods().length, 1)
  box.change('deployments.apps', 'web', (spec) => (spec['replicas'] = 0))
  assert.equal(box.pods().length, 0)
  assert.ok(isRolledOut(box, 'web'))
})

test('a rolling update never has more or fewer pods than surge and unavailability allow', (t) => {
  const box = cluster(t)
  box.deploy('web', { replicas: 4, strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 1 } } })
  let most = 0
  let fewest = Infinity
  box.store.watch('replicasets.apps', () => {
    most = Math.max(
      most,
      box.replicaSets().reduce((total, { spec }) => total + (spec.replicas ?? 1), 0),
    )
  })
  box.store.watch('pods', () => {
    const live = box.pods('web').filter(({ metadata }) => !metadata.deletionTimestamp)
    fewest = Math.min(fewest, live.filter((pod) => conditionOf(pod, 'Ready')?.status === 'True').length)
  })
  box.change('deployments.apps', 'web', (spec) => (spec['template'] = templateOf('web', 'v2')))
  assert.deepEqual(imagesOf(box, 'web'), ['v2', 'v2', 'v2', 'v2'])
  assert.equal(most, 5)
  assert.equal(fewest, 3)
  assert.ok(isRolledOut(box, 'web'))
})

test('a new version that never gets ready leaves the old one serving, and is reported after its deadline', (t) => {
  const box = cluster(t)
  box.deploy('web', { replicas: 4, progressDeadlineSeconds: 60 })
  box.unhealthy.add('v2')
  box.change('deployments.apps', 'web', (spec) => (spec['template'] = templateOf('web', 'v2')))
  assert.equal(imagesOf(box, 'web').filter((version) => version === 'v1').length, 3)
  assert.equal(conditionOf(box.deployment('web'), 'Progressing')?.reason, 'ReplicaSetUpdated')
  assert.ok(!isRolledOut(box, 'web'))
  box.clock.advance(61_000)
  const progress = conditionOf(box.deployment('web'), 'Progressing')
  assert.deepEqual([progress?.status, progress?.reason], ['False', 'ProgressDeadlineExceeded'])
  assert.equal(conditionOf(box.deployment('web'), 'Available')?.status, 'True')
})

test('going back to an earlier template takes its ReplicaSet up again under a new revision', (t) => {
  const box = cluster(t)
  box.deploy('web')
  const [first] = box.replicaSets()
  box.change('deployments.apps', 'web', (spec) => (spec['template'] = templateOf('web', 'v2')))
  assert.equal(box.deployment('web').metadata.annotations?.[REVISION], '2')
  box.change('deployments.apps', 'web', (spec) => (spec['template'] = templateOf('web', 'v1')))
  assert.equal(box.replicaSets().length, 2)
  assert.equal(box.deployment('web').metadata.annotations?.[REVISION], '3')
  const again = box.replicaSets().find(({ metadata }) => metadata.uid === first!.metadata.uid)
  assert.equal(again?.metadata.annotations?.[REVISION], '3')
  assert.deepEqual(imagesOf(box, 'web'), ['v1'])
})

test('a template that kubectl sends back with null members is the same template', (t) => {
  const box = cluster(t)
  box.deploy('web')
  box.change('deployments.apps', 'web', (spec) => {
    const template = templateOf('web', 'v1')
    spec['template'] = { ...template, metadata: { ...template.metadata, creationTimestamp: null } }
  })
  assert.equal(box.replicaSets().length, 1)
})

test('only as many old ReplicaSets are kept as the history limit says', (t) => {
  const box = cluster(t)
  box.deploy('web', { revisionHistoryLimit: 1 })
  for (const version of ['v2', 'v3', 'v4']) {
    box.change('deployments.apps', 'web', (spec) => (spec['template'] = templateOf('web', version)))
  }
  assert.deepEqual(
    box
      .replicaSets()
      .map(({ metadata }) => metadata.annotations?.[REVISION])
      .sort(),
    ['3', '4'],
  )
})

test('Recreate starts nothing new before the last old pod is gone', (t) => {
  const box = cluster(t)
  box.deploy('web', { replicas: 2, strategy: { type: 'Recreate' } })
  let mixed = false
  box.store.watch('pods', () => (mixed ||= new Set(imagesOf(box, 'web')).size > 1))
  box.change('deployments.apps', 'web', (spec) => (spec['template'] = templateOf('web', 'v2')))
  assert.deepEqual(imagesOf(box, 'web'), ['v2', 'v2'])
  assert.equal(mixed, false)
})

test('a paused Deployment keeps its template, still scales, and goes on when resumed', (t) => {
  const box = cluster(t)
  box.deploy('web')
  box.change('deployments.apps', 'web', (spec) => {
    spec['paused'] = true
    spec['template'] = templateOf('web', 'v2')
    spec['replicas'] = 2
  })
  assert.deepEqual(imagesOf(box, 'web'), ['v1', 'v1'])
  assert.ok(!isRolledOut(box, 'web'))
  assert.equal(conditionOf(box.deployment('web'), 'Progressing')?.reason, 'DeploymentPaused')
  box.change('deployments.apps', 'web', (spec) => delete spec['paused'])
  assert.deepEqual(imagesOf(box, 'web'), ['v2', 'v2'])
})

test('minReadySeconds delays availability, not readiness', (t) => {
  const box = cluster(t)
  box.deploy('web', { minReadySeconds: 10 })
  assert.equal(box.deployment('web').status?.['readyReplicas'], 1)
  assert.equal(box.deployment('web').status?.['availableReplicas'], undefined)
  box.clock.advance(11_000)
  assert.equal(box.deployment('web').status?.['availableReplicas'], 1)
})

test('pods without an owner are adopted, and a relabelled pod is let go and replaced', (t) => {
  const box = cluster(t)
  box.deploy('web', { replicas: 2 })
  const set = box.replicaSets()[0]!
  const [pod] = box.pods('web')
  box.store.modify('pods', 'default', pod!.metadata.name, ({ metadata }) => (metadata.labels = { app: 'other' }))
  box.settle()
  assert.equal(box.pods('web').length, 2)
  assert.equal(box.pods('other')[0]!.metadata.ownerReferences, undefined)
  const labels = set.spec.template.metadata?.labels ?? {}
  box.store.modify('pods', 'default', pod!.metadata.name, ({ metadata }) => (metadata.labels = { ...labels }))
  box.settle()
  assert.equal(box.pods().length, 2)
})

test("two Deployments whose selectors overlap do not take each other's pods", (t) => {
  const box = cluster(t)
  const both = { selector: { matchLabels: { app: 'web' } } }
  box.deploy('one', { ...both, template: templateOf('web', 'v1') })
  box.deploy('two', { ...both, template: templateOf('web', 'v2'), replicas: 2 })
  assert.deepEqual(imagesOf(box, 'web').sort(), ['v1', 'v2', 'v2'])
})
