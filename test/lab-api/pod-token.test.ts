// The token that a pod finds in its projected volume: made by the API, taken by the API, replaced before it ends.
import assert from 'node:assert/strict'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { V1Pod } from '@kubernetes/client-node'
import { startApi } from '../../lab/api/server.ts'
import { createStore } from '../../lab/api/store.ts'
import { Api as Client } from '../../lab/node/api.ts'
import { askFor, keepToken, writeToken } from '../../lab/node/pod/token.ts'
import { makeVolumes } from '../../lab/node/pod/volumes.ts'
import { Caller } from './requests.ts'
import type { Api } from '../../lab/api/server.ts'
import type { Store } from '../../lab/api/store.ts'
import type { AskToken } from '../../lab/node/pod/token.ts'

let store: Store
let api: Api
let client: Client
let folder: string

before(async () => {
  store = createStore()
  api = await startApi({ store })
  client = new Client(api.url)
  folder = await mkdtemp(join(tmpdir(), 'weft-pod-token-'))
  store.create('serviceaccounts', { metadata: { namespace: 'default', name: 'cart' } })
})
after(async () => {
  client.close()
  await api.close()
  await rm(folder, { recursive: true })
})

function podWith(sources: unknown[], name: string): V1Pod {
  const volumes = [{ name: 'access', projected: { sources } }]
  const containers = [{ name: 'main', image: 'shop' }]
  const metadata = { namespace: 'default', name }
  return store.create('pods', {
    metadata,
    spec: { serviceAccountName: 'cart', automountServiceAccountToken: false, volumes, containers },
  }) as unknown as V1Pod
}

function volumesOf(pod: V1Pod) {
  const sandbox = { netns: '', address: '', hostname: '', cgroup: '', folder: join(folder, pod.metadata!.name!) }
  const load = () => Promise.resolve(undefined)
  const host = { files: folder, bpf: folder }
  return makeVolumes(pod, sandbox, { load, host, askFor: (projection) => askFor(client, pod, projection) })
}

describe('a projected service account token', () => {
  test('is one of the pod, for the audience and the time that it asks for', async () => {
    const namespace = { items: [{ path: 'namespace', fieldRef: { fieldPath: 'metadata.namespace' } }] }
    const mesh = { path: 'mesh/token', audience: 'mesh', expirationSeconds: 7200 }
    const pod = podWith(
      [{ serviceAccountToken: { path: 'token' } }, { serviceAccountToken: mesh }, { downwardAPI: namespace }],
      'cart-1',
    )
    const { places, tokens } = await volumesOf(pod)
    const place = places.get('access')!
    assert.deepEqual((await readdir(place)).sort(), ['mesh', 'namespace', 'token'])
    assert.deepEqual(
      tokens.map(({ path, writtenMs, endsMs }) => [path, Math.round((endsMs - writtenMs) / 10_000)]),
      [
        [join(place, 'token'), 360],
        [join(place, 'mesh', 'token'), 720],
      ],
    )
    const token = await readFile(join(place, 'token'), 'utf8')
    const who = await new Caller(api.url, token).post('/apis/authentication.k8s.io/v1/selfsubjectreviews', {})
    assert.equal(who.body.status.userInfo.username, 'system:serviceaccount:default:cart')
    assert.deepEqual(who.body.status.userInfo.extra['authentication.kubernetes.io/pod-uid'], [pod.metadata!.uid])
    const other = await readFile(join(place, 'mesh', 'token'), 'utf8')
    assert.equal((await new Caller(api.url, other).get('/api')).code, 401)
    const spec = { token: other, audiences: ['mesh'] }
    const reviewed = await new Caller(api.url).post('/apis/authentication.k8s.io/v1/tokenreviews', { spec })
    assert.equal(reviewed.body.status.authenticated, true)
  })

  test('of an account that is not there is no volume yet', async () => {
    const pod = podWith([{ serviceAccountToken: { path: 'token' } }], 'cart-2')
    store.delete('serviceaccounts', 'default', 'cart')
    await assert.rejects(volumesOf(pod), /serviceaccounts "cart" not found/)
  })

  test('is replaced before it ends, over failures, until the pod stops', async () => {
    const path = join(folder, 'kept')
    let asked = 0
    const ask: AskToken = () => {
      asked += 1
      if (asked === 2) return Promise.reject(new Error('the API is away'))
      return Promise.resolve({ text: `token ${asked}`, endsMs: Date.now() + 50 })
    }
    const stop = new AbortController()
    const failures: string[] = []
    const first = await writeToken(path, ask)
    assert.equal(await readFile(path, 'utf8'), 'token 1')
    const failed = ({ message }: Error): void => {
      failures.push(message)
    }
    const kept = keepToken(first, stop.signal, { failed, retryMs: 5 })
    for (let tries = 0; tries < 200 && asked < 4; tries++) await sleep(10)
    stop.abort()
    await kept
    assert.ok(asked >= 4)
    assert.match(await readFile(path, 'utf8'), /^token [^12]/)
    assert.deepEqual(failures, ['the API is away'])
  })
})
