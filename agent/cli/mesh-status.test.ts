import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Workload } from '../model/workload.ts'
import { world } from '../model/world.fixture.ts'
import type { AgentStatus, PodStatus } from '../telemetry/status.ts'
import { type Answer, exitCode, meshStatus } from './mesh-status.ts'

function told(name: string, more: Partial<PodStatus> = {}): PodStatus {
  return {
    ...{ namespace: 'shop', name, uid: `uid-${name}`, ips: ['10.0.0.1'], state: 'captured', reason: null },
    ...{ onLoss: 'open', olderConnections: 0, modes: { others: 'PERMISSIVE', ports: {} } },
    certificate: { identity: null, notAfter: null, failure: null },
    ...more,
  }
}

function answer(node: string, pods: readonly PodStatus[] = [], more: Partial<AgentStatus> = {}): Answer {
  const status = { node, agent: `agent-${node}`, version: '0.1.0', state: 'ready', reasons: [], pods, ...more } as const
  return { node, status }
}

/** A joined pod as Kubernetes knows it. */
function joined(name: string, more: Partial<Workload> = {}): Workload {
  const known = world().pods('any', { namespace: 'shop' }).pod('any-1', 'shop')
  return { ...known, name, uid: `uid-${name}`, node: 'node-1', joined: true, ...more }
}

const standings = (answers: readonly Answer[], pods: readonly Workload[]) =>
  meshStatus({ answers, joined: pods }).pods.map(({ name, node, state, reason }) => [name, node, state, reason])

test('a mesh is whole when all agents are ready and every joined pod is captured; one that leaves is no matter', () => {
  const answers = [answer('node-1', [told('a'), told('b', { state: 'leaving' })]), answer('node-2')]
  const status = meshStatus({ answers, joined: [joined('a')] })
  assert.deepEqual([status.whole, exitCode(status)], [true, 0])
  assert.deepEqual(
    status.agents.map(({ node, state }) => [node, state]),
    [
      ['node-1', 'ready'],
      ['node-2', 'ready'],
    ],
  )
})

test('one agent that is not ready, or one joined pod that is not captured, is enough to end with 1', () => {
  const cases: Answer[] = [
    { node: 'node-1', silent: 'connection refused' },
    answer('node-1', [], { state: 'starting', reasons: ['waiting'] }),
    answer('node-1', [], { state: 'degraded', reasons: ['the data side does not answer'] }),
    answer('node-1', [told('a', { state: 'uncaptured', reason: 'hostNetwork' })]),
    answer('node-1', [told('a', { state: 'pending', reason: 'no process yet' })]),
  ]
  for (const one of cases) {
    const status = meshStatus({ answers: [one, answer('node-2')], joined: [] })
    assert.deepEqual([status.whole, exitCode(status)], [false, 1], JSON.stringify(one))
  }
})

test('the pods of a node without an agent are uncaptured, and no agent says what becomes of their traffic', () => {
  const answers: Answer[] = [{ node: 'node-1', silent: 'connection refused' }]
  const { agents, pods } = meshStatus({ answers, joined: [joined('a'), joined('b', { hostNetwork: true })] })
  assert.deepEqual(agents, [
    { node: 'node-1', agent: null, version: null, state: 'no agent', reasons: ['connection refused'] },
  ])
  assert.deepEqual(
    pods.map(({ name, state, reason, onLoss, olderConnections }) => [name, state, reason, onLoss, olderConnections]),
    [
      ['a', 'uncaptured', 'no agent on its node', null, null],
      ['b', 'uncaptured', 'hostNetwork', null, null],
    ],
  )
})

test('a joined pod that no agent tells of is not forgotten', () => {
  const starting = answer('node-2', [], { state: 'starting', reasons: ['waiting'] })
  const pods = [
    joined('a'),
    joined('b', { node: 'node-2' }),
    joined('c', { node: null }),
    joined('d', { node: 'gone' }),
  ]
  assert.deepEqual(standings([answer('node-1'), starting], pods), [
    ['d', 'gone', 'uncaptured', 'there is no node gone'],
    ['a', 'node-1', 'pending', 'its agent does not know it yet'],
    ['b', 'node-2', 'pending', 'its agent is starting'],
    ['c', null, 'pending', 'not scheduled to a node yet'],
  ])
})

test('what needs a look comes first: not ready before ready, not captured before older connections before the rest', () => {
  const pods = [
    told('pod-10'),
    told('pod-9'),
    told('old', { olderConnections: 3 }),
    told('leaves', { state: 'leaving' }),
    told('waits', { state: 'pending', reason: 'no process yet' }),
    told('host', { state: 'uncaptured', reason: 'hostNetwork' }),
  ]
  const answers = [answer('node-10', pods), answer('node-9'), answer('node-11', [], { state: 'degraded' })]
  const status = meshStatus({ answers, joined: [] })
  assert.deepEqual(
    status.agents.map(({ node }) => node),
    ['node-11', 'node-9', 'node-10'],
  )
  assert.deepEqual(
    status.pods.map(({ name }) => name),
    ['host', 'waits', 'leaves', 'old', 'pod-9', 'pod-10'],
  )
})

test('a namespace limits what is told and judged of pods, not of agents', () => {
  const pods = [told('a'), told('b', { namespace: 'other', state: 'uncaptured', reason: 'hostNetwork' })]
  const status = meshStatus({ answers: [answer('node-1', pods)], joined: [] }, 'shop')
  assert.deepEqual([status.whole, status.pods.map(({ name }) => name)], [true, ['a']])
  const silent = meshStatus({ answers: [{ node: 'node-1', silent: 'refused' }], joined: [] }, 'shop')
  assert.equal(silent.whole, false)
})
