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

const WHOLE = { mesh: true, controller: true }

test('a cluster without workloads is ready', () => {
  assert.deepEqual(standingOf(cluster({}), WHOLE), { pods: [], missing: [] })
})

test('a joined pod is waited for until it is captured; without a mesh it is not', () => {
  const objects = cluster({ namespaces: joined, pods: [pod()] })
  assert.deepEqual(standingOf(objects, WHOLE).missing, ['shop/p (not captured yet)'])
  assert.deepEqual(standingOf(objects, { ...WHOLE, mesh: false }).missing, [])
  const captured = cluster({
    namespaces: joined,
    pods: [pod({ metadata: { annotations: { 'weft.dev/captured': 'a' } } })],
  })
  assert.deepEqual(standingOf(captured, WHOLE).missing, [])
})

test('a pod asks itself out of the mesh, or its host network keeps it out', () => {
  for (const out of [
    pod({ metadata: { labels: { 'weft.dev/mesh': 'disabled' } } }),
    pod({ spec: { containers: [], hostNetwork: true } }),
  ]) {
    assert.deepEqual(standingOf(cluster({ namespaces: joined, pods: [out] }), WHOLE).missing, [])
  }
})

test('what keeps a container waiting is told', () => {
  const waiting = { name: 'c', image: 'i', imageID: '', ready: false, restartCount: 0 }
  const status = {
    phase: 'Pending',
    containerStatuses: [{ ...waiting, state: { waiting: { reason: 'ErrImagePull', message: 'none' } } }],
  }
  assert.deepEqual(standingOf(cluster({ pods: [pod({ status })] }), WHOLE).missing, ['shop/p (ErrImagePull: none)'])
})

test('a deployment is waited for before its pods exist', () => {
  const deployment = { metadata: { name: 'web', generation: 1 }, spec: { replicas: 2, selector: {}, template: {} } }
  assert.deepEqual(standingOf(cluster({ deployments: [deployment] }), WHOLE).missing, ['deployment/web (0 of 2)'])
  const seen = { ...deployment, status: { observedGeneration: 1, readyReplicas: 2 } }
  assert.deepEqual(standingOf(cluster({ deployments: [seen] }), WHOLE).missing, [])
})

test("a pod that has done its work is ready, one that is being deleted is nobody's wait", () => {
  const done = pod({ status: { phase: 'Succeeded' } })
  const gone = pod({ metadata: { deletionTimestamp: new Date(0) }, status: { phase: 'Pending' } })
  assert.deepEqual(standingOf(cluster({ namespaces: joined, pods: [done, gone] }), WHOLE).missing, [])
})

test('without a controller nobody waits for agents, which are never ready then, nor for captures', () => {
  const status = { phase: 'Running', conditions: [{ type: 'Ready', status: 'False' }] }
  const agent = pod({
    status,
    metadata: { namespace: 'weft-system', name: 'a', annotations: { 'kubernetes.io/config.mirror': 'a' } },
  })
  assert.deepEqual(standingOf(cluster({ pods: [agent] }), { mesh: true, controller: false }).missing, [])
  assert.equal(standingOf(cluster({ pods: [agent] }), WHOLE).missing.length, 1)
})
