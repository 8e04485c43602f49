import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { V1Pod } from '@kubernetes/client-node'
import { type ContainerState, type PodFacts, podStatus } from './status.ts'

const T0 = '2026-01-01T00:00:00Z'
const T1 = '2026-01-01T00:01:00Z'
const pod = (restartPolicy = 'Always'): V1Pod => ({ metadata: { name: 'p' }, spec: { restartPolicy, containers: [] } })
const container = (fields: Partial<ContainerState> = {}): ContainerState => ({
  ...{ name: 'c', image: 'i', state: { kind: 'running', startedAt: T0 }, last: null, containerID: 'x', restarts: 0 },
  ...{ ready: true, started: true, keeps: true, ...fields },
})
const ended = (exitCode: number): ContainerState => {
  const state = {
    kind: 'terminated',
    exitCode,
    reason: 'Error',
    startedAt: T0,
    finishedAt: T1,
    containerID: 'x',
  } as const
  return container({ state, last: state, ready: false, started: false })
}
const facts = (fields: Partial<PodFacts>): PodFacts => ({
  ...{ init: [], main: [container()], initialized: true, hasNetwork: true, startTime: T0 },
  addresses: { pod: '10.244.1.2', host: '10.89.0.11' },
  ...fields,
})
interface Seen {
  phase: string
  conditions: { type: string; status: string; reason?: string; lastTransitionTime: string }[]
}
const statusOf = (of: V1Pod, given: PodFacts, now = T1): Seen => podStatus(of, given, now) as unknown as Seen
const conditionOf = (status: Seen, type: string): Seen['conditions'][number] | undefined =>
  status.conditions.find((each) => each.type === type)

test('a pod with all containers ready is Running and Ready', () => {
  const status = statusOf(pod(), facts({}))
  assert.equal(status.phase, 'Running')
  assert.equal(conditionOf(status, 'Ready')?.status, 'True')
})

test('a container that has never run keeps the pod Pending, one that crashed does not', () => {
  const waiting = { kind: 'waiting', reason: 'ErrImagePull' } as const
  assert.equal(statusOf(pod(), facts({ main: [container({ state: waiting, ready: false })] })).phase, 'Pending')
  const crashed = container({
    state: { kind: 'waiting', reason: 'CrashLoopBackOff' },
    last: ended(1).last,
    ready: false,
  })
  assert.equal(statusOf(pod(), facts({ main: [crashed] })).phase, 'Running')
})

test('an unready container is named in the reason, and the other conditions stay true', () => {
  const status = statusOf(pod(), facts({ main: [container({ ready: false })] }))
  assert.equal(conditionOf(status, 'Ready')?.reason, 'ContainersNotReady')
  assert.equal(conditionOf(status, 'Initialized')?.status, 'True')
})

test('the end of all containers ends a pod that is not restarted', () => {
  assert.equal(statusOf(pod('Never'), facts({ main: [ended(0)] })).phase, 'Succeeded')
  assert.equal(statusOf(pod('Never'), facts({ main: [ended(0), ended(1)] })).phase, 'Failed')
  assert.equal(statusOf(pod('OnFailure'), facts({ main: [ended(1)] })).phase, 'Running')
  assert.equal(statusOf(pod('Always'), facts({ main: [ended(0)] })).phase, 'Running')
})

test('before the init containers are done a pod is Pending and not Initialized', () => {
  const status = statusOf(pod(), facts({ init: [container({ keeps: false })], initialized: false }))
  assert.equal(status.phase, 'Pending')
  assert.equal(conditionOf(status, 'Initialized')?.status, 'False')
})

test('a condition keeps its time until it changes, and those of others are kept', () => {
  const first = statusOf(pod(), facts({}), T0)
  const scheduled = { type: 'PodScheduled', status: 'True' }
  const seen = { ...pod(), status: { conditions: [scheduled, ...first.conditions] } } as unknown as V1Pod
  assert.equal(conditionOf(statusOf(seen, facts({})), 'Ready')?.lastTransitionTime, T0)
  const changed = statusOf(seen, facts({ main: [container({ ready: false })] }))
  assert.equal(conditionOf(changed, 'Ready')?.lastTransitionTime, T1)
  assert.equal(conditionOf(changed, 'PodScheduled')?.status, 'True')
})

test('a readiness gate holds a pod back until its condition is true', () => {
  const gated = { ...pod(), spec: { containers: [], readinessGates: [{ conditionType: 'x/y' }] } }
  assert.equal(conditionOf(statusOf(gated, facts({})), 'Ready')?.status, 'False')
  const open = { ...gated, status: { conditions: [{ type: 'x/y', status: 'True' }] } }
  assert.equal(conditionOf(statusOf(open, facts({})), 'Ready')?.status, 'True')
})
