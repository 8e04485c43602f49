import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { V1Pod } from '@kubernetes/client-node'
import { type ClusterObjects, standingOf } from './standing.ts'

const pod = (fields: V1Pod = {}): V1Pod => ({
  metadata: { name: 'p', namespace: 'shop', ...fields.metadata },
  spec: { nodeName: 'node-1', containers: [], ...fields.spec },
  status: fields.status ?? { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
})
const cluster = (fields: Partial<ClusterObjects>): ClusterObjects => ({
  ...{ namespaces: [], pods: [], deployments: [], statefulSets: [], daemonSets: [] },
  ...fields,
})
const joined = [{ metadata: { name: 'shop', annotations: { 'weft.dev/mesh': 'enabled' } } }]

test('a cluster without workloads is ready', () => {
  assert.deepEqual(standingOf(cluster({}), true), { pods: [], missing: [] })
})

test('a joined pod is waited for until it is captured; without a mesh it is not', () => {
  const objects = cluster({ namespaces: joined, pods: [pod()] })
  assert.deepEqual(standingOf(objects, true).missing, ['shop/p (not captured yet)'])
  assert.deepEqual(standingOf(objects, false).missing, [])
  const captured = cluster({
    namespaces: joined,
    pods: [pod({ metadata: { annotations: { 'weft.dev/captured': 'a' } } })],
  })
  assert.deepEqual(standingOf(captured, true).missing, [])
})

test('a pod asks itself out of the mesh, or its host network keeps it out', () => {
  for (const out of [
    pod({ metadata: { labels: { 'weft.dev/mesh': 'disabled' } } }),
    pod({ spec: { containers: [], hostNetwork: true } }),
  ]) {
    assert.deepEqual(standingOf(cluster({ namespaces: joined, pods: [out] }), true).missing, [])
  }
})

test('what keeps a container waiting is told', () => {
  const waiting = { name: 'c', image: 'i', imageID: '', ready: false, restartCount: 0 }
  const status = {
    phase: 'Pending',
    containerStatuses: [{ ...waiting, state: { waiting: { reason: 'ErrImagePull', message: 'none' } } }],
  }
  assert.deepEqual(standingOf(cluster({ pods: [pod({ status })] }), true).missing, ['shop/p (ErrImagePull: none)'])
})

test('a deployment is waited for before its pods exist', () => {
  const deployment = { metadata: { name: 'web', generation: 1 }, spec: { replicas: 2, selector: {}, template: {} } }
  assert.deepEqual(standingOf(cluster({ deployments: [deployment] }), true).missing, ['deployment/web (0 of 2)'])
  const seen = { ...deployment, status: { observedGeneration: 1, readyReplicas: 2 } }
  assert.deepEqual(standingOf(cluster({ deployments: [seen] }), true).missing, [])
})

test("a pod that has done its work is ready, one that is being deleted is nobody's wait", () => {
  const done = pod({ status: { phase: 'Succeeded' } })
  const gone = pod({ metadata: { deletionTimestamp: new Date(0) }, status: { phase: 'Pending' } })
  assert.deepEqual(standingOf(cluster({ namespaces: joined, pods: [done, gone] }), true).missing, [])
})
