import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { world } from '../model/world.fixture.ts'
import { announce } from './announce.ts'
import { status, ToldApi } from './api.fixture.ts'
import { connectKube, KubeError } from './client.ts'
import { object } from './objects.fixture.ts'

const refused = (code: number, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof KubeError)
  assert.equal(error.status, code)
  assert.match(error.message, message)
  return true
}

test('a list is its items and the version to watch from', async (t) => {
  const api = new ToldApi()
  const client = await api.start(t)
  api.lists('/api/v1/pods', '77', object({ name: 'a' }))
  const { items, resourceVersion } = await client.list('/api/v1/pods', { fieldSelector: 'spec.nodeName=n' }, false)
  assert.deepEqual([items.length, resourceVersion], [1, '77'])
  assert.deepEqual(api.asks[0]?.query, { fieldSelector: 'spec.nodeName=n' })
  api.answers.set('/empty', { status: 200, body: { metadata: { resourceVersion: '1' }, items: null } })
  assert.deepEqual((await client.list('/empty', {}, false)).items, [])
})

test('a refusal carries the server’s status and words, or the status where it has none', async (t) => {
  const api = new ToldApi()
  const client = await api.start(t)
  api.answers.set('/forbidden', status(403, 'pods is forbidden'))
  api.answers.set('/broken', { status: 502, body: '<html>' })
  api.answers.set('/odd', { status: 500, body: { message: 7 } })
  await assert.rejects(client.get('/forbidden'), refused(403, /^pods is forbidden$/))
  await assert.rejects(client.get('/broken'), refused(502, /HTTP 502/))
  await assert.rejects(client.get('/odd'), refused(500, /HTTP 500/))
  await assert.rejects(client.get('/nowhere'), refused(404, /nothing at/))
})

test('a watch that the server refuses is refused with its status', async (t) => {
  const api = new ToldApi()
  const client = await api.start(t)
  api.answers.set('/api/v1/pods', status(403, 'no'))
  const ask = { path: '/api/v1/pods', query: {}, metadataOnly: false }
  const { signal } = new AbortController()
  await assert.rejects(
    client.watch(ask, () => undefined, signal),
    refused(403, /./),
  )
})

test('a server that is not there is an error without a status', async () => {
  const api = new ToldApi()
  const ends: (() => Promise<void>)[] = []
  const client = await api.start({ after: (end) => ends.push(end) })
  for (const end of ends) await end()
  await assert.rejects(client.get('/api'), refused(0, /GET .*ECONNREFUSED/))
})

test('a document that takes longer than it may is given up, before its first byte and within it', async (t) => {
  const api = new ToldApi()
  const client = await api.start(t)
  api.stalls.set('/silent', '').set('/half', '{"kind":')
  for (const path of ['/silent', '/half']) {
    await assert.rejects(client.get(path, 100), refused(0, new RegExp(`GET .*${path}: no answer within 100 ms`)))
  }
})

test('a kubeconfig that is not there is said to be missing', () => {
  assert.throws(() => connectKube('/nonexistent/kubeconfig'), /nonexistent/)
})

test('an announcement is a merge patch of annotations, on the very pod that was captured', async (t) => {
  const api = new ToldApi()
  const client = await api.start(t)
  const pod = world().pods('web-v1', { namespace: 'shop', serviceAccount: 'web' }).pod('web-v1-1', 'shop')
  const path = '/api/v1/namespaces/shop/pods/web-v1-1'
  api.answers.set(path, { status: 200, body: {} })
  await announce(client, pod, 'weft-agent-1')
  await announce(client, pod, null)
  assert.deepEqual(
    api.asks.map(({ method, path: at, type }) => [method, at, type]),
    [
      ['PATCH', path, 'application/merge-patch+json'],
      ['PATCH', path, 'application/merge-patch+json'],
    ],
  )
  const sent = (agent: string | null, account: string | null, addresses: string | null) => {
    const annotations = {
      'weft.dev/captured': agent,
      'weft.dev/service-account': account,
      'weft.dev/addresses': addresses,
    }
    return { metadata: { uid: pod.uid, annotations } }
  }
  assert.deepEqual(
    api.asks.map(({ body }) => JSON.parse(body) as unknown),
    [sent('weft-agent-1', 'web', '10.244.0.1'), sent(null, null, null)],
  )
})

test('a pod that is gone or replaced needs no announcement; any other refusal is told', async (t) => {
  const api = new ToldApi()
  const client = await api.start(t)
  const pod = world().pods('web-v1').pod('web-v1-1')
  const path = '/api/v1/namespaces/default/pods/web-v1-1'
  api.answers.set(path, [status(404, 'gone'), status(409, 'another uid'), status(403, 'no')])
  await announce(client, pod, 'a')
  await announce(client, pod, 'a')
  await assert.rejects(announce(client, pod, 'a'), refused(403, /no/))
})

test('a user whose kubeconfig names a token file comes with that token, in requests and watches', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'weft-token-'))
  t.after(() => rm(folder, { recursive: true }))
  const tokenFile = join(folder, 'token')
  const api = new ToldApi()
  const client = await api.start(t, { tokenFile, token: 'older' })
  await assert.rejects(client.get('/api'), refused(0, /ENOENT.*token/))
  await writeFile(tokenFile, 'one\n')
  api.lists('/api/v1/pods', '1')
  await client.list('/api/v1/pods', {}, true)
  const stop = new AbortController()
  const watch = { path: '/api/v1/pods', query: { watch: 'true' }, metadataOnly: true }
  const watching = client.watch(watch, () => undefined, stop.signal)
  await api.watched('/api/v1/pods', 1)
  stop.abort()
  await watching
  assert.deepEqual(
    api.asks.map(({ authorization }) => authorization),
    ['Bearer one', 'Bearer one'],
  )
})
