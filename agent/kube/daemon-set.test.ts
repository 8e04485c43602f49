import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KubeError } from './client.ts'
import { daemonSetPath, hasOtherPod, isGoing } from './daemon-set.ts'
import { MemoryApi } from './memory-api.fixture.ts'

const PLACE = { namespace: 'weft-system', name: 'weft-agent' }
const PATH = daemonSetPath(PLACE.namespace, PLACE.name)
const METADATA = { ...PLACE, uid: 'u', resourceVersion: '1' }
const WITHIN_MS = 100

test('a DaemonSet goes once it is being deleted, and when it is not there', async () => {
  const api = new MemoryApi()
  assert.equal(await isGoing(api, PLACE, WITHIN_MS), true)
  api.put(PATH, { metadata: METADATA })
  assert.equal(await isGoing(api, PLACE, WITHIN_MS), false)
  api.put(PATH, { metadata: { ...METADATA, deletionTimestamp: '2026-01-01T00:00:00Z' } })
  assert.equal(await isGoing(api, PLACE, WITHIN_MS), true)
})

test('where it cannot be asked nobody knows', async () => {
  for (const status of [0, 401, 403, 500]) {
    const api = new MemoryApi()
    api.before = () => {
      throw new KubeError(status, 'no')
    }
    await assert.rejects(isGoing(api, PLACE, WITHIN_MS), KubeError)
  }
})

test('the next pod is another one of the same node that is not about to end', async () => {
  const asked: unknown[] = []
  const has = (pods: { name: string; deletionTimestamp?: string; phase?: string }[]): Promise<boolean> =>
    hasOtherPod(
      {
        list: (path, query, isPartial, withinMs) => {
          asked.push([path, query, isPartial, withinMs])
          return Promise.resolve({
            resourceVersion: '1',
            items: pods.map(({ phase, ...each }) => ({ metadata: { ...METADATA, ...each }, status: { phase } })),
          })
        },
      },
      { ...PLACE, node: 'n', pod: 'mine' },
      WITHIN_MS,
    )
  assert.equal(await has([{ name: 'mine' }]), false)
  assert.equal(await has([{ name: 'mine', deletionTimestamp: 'x' }, { name: 'next' }]), true)
  assert.equal(await has([{ name: 'mine' }, { name: 'before', deletionTimestamp: 'x' }]), false)
  assert.equal(await has([{ name: 'mine' }, { name: 'evicted', phase: 'Failed' }]), false)
  assert.equal(await has([{ name: 'mine' }, { name: 'next', phase: 'Pending' }]), true)
  const query = { labelSelector: 'app=weft-agent', fieldSelector: 'spec.nodeName=n' }
  assert.deepEqual(asked[0], ['/api/v1/namespaces/weft-system/pods', query, false, WITHIN_MS])
})
