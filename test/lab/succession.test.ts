// Agents under a DaemonSet: one that was replaced stays idle and comes back when its successor is gone; the last one, told to
// stop while its DaemonSet is deleted, leaves nothing on the node.
import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { V1Pod } from '@kubernetes/client-node'
import { programLog } from '../../lab/state.ts'
import { eventually, TestLab } from './lab.ts'
import { agentPids, commandOf, podManifest, sent, startAgent, statusNow, upWithAgents } from './mesh.ts'

/** An agent starts in a second or two, on a machine that has much else to do in more. */
const START_MS = 20_000
const DAEMON_SETS = '/apis/apps/v1/namespaces/weft-system/daemonsets'

/** It suits no node: agents here are processes that the test starts. */
const DAEMON_SET = {
  apiVersion: 'apps/v1',
  kind: 'DaemonSet',
  metadata: { name: 'weft-agent' },
  spec: {
    selector: { matchLabels: { of: 'nobody' } },
    template: {
      metadata: { labels: { of: 'nobody' } },
      spec: { nodeSelector: { no: 'node' }, containers: [{ name: 'agent', image: 'none' }] },
    },
  },
}

const MANIFESTS = [
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'shop', annotations: { 'weft.dev/mesh': 'enabled' } },
  }),
  podManifest({ name: 'web', namespace: 'shop', node: 'node-1' }),
  podManifest({
    ...{ name: 'closed', namespace: 'shop', node: 'node-1' },
    annotations: { 'weft.dev/on-agent-loss': 'closed' },
  }),
].join('\n---\n')

let lab: TestLab
let first: { readonly pid: number; readonly command: readonly string[] }

before(async () => {
  lab = await TestLab.make()
  await upWithAgents(lab, MANIFESTS, [
    'daemonset=weft-agent',
    'when-replaced=stay',
    'account-seconds=1',
    'drain-seconds=1',
  ])
  await sent(lab, 'POST', DAEMON_SETS, DAEMON_SET)
  const [pid = 0] = agentPids(lab, 'node-1')
  first = { pid, command: commandOf(pid) }
})
after(() => lab.end())

const logOf = (suffix = ''): string => {
  const file = programLog(lab.place, 'agent', 'node-1') + suffix
  return existsSync(file) ? readFileSync(file, 'utf8') : ''
}
const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null
const end = async (agent: ChildProcess, signal: NodeJS.Signals): Promise<void> => {
  agent.kill(signal)
  if (!hasEnded(agent)) await once(agent, 'exit')
}
const isWhole = async (): Promise<boolean> => (await statusNow(lab)).whole
/** What outlives an agent of node-1, by name. */
const traces = (): Record<string, boolean> => ({
  pins: existsSync(join(lab.place.bpf, 'node-1')),
  'run folder': existsSync(join(lab.place.run, 'node-1')),
})

test('an agent that was replaced stays idle, and ends once its successor is gone', async () => {
  const second = await startAgent(lab, 'node-1', first.command)
  await eventually('the first is idle', () => Promise.resolve(logOf().includes('replaced: idle')), START_MS)
  await eventually('the second serves', isWhole, START_MS)
  assert.deepEqual(agentPids(lab, 'node-1').toSorted(), [first.pid, second.pid ?? 0].toSorted())
  await end(second, 'SIGKILL')
  await eventually('the first ends', () => Promise.resolve(agentPids(lab, 'node-1').length === 0), 30_000)
  assert.match(logOf(), /the agent that had replaced this one goes or is gone/)
})

/** As a rollback leaves it: a pod of the agents beside the one that is told to stop. */
const OTHER_POD = {
  metadata: {
    name: 'weft-agent-other',
    labels: { app: 'weft-agent' },
    annotations: { 'kubernetes.io/config.mirror': 'x' },
  },
  spec: { nodeName: 'node-1', hostNetwork: true, containers: [{ name: 'agent', image: 'none' }] },
}

test('one that is told to stop goes on until the idle one, started anew, has taken its place back', async () => {
  const idle = await startAgent(lab, 'node-1', first.command)
  await eventually('it serves', isWhole, START_MS)
  const active = await startAgent(lab, 'node-1', first.command)
  await eventually('it is idle', () => Promise.resolve(/replaced: idle/.test(logOf('.next'))), START_MS)
  await sent(lab, 'POST', '/api/v1/namespaces/weft-system/pods', OTHER_POD)
  active.kill('SIGTERM')
  if (!hasEnded(idle)) await once(idle, 'exit')
  assert.ok(!hasEnded(active), 'it goes on meanwhile')
  const again = await startAgent(lab, 'node-1', first.command)
  if (!hasEnded(active)) await once(active, 'exit')
  assert.match(logOf('.next'), /"why":"taken".*agent stopping/)
  await eventually('the place is taken', isWhole, START_MS)
  await sent(lab, 'DELETE', '/api/v1/namespaces/weft-system/pods/weft-agent-other?gracePeriodSeconds=0')
  await end(again, 'SIGTERM')
})

test('an agent that is told to stop while its DaemonSet stands keeps what it has captured', async () => {
  const agent = await startAgent(lab, 'node-1', first.command)
  await eventually('it serves', isWhole, START_MS)
  await end(agent, 'SIGTERM')
  assert.equal(agent.exitCode, 0)
  assert.deepEqual(traces(), { pins: true, 'run folder': true })
})

test('the last agent lets all pods go and leaves nothing on its node', async () => {
  const agent = await startAgent(lab, 'node-1', first.command)
  await eventually('it serves', isWhole, START_MS)
  await sent(lab, 'DELETE', `${DAEMON_SETS}/weft-agent`)
  await end(agent, 'SIGTERM')
  assert.equal(agent.exitCode, 0)
  assert.deepEqual(traces(), { pins: false, 'run folder': false })
  const { items } = await lab.api.get<{ items: V1Pod[] }>('/api/v1/namespaces/shop/pods')
  assert.equal(items.length, 2)
  for (const { metadata: { name = '', annotations = {} } = {} } of items) {
    assert.equal(annotations['weft.dev/captured'], undefined, name)
  }
  // a closed pod dials and is dialled without an agent
  const dialled = await lab.js(
    'shop/closed',
    `console.log((await fetch('http://' + '${items[0]?.status?.podIP}:8080/ready')).status)`,
  )
  assert.equal(dialled, '200')
})
