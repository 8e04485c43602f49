import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Ending, status, ToldApi } from '../kube/api.fixture.ts'
import { object } from '../kube/objects.fixture.ts'
import type { KubeObject, Pod } from '../kube/object.ts'
import { Agents, sliceOf } from './agents.fixture.ts'
import { askMesh } from './ask-agents.ts'
import { openReach } from './reach.ts'

const ALL = { namespace: null, node: null }
const SLICES = '/apis/discovery.k8s.io/v1/namespaces/weft-system/endpointslices'
const node = (name: string): KubeObject => object({ name, namespace: '' })
const pod = (name: string, spec: Pod['spec'], more: object = {}): Pod => object<Pod>({ name, ...more }, { spec })
const agent = (name: string, pods: readonly object[] = []) => ({
  code: 200,
  body: { node: name, agent: `weft-${name}`, version: '0.1.0', state: 'ready', reasons: [], pods },
})
const TOLD = {
  ...{ namespace: 'shop', name: 'a', uid: 'uid-a', ips: ['10.0.0.1'], state: 'captured', reason: null },
  ...{ onLoss: 'open', olderConnections: 0 },
}

/** A cluster of nodes, an agent on each, with a joined and an unjoined namespace. */
async function cluster(t: Ending, ...nodes: readonly string[]) {
  const api = new ToldApi()
  const agents = new Agents(t)
  const client = agents.client(await api.start(t))
  api.lists('/api/v1/nodes', '1', ...nodes.map(node))
  const joins = { annotations: { 'weft.dev/mesh': 'enabled' } }
  api.lists('/api/v1/namespaces', '1', object({ name: 'shop', ...joins }), object({ name: 'aside' }))
  api.lists('/api/v1/pods', '1')
  api.lists(SLICES, '1', sliceOf(nodes))
  for (const name of nodes) agents.answers.set(`weft-${name}`, agent(name))
  const reach = await openReach(client, { namespace: 'weft-system', token: null })
  return { api, agents, reach }
}

test('each node’s agent is asked for its status', async (t) => {
  const { agents, reach } = await cluster(t, 'node-1', 'node-2')
  agents.answers.set('weft-node-2', agent('node-2', [TOLD]))
  const { answers } = await askMesh(reach, ALL)
  assert.deepEqual(answers, [
    { node: 'node-1', status: agent('node-1').body },
    { node: 'node-2', status: agent('node-2', [TOLD]).body },
  ])
  assert.deepEqual(
    agents.heard.map(({ url }) => url),
    ['/status', '/status'],
  )
})

test('joined are pods by their namespace’s or their own wish, as long as they have not ended', async (t) => {
  const { api, reach } = await cluster(t, 'node-1')
  const spec = { nodeName: 'node-1' }
  api.lists(
    '/api/v1/pods',
    '1',
    pod('a', spec, { namespace: 'shop' }),
    pod('out', spec, { namespace: 'shop', labels: { 'weft.dev/mesh': 'disabled' } }),
    pod('alone', spec, { namespace: 'aside', annotations: { 'weft.dev/mesh': 'enabled' } }),
    pod('aside', spec, { namespace: 'aside' }),
    { ...pod('over', spec, { namespace: 'shop' }), status: { phase: 'Succeeded' } },
  )
  const { joined } = await askMesh(reach, ALL)
  assert.deepEqual(
    joined.map(({ name }) => name),
    ['a', 'alone'],
  )
})

test('a node that does not answer as its agent would is silent, with the reason', async (t) => {
  const { agents, reach } = await cluster(t, 'old', 'other', 'text', 'odd', 'breaks')
  agents.answers.set('weft-old', { code: 404, body: 'one of /healthz /readyz' })
  agents.answers.set('weft-other', agent('elsewhere'))
  agents.answers.set('weft-text', { code: 200, body: 'hello' })
  agents.answers.set('weft-odd', agent('odd', [{ ...TOLD, state: 'dreaming' }]))
  agents.answers.set('weft-breaks', { code: 200, body: null })
  const { answers } = await askMesh(reach, ALL)
  assert.deepEqual(
    answers.map((answer) => ('silent' in answer ? answer.silent : answer)),
    [
      'its port 15020 answers HTTP 404: one of /healthz /readyz',
      'the agent there serves another node, elsewhere',
      'what answers on its port is no agent we know',
      'what answers on its port is no agent we know',
      'what answers on its port is no agent we know',
    ],
  )
})

test('silent nodes are waited for together, for a bounded time', async (t) => {
  const names = Array.from({ length: 8 }, (_, at) => `node-${at}`)
  const { agents, reach } = await cluster(t, ...names)
  for (const name of names) agents.answers.set(`weft-${name}`, null)
  const begunMs = performance.now()
  const { answers } = await askMesh(reach, ALL, 300)
  const tookMs = performance.now() - begunMs
  assert.ok(tookMs > 290 && tookMs < 2_000, `${tookMs} ms`)
  for (const answer of answers) assert.deepEqual(answer, { node: answer.node, silent: 'no answer within 300 ms' })
})

test('no more than eight nodes are asked at once, and all are', async (t) => {
  const names = Array.from({ length: 20 }, (_, at) => `node-${at}`)
  const { agents, reach } = await cluster(t, ...names)
  const { answers } = await askMesh(reach, ALL)
  assert.ok(agents.most > 1 && agents.most <= 8, `${agents.most} at once`)
  assert.deepEqual(
    answers.map((answer) => [answer.node, 'status' in answer]),
    names.map((name) => [name, true]),
  )
  assert.equal(agents.heard.length, 20)
})

test('one node, or one namespace, is asked for as such; one that is not there is said to be missing', async (t) => {
  const { api, reach } = await cluster(t, 'node-1', 'node-2')
  api.lists('/api/v1/namespaces/shop/pods', '1', pod('a', { nodeName: 'node-2' }, { namespace: 'shop' }))
  const { answers, joined } = await askMesh(reach, { namespace: 'shop', node: 'node-2' })
  assert.deepEqual([answers.map((answer) => answer.node), joined.map(({ name }) => name)], [['node-2'], ['a']])
  const { query } = api.asks.find(({ path }) => path === '/api/v1/namespaces/shop/pods') ?? {}
  assert.deepEqual(query, { fieldSelector: 'spec.nodeName=node-2' })
  await assert.rejects(askMesh(reach, { namespace: null, node: 'node-3' }), /there is no node node-3/)
  api.lists('/api/v1/namespaces/nope/pods', '1')
  await assert.rejects(askMesh(reach, { namespace: 'nope', node: null }), /there is no namespace nope/)
})

test('not to be allowed to ask says nothing of the agents: it is an error', async (t) => {
  const { api, agents, reach } = await cluster(t, 'node-1')
  agents.answers.set('weft-node-1', { code: 403, body: 'User "kai" cannot get' })
  await assert.rejects(askMesh(reach, ALL), /refuses.*User "kai" cannot get/)
  api.answers.set('/api/v1/nodes', status(403, 'nodes is forbidden'))
  await assert.rejects(askMesh(reach, ALL), /nodes is forbidden/)
})
