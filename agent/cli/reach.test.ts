import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Ending, status, ToldApi } from '../kube/api.fixture.ts'
import { KubeError } from '../kube/client.ts'
import type { EndpointSlice } from '../kube/object.ts'
import { Agents, sliceOf } from './agents.fixture.ts'
import { askAgent, openReach } from './reach.ts'

const SLICES = '/apis/discovery.k8s.io/v1/namespaces/mesh/endpointslices'

async function cluster(t: Ending, ...slices: readonly EndpointSlice[]) {
  const api = new ToldApi()
  const agents = new Agents(t)
  const client = agents.client(await api.start(t))
  api.lists(SLICES, '1', ...slices)
  const open = (token: string | null = null) => openReach(client, { namespace: 'mesh', token })
  return { api, agents, open }
}

test('the agent of a node is found by the endpoints of its Service, and shown the token of whoever asks', async (t) => {
  const { api, agents, open } = await cluster(t, sliceOf(['node-1', 'node-2']))
  agents.answers.set('weft-node-2', { code: 200, body: 'page' })
  assert.deepEqual(await askAgent(await open(), 'node-2', '/explain?q=1'), { body: 'page' })
  assert.deepEqual(agents.forwarded, [{ namespace: 'mesh', pod: 'weft-node-2', port: 15020 }])
  const { url, headers } = agents.heard[0] ?? {}
  assert.deepEqual([url, headers?.authorization], ['/explain?q=1', 'Bearer kai'])
  const { query } = api.asks.find(({ path }) => path === SLICES) ?? {}
  assert.deepEqual(query, { labelSelector: 'kubernetes.io/service-name=weft-agent' })
  await askAgent(await open('given'), 'node-2', '/status')
  assert.equal(agents.heard[1]?.headers.authorization, 'Bearer given')
})

test('of several agents on a node it is one that is ready; one that is not is asked where there is no other', async (t) => {
  const late = sliceOf(['node-1', 'node-2'], { ready: false, suffix: '-late' })
  const { agents, open } = await cluster(t, sliceOf(['node-1']), late)
  agents.answers.set('weft-node-1', { code: 200, body: 'ready' })
  agents.answers.set('weft-node-2-late', { code: 200, body: 'not ready' })
  const reach = await open()
  assert.deepEqual(await askAgent(reach, 'node-1', '/status'), { body: 'ready' })
  assert.deepEqual(await askAgent(reach, 'node-2', '/status'), { body: 'not ready' })
})

test('an agent that is not there, or not reached, is silent', async (t) => {
  const { agents, open } = await cluster(t, sliceOf(['node-1']))
  const reach = await open()
  assert.deepEqual(await askAgent(reach, 'node-9', '/status'), {
    silent: 'no pod of an agent is on it (Service mesh/weft-agent)',
  })
  agents.refusals.set('weft-node-1', new Error('dial tcp 127.0.0.1:15020: connect: connection refused'))
  assert.deepEqual(await askAgent(reach, 'node-1', '/status'), {
    silent: 'dial tcp 127.0.0.1:15020: connect: connection refused',
  })
  agents.refusals.set('weft-node-1', new KubeError(404, 'pods "weft-node-1" not found'))
  assert.deepEqual(await askAgent(reach, 'node-1', '/status'), { silent: 'pods "weft-node-1" not found' })
})

test('whoever has no token, may not forward ports, or is not let in by the agent, is told what is missing', async (t) => {
  const { api, agents, open } = await cluster(t, sliceOf(['node-1']))
  const reach = await open()
  agents.refusals.set('weft-node-1', new KubeError(403, 'pods "weft-node-1" is forbidden'))
  await assert.rejects(askAgent(reach, 'node-1', '/status'), /get and create pods\/portforward.*is forbidden/)
  agents.refusals.clear()
  for (const code of [401, 403]) {
    agents.answers.set('weft-node-1', { code, body: 'not you' })
    await assert.rejects(askAgent(reach, 'node-1', '/status'), /the agent refuses.*not you/)
  }
  agents.answers.set('weft-node-1', { code: 503, body: 'the Kubernetes API cannot be asked' })
  assert.deepEqual(await askAgent(reach, 'node-1', '/status'), {
    silent: 'its port 15020 answers HTTP 503: the Kubernetes API cannot be asked',
  })
  agents.token = null
  await assert.rejects(open(), /no token.*kubectl create token/)
  api.answers.set(SLICES, status(403, 'endpointslices is forbidden'))
  await assert.rejects(open('given'), /endpointslices is forbidden/)
})
