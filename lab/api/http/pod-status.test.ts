import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { podStatus } from './pod-status.ts'
import type { KubeObject } from '../object.ts'

function pod(status: object, change: { spec?: object; metadata?: object } = {}): KubeObject {
  const metadata = { name: 'p', uid: 'u', resourceVersion: '1', creationTimestamp: '', ...change.metadata }
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers: [{}, {}], ...change.spec }, status }
}

const running = { ready: true, restartCount: 0, state: { running: {} } }
const crashed = {
  ready: false,
  restartCount: 3,
  state: { waiting: { reason: 'CrashLoopBackOff' } },
  lastState: { terminated: { finishedAt: '2030-01-01T00:00:00Z' } },
}
const initContainers = [{}, {}]

describe('a pod in three words', () => {
  for (const [what, given, ready, reason, restarts] of [
    ['waits for a node', pod({ phase: 'Pending' }), '0/2', 'Pending', 0],
    ['runs', pod({ phase: 'Running', containerStatuses: [running, running] }), '2/2', 'Running', 0],
    ['crashes', pod({ phase: 'Running', containerStatuses: [running, crashed] }), '1/2', 'CrashLoopBackOff', 3],
    [
      'ended well',
      pod({ phase: 'Succeeded', containerStatuses: [{ state: { terminated: { reason: 'Completed', exitCode: 0 } } }] }),
      ...(['0/2', 'Completed', 0] as const),
    ],
    [
      'ended by a signal',
      pod({ phase: 'Failed', containerStatuses: [{ state: { terminated: { signal: 9, exitCode: 137 } } }] }),
      ...(['0/2', 'Signal:9', 0] as const),
    ],
    [
      'has one container done and one running',
      pod({
        phase: 'Running',
        conditions: [{ type: 'Ready', status: 'True' }],
        containerStatuses: [running, { state: { terminated: { reason: 'Completed', exitCode: 0 } } }],
      }),
      ...(['1/2', 'Running', 0] as const),
    ],
    [
      'is at its second init container',
      pod(
        { phase: 'Pending', initContainerStatuses: [{ state: { terminated: { exitCode: 0 } } }, { state: {} }] },
        { spec: { initContainers } },
      ),
      ...(['0/2', 'Init:1/2', 0] as const),
    ],
    [
      'has an init container that failed',
      pod(
        { phase: 'Pending', initContainerStatuses: [{ restartCount: 2, state: { terminated: { exitCode: 4 } } }] },
        { spec: { initContainers } },
      ),
      ...(['0/2', 'Init:ExitCode:4', 2] as const),
    ],
    [
      'is being deleted',
      pod(
        { phase: 'Running', containerStatuses: [running] },
        { metadata: { deletionTimestamp: '2030-01-01T00:00:00Z' } },
      ),
      ...(['1/2', 'Terminating', 0] as const),
    ],
  ] as const) {
    test(`${what}: ${reason}`, () => {
      const status = podStatus(given)
      assert.deepEqual([status.ready, status.reason, status.restarts], [ready, reason, restarts])
    })
  }

  test('the last restart is the latest of all containers', () => {
    const { lastRestart } = podStatus(pod({ containerStatuses: [crashed, running] }))
    assert.equal(lastRestart, '2030-01-01T00:00:00Z')
  })
})
