import assert from 'node:assert/strict'
import { test } from 'node:test'
import { status, ToldApi } from '../kube/api.fixture.ts'
import { object } from '../kube/objects.fixture.ts'
import type { KubeObject, Pod } from '../kube/object.ts'
import { askMesh } from './ask-agents.ts'

const ALL = { namespace: null, node: null }
const proxied = (node: string): string => `/api/v1/nodes/http:${node}:15020/proxy/status`
const node = (name: string): KubeObject => object({ name, namespace: '' })
const pod = (name: string, spec: Pod['spec'], more: object = {}): Pod => object<Pod>({ name, ...more }, { spec })
const agent = (name: string, pods: readonly object[] = []) => ({
  status: 200,
  body: { node: name, agent: `weft-${name}`, version: '0.1.0', state: 'ready', reasons: [], pods },
})
const TOLD = {
  ...{ namespace: 'shop', name: 'a', uid: 'uid-a', ips: ['10.0.0.1'], state: 'captured', reason: null },
  ...{ onLoss: 'open', olderConnections: 0 },
}

/** A cluster of nodes with a joined and an unjoined namespace. */
async function cluster(t: { after(end: () => Promise<void>): void }, ...nodes: readonly string[]) {
  const api = new ToldApi()
  const client = await api.start(t)
  api.lists('/api/v1/nodes', '1', ...nodes.map(node))
  const joins = { annotations: { 'weft.dev/mesh': 'enabled' } }
  api.lists('/api/v1/namespaces', '1', object({ name: 'shop', ...joins }), object({ name: 'aside' }))
  api.lists('/api/v1/pods', '1')
  for (const name of nodes) api.answers.set(proxied(name), agent(name))
  return { api, client }
}

test('each node’s agent is asked through the API server', async (t) => {
  const { api, client } = await cluster(t, 'node-1', 'node-2')
  api.answers.set(proxied('node-2'), agent('node-2', [TOLD]))
  const { answers } = await askMesh(client, ALL)
  assert.deepEqual(answers, [
    { node: 'node-1', status: agent('node-1').body },
    { node: 'node-2', status: agent('node-2', [TOLD]).body },
  ])
})

test('joined are pods by their namespace’s or their own wish, as long as they have not ended', async (t) => {
  const { api, client } = await cluster(t, 'node-1')
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
  const { joined } = await askMesh(client, ALL)
  assert.deepEqual(
    joined.map(({ name }) => name),
    ['a', 'alone'],
  )
})

test('a node that does not answer as its agent would is silent, with the reason', async (t) => {
  const names = ['refused', 'old', 'other', 'text', 'odd', 'breaks']
  const { api, client } = await cluster(t, ...names)
  api.answers.set(proxied('refused'), status(503, 'error trying to reach service: connection refused'))
  api.answers.set(proxied('old'), { status: 404, body: 'one of /healthz /readyz' })
  api.answers.set(proxied('other'), agent('elsewhere'))
  api.answers.set(proxied('text'), { status: 200, body: 'hello' })
  api.answers.set(proxied('odd'), agent('odd', [{ ...TOLD, state: 'dreaming' }]))
  api.answers.set(proxied('breaks'), { status: 200, body: null })
  const { answers } = await askMesh(client, ALL)
  assert.deepEqual(
    answers.map((answer) => ('silent' in answer ? answer.silent : answer)),
    [
      'error trying to reach service: connection refused',
      'its port 15020 answers HTTP 404',
      'the agent there serves another node, elsewhere',
      'an answer of 5 characters is no JSON',
      'what answers on its port 15020 is no agent we know',
      'what answers on its port 15020 is no agent we know',
    ],
  )
})

test('silent nodes are waited for together, for a bounded time', async (t) => {
  const names = Array.from({ length: 8 }, (_, at) => `node-${at}`)
  const { api, client } = await cluster(t, ...names)
  for (const name of names) api.stalls.set(proxied(name), '')
  const begunMs = performance.now()
  const { answers } = await askMesh(client, ALL, 300)
  const tookMs = performance.now() - begunMs
  assert.ok(tookMs > 290 && tookMs < 2_000, `${tookMs} ms`)
  for (const answer of answers) assert.deepEqual(answer, { node: answer.node, silent: 'no answer within 300 ms' })
})

test('no more than eight nodes are asked at once, and all are', async (t) => {
  const names = Array.from({ length: 20 }, (_, at) => `node-${at}`)
  const { api, client } = await cluster(t, ...names)
  let [open, most] = [0, 0]
  const counting = {
    ...client,
    get: async (path: string, withinMs?: number) => {
      most = Math.max(most, ++open)
      return client.get(path, withinMs).finally(() => open--)
    },
  }
  const { answers } = await askMesh(counting, ALL)
  assert.equal(most, 8)
  assert.deepEqual(
    answers.map((answer) => [answer.node, 'status' in answer]),
    names.map((name) => [name, true]),
  )
  assert.equal(api.asks.filter(({ path }) => path.endsWith('/proxy/status')).length, 20)
})

test('one node, or one namespace, is asked for as such; one that is not there is said to be missing', async (t) => {
  const { api, client } = await cluster(t, 'node-1', 'node-2')
  api.lists('/api/v1/namespaces/shop/pods', '1', pod('a', { nodeName: 'node-2' }, { namespace: 'shop' }))
  const { answers, joined } = await askMesh(client, { namespace: 'shop', node: 'node-2' })
  assert.deepEqual([answers.map((answer) => answer.node), joined.map(({ name }) => name)], [['node-2'], ['a']])
  const { query } = api.asks.find(({ path }) => path === '/api/v1/namespaces/shop/pods') ?? {}
  assert.deepEqual(query, { fieldSelector: 'spec.nodeName=node-2' })
  await assert.rejects(askMesh(client, { namespace: null, node: 'node-3' }), /there is no node node-3/)
  api.lists('/api/v1/namespaces/nope/pods', '1')
  await assert.rejects(askMesh(client, { namespace: 'nope', node: null }), /there is no namespace nope/)
})

test('not to be allowed to ask says nothing of the agents: it is an error', async (t) => {
  const { api, client } = await cluster(t, 'node-1')
  api.answers.set(proxied('node-1'), status(403, 'nodes "node-1" is forbidden'))
  await assert.rejects(askMesh(client, ALL), /get nodes\/proxy.*nodes "node-1" is forbidden/)
  api.answers.set('/api/v1/nodes', status(403, 'nodes is forbidden'))
  await assert.rejects(askMesh(client, ALL), /nodes is forbidden/)
})
