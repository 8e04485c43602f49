import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { FakeCluster } from '../fake-cluster.ts'

function cluster(t: TestContext): FakeCluster {
  const made = new FakeCluster(1)
  t.after(() => {
    made.stop()
    assert.deepEqual(made.warnings, [])
  })
  return made
}

const counts = (box: FakeCluster) => [
  box.store.list('deployments.apps').length,
  box.replicaSets().length,
  box.pods().length,
]

test('deleting a Deployment takes its ReplicaSets and their pods along', (t) => {
  const box = cluster(t)
  box.deploy('web', { replicas: 2 })
  assert.deepEqual(counts(box), [1, 1, 2])
  box.store.delete('deployments.apps', 'default', 'web')
  assert.equal(box.replicaSets().length, 1, 'in the background')
  box.settle()
  assert.deepEqual(counts(box), [0, 0, 0])
})

test('in the foreground a Deployment stays until its pods are gone', (t) => {
  const box = cluster(t)
  box.deploy('web', { replicas: 2 })
  const seen: number[][] = []
  box.store.watch('deployments.apps', ({ type }) => type === 'DELETED' && seen.push(counts(box)))
  box.store.delete('deployments.apps', 'default', 'web', { propagationPolicy: 'Foreground' })
  box.settle()
  assert.deepEqual(seen, [[0, 0, 0]])
})

test('orphaning leaves the ReplicaSet without an owner, and a new Deployment adopts it', (t) => {
  const box = cluster(t)
  box.deploy('web', { replicas: 2 })
  const [set] = box.replicaSets()
  box.store.delete('deployments.apps', 'default', 'web', { propagationPolicy: 'Orphan' })
  box.settle()
  assert.deepEqual(counts(box), [0, 1, 2])
  assert.equal(box.replicaSets()[0]!.metadata.ownerReferences, undefined)
  box.deploy('web', { replicas: 2 })
  assert.deepEqual(
    box.replicaSets().map(({ metadata }) => metadata.uid),
    [set!.metadata.uid],
  )
  assert.deepEqual(counts(box), [1, 1, 2])
})

test('an object with two owners stays with the one that is left', (t) => {
  const box = cluster(t)
  const owners = ['one', 'two'].map((name) => {
    const { metadata } = box.store.create('configmaps', { metadata: { name, namespace: 'default' } })
    return { apiVersion: 'v1', kind: 'ConfigMap', name, uid: metadata.uid }
  })
  box.apply('secrets', 'Secret', { metadata: { name: 'owned', ownerReferences: owners } })
  box.store.delete('configmaps', 'default', 'one')
  box.settle()
  assert.deepEqual(box.store.get('secrets', 'default', 'owned')?.metadata.ownerReferences, [owners[1]])
  box.store.delete('configmaps', 'default', 'two')
  box.settle()
  assert.equal(box.store.get('secrets', 'default', 'owned'), undefined)
})

test('an object that names an owner of another life is removed, one of a kind that is not served is kept', (t) => {
  const box = cluster(t)
  const owner = { apiVersion: 'v1', kind: 'ConfigMap', name: 'gone', uid: 'never' }
  box.apply('secrets', 'Secret', { metadata: { name: 'stray', ownerReferences: [owner] } })
  assert.equal(box.store.get('secrets', 'default', 'stray'), undefined)
  const unknown = { apiVersion: 'example.org/v1', kind: 'Thing', name: 'x', uid: 'y' }
  box.apply('secrets', 'Secret', { metadata: { name: 'kept', ownerReferences: [unknown] } })
  assert.ok(box.store.get('secrets', 'default', 'kept'))
})

test('a deleted namespace empties without its controllers refilling it', (t) => {
  const box = cluster(t)
  box.store.create('namespaces', { metadata: { name: 'shop' } })
  box.settle()
  assert.ok(box.store.get('serviceaccounts', 'shop', 'default'), 'it began with its service account')
  box.store.create('replicasets.apps', {
    metadata: { name: 'web', namespace: 'shop' },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: 'web' } },
      template: {
        metadata: { labels: { app: 'web' } },
        spec: { containers: [{ name: 'web', image: 'x' }], nodeSelector: { nowhere: 'at all' } },
      },
    },
  })
  box.settle()
  assert.equal(box.store.list('pods', { namespace: 'shop' }).length, 2)
  box.store.delete('namespaces', null, 'shop')
  box.settle()
  assert.equal(box.store.get('namespaces', null, 'shop'), undefined)
  assert.equal(box.store.list('pods', { namespace: 'shop' }).length, 0)
})
