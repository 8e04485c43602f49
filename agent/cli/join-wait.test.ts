import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { KubeList } from '../kube/client.ts'
import { object } from '../kube/objects.fixture.ts'
import type { KubeObject } from '../kube/object.ts'
import type { Deed } from '../model/joining/scene.ts'
import { type Awaited, settled } from './join-wait.ts'

const CAPTURED = { annotations: { 'weft.dev/captured': 'weft-agent-1' } }
const pod = (name: string, isCaptured: boolean): KubeObject => object({ name, ...(isCaptured ? CAPTURED : {}) })

/** Waits for pods `a` and `b` of a cluster that answers these lists, one after another, the last one for ever. */
async function waited(deed: Deed, lists: readonly (readonly KubeObject[])[], timeoutMs = 5_000) {
  const left = [...lists]
  const client = {
    list: (): Promise<KubeList> => {
      const items = (left.length > 1 ? left.shift() : left[0]) ?? []
      return Promise.resolve({ resourceVersion: '1', items })
    },
  }
  const uids = new Set(['uid-default-a', 'uid-default-b'])
  const wish: Awaited = { deed, namespace: 'default', uids, nodes: ['node-1'], timeoutMs }
  const said: string[] = []
  const outcome = await settled(wish, { client, reach: () => Promise.resolve(null), say: (line) => said.push(line) })
  const { complete, done, gone, missing } = outcome
  return { said, outcome: { complete, done, gone, missing: missing.map(({ name }) => name) } }
}

test('it waits until all are captured, and says so each time it is another number', async () => {
  const { said, outcome } = await waited('join', [
    [pod('a', false), pod('b', false)],
    [pod('a', true), pod('b', false)],
    [pod('a', true), pod('b', false)],
    [pod('a', true), pod('b', true)],
  ])
  assert.deepEqual(said, ['0 of 2 pods captured', '1 of 2 pods captured', '2 of 2 pods captured'])
  assert.deepEqual(outcome, { complete: true, done: 2, gone: 0, missing: [] })
})

test('a pod that ended meanwhile, and one that is new, are not waited for', async () => {
  const { outcome } = await waited('join', [[pod('a', true), pod('new', false)]])
  assert.deepEqual(outcome, { complete: true, done: 1, gone: 1, missing: [] })
})

test('what is not captured in time is named', async () => {
  const { outcome } = await waited('join', [[pod('a', true), pod('b', false)]], 1)
  assert.deepEqual(outcome, { complete: false, done: 1, gone: 0, missing: ['b'] })
})

test('who leaves is waited for until nothing is announced; where agents cannot be asked that is all', async () => {
  const { said, outcome } = await waited('leave', [
    [pod('a', true), pod('b', false)],
    [pod('a', false), pod('b', false)],
  ])
  assert.deepEqual(said.slice(0, 2), ['1 of 2 pods let go', '2 of 2 pods let go'])
  assert.match(said[2] ?? '', /for some seconds more .* not all agents say/)
  assert.deepEqual(outcome, { complete: true, done: 2, gone: 0, missing: [] })
})
