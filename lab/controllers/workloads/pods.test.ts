import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Pod } from '../world/kinds.ts'
import { availableInMs, goingFirst, withCondition } from './pods.ts'

interface Trait {
  readonly node?: string
  readonly phase?: string
  readonly ready?: boolean
  readonly born?: number
}

function pod(name: string, { node = 'one', phase = 'Running', ready = true, born = 0 }: Trait = {}): Pod {
  const creationTimestamp = new Date(born * 1000).toISOString()
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, uid: name, namespace: 'default', resourceVersion: '1', creationTimestamp },
    spec: { containers: [], ...(node === '' ? {} : { nodeName: node }) },
    status: { phase, conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
  }
}

test('of surplus pods those go first that are missed least', () => {
  const pods = [
    pod('old', { node: 'two' }),
    pod('young', { node: 'two', born: 9 }),
    pod('crowded', { born: 1 }),
    pod('crowded too', { born: 1 }),
    pod('crowding', { born: 1 }),
    pod('unready', { node: 'three', ready: false }),
    pod('starting', { node: 'four', ready: true, phase: 'Pending' }),
    pod('unscheduled', { node: '', ready: true }),
  ]
  assert.deepEqual(
    goingFirst(pods).map(({ metadata }) => metadata.name),
    ['unscheduled', 'starting', 'unready', 'crowded', 'crowded too', 'crowding', 'young', 'old'],
  )
})

test('a pod is available once it has been ready for long enough', () => {
  const time = '2030-01-01T00:00:00Z'
  const ready = {
    ...pod('p'),
    status: { conditions: [{ type: 'Ready', status: 'True' as const, lastTransitionTime: time }] },
  }
  assert.equal(availableInMs(ready, 0, 0), 0)
  assert.equal(availableInMs(ready, 10, Date.parse(time) + 4_000), 6_000)
  assert.equal(availableInMs(ready, 10, Date.parse(time) + 10_000), 0)
  assert.equal(availableInMs(pod('p', { ready: false }), 0, 0), Infinity)
})

test('the transition time of a condition moves with its status alone', () => {
  const first = withCondition(undefined, { type: 'Ready', status: 'False', reason: 'A' }, 'one')
  const same = withCondition(first, { type: 'Ready', status: 'False', reason: 'B' }, 'two')
  const other = withCondition(same, { type: 'Ready', status: 'True' }, 'three')
  assert.deepEqual(
    [first, same, other].map(([condition]) => condition?.lastTransitionTime),
    ['one', 'one', 'three'],
  )
  assert.equal(same[0]?.reason, 'B')
})
