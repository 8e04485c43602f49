import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { status, ToldApi, until } from './api.fixture.ts'
import type { KubeObject } from './object.ts'
import { object } from './objects.fixture.ts'
import { followSecret } from './secret.ts'

const SECRETS = '/api/v1/namespaces/shop/secrets'
const base64 = (text: string): string => Buffer.from(text).toString('base64')

function secret(texts: Readonly<Record<string, string>>, resourceVersion: string): KubeObject {
  const data = Object.fromEntries(Object.entries(texts).map(([key, text]) => [key, base64(text)]))
  return object({ name: 'web-tls', namespace: 'shop', resourceVersion }, { kind: 'Secret', data })
}

async function following(t: TestContext, prepare: (api: ToldApi) => void) {
  const api = new ToldApi()
  prepare(api)
  const client = await api.start(t)
  const heard: unknown[] = []
  const followed = followSecret(
    client,
    { namespace: 'shop', name: 'web-tls' },
    { read: (texts) => heard.push(texts), lost: (reason) => heard.push(reason) },
  )
  const stop = (): void => followed.stop()
  t.after(stop)
  return { api, heard, stop }
}

test('a Secret is read by its name alone, and heard of whenever it changes', async (t) => {
  const { api, heard } = await following(t, (told) =>
    told.lists(SECRETS, '5', secret({ 'tls.crt': 'C', odd: 'ä' }, '4')),
  )
  const query = await api.watched(SECRETS, 1)
  assert.equal(query['fieldSelector'], 'metadata.name=web-tls')
  assert.deepEqual(heard, [{ 'tls.crt': 'C', odd: 'ä' }])
  api.send(SECRETS, 'MODIFIED', secret({ 'tls.crt': 'D' }, '6'))
  await until(() => heard.length === 2, 'the change')
  api.send(SECRETS, 'DELETED', secret({ 'tls.crt': 'D' }, '7'))
  await until(() => heard.length === 3, 'its end')
  assert.deepEqual(heard.slice(1), [{ 'tls.crt': 'D' }, null])
  for (const { query: asked } of api.asks) assert.equal(asked['fieldSelector'], 'metadata.name=web-tls')
})

test('one that is not there is heard of as such, and comes later', async (t) => {
  const { api, heard } = await following(t, (told) => told.lists(SECRETS, '5'))
  await api.watched(SECRETS, 1)
  await until(() => heard.length === 1, 'that there is none')
  api.send(SECRETS, 'ADDED', secret({}, '6'))
  await until(() => heard.length === 2, 'that there is one')
  assert.deepEqual(heard, [null, {}])
})

test('one that may not be read is told with the server’s reason, and read once it may', async (t) => {
  const forbidden = status(403, 'secrets "web-tls" is forbidden')
  const { heard } = await following(t, (told) => {
    told.lists(SECRETS, '5', secret({ key: 'K' }, '4'))
    told.answers.set(SECRETS, [forbidden])
  })
  await until(() => heard.length === 2, 'refusal and Secret')
  assert.deepEqual(heard, ['secrets "web-tls" is forbidden', { key: 'K' }])
})

test('nothing is heard any more of one that is followed no more', async (t) => {
  const { api, heard, stop } = await following(t, (told) => told.lists(SECRETS, '5'))
  await api.watched(SECRETS, 1)
  await until(() => heard.length === 1, 'the first word')
  stop()
  api.send(SECRETS, 'ADDED', secret({}, '6'))
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.deepEqual(heard, [null])
})
