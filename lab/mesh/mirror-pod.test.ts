import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { V1Pod } from '@kubernetes/client-node'
import { isMirror, mirrorPod, mirrorStatus, seenAt, UNSEEN, type Program, type Seen } from './mirror-pod.ts'

const PROGRAM: Program = { role: 'agent', node: 'node-2', address: '10.0.0.2' }
const [FIRST, SECOND, THIRD] = ['2026-01-01T00:00:01Z', '2026-01-01T00:00:02Z', '2026-01-01T00:00:03Z']

const UP = { running: true, ready: true }
const DOWN = { running: false, ready: false }

/** The pod with the status that is written of it, as kubectl reads it. */
function shown(seen: Seen, now: string, before?: V1Pod): V1Pod {
  const pod = before ?? mirrorPod(PROGRAM)
  return { ...pod, status: mirrorStatus(pod, PROGRAM, seen, now) }
}

const ready = ({ status }: V1Pod): unknown =>
  status?.conditions?.filter(({ type }) => type === 'Ready').map((each) => [each.status, each.lastTransitionTime])[0]

test('a pod that shows a program is one, and no other', () => {
  assert.ok(isMirror(mirrorPod(PROGRAM)))
  assert.ok(!isMirror({ metadata: { annotations: { other: '' } } }))
  assert.ok(!isMirror({}))
})

test('a program that is seen, gone and seen again is ready, not ready, and ready once more', () => {
  const pending = shown(UNSEEN, FIRST)
  assert.deepEqual([pending.status?.phase, ready(pending)], ['Pending', ['False', FIRST]])
  const one = seenAt(UNSEEN, UP, SECOND)
  const running = shown(one, SECOND, pending)
  assert.deepEqual([running.status?.phase, ready(running)], ['Running', ['True', SECOND]])
  assert.deepEqual([running.status?.podIP, running.status?.hostIP], ['10.0.0.2', '10.0.0.2'])
  const two = seenAt(one, DOWN, THIRD)
  const gone = shown(two, THIRD, running)
  assert.deepEqual([gone.status?.phase, ready(gone)], ['Running', ['False', THIRD]])
  assert.deepEqual(gone.status?.containerStatuses?.[0]?.state?.terminated?.reason, 'ContainerStatusUnknown')
  const again = shown(seenAt(two, UP, THIRD), THIRD, gone)
  assert.deepEqual([ready(again), again.status?.containerStatuses?.[0]?.restartCount], [['True', THIRD], 1])
})

test('a program that runs and is not ready yet has no ready pod', () => {
  const starting = seenAt(UNSEEN, { running: true, ready: false }, FIRST)
  const before = shown(starting, FIRST)
  assert.deepEqual([before.status?.phase, ready(before)], ['Running', ['False', FIRST]])
  assert.deepEqual(ready(shown(seenAt(starting, UP, SECOND), SECOND, before)), ['True', SECOND])
})

test('as long as nothing happens nothing else is said', () => {
  const one = seenAt(UNSEEN, UP, FIRST)
  assert.equal(seenAt(one, UP, SECOND), one)
  const before = shown(one, FIRST)
  assert.deepEqual(shown(one, SECOND, before), before)
})
