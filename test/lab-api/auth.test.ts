// Who may ask the API for what, said on the wire: tokens of service accounts and those who carry them.
import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
import { startApi } from '../../lab/api/server.ts'
import { createStore } from '../../lab/api/store.ts'
import { Caller } from './requests.ts'
import type { Api } from '../../lab/api/server.ts'
import type { KubeObject } from '../../lab/api/object.ts'
import type { Store } from '../../lab/api/store.ts'

const TOKEN = '/api/v1/namespaces/shop/serviceaccounts/cart/token'
let store: Store
let api: Api
let admin: Caller
let account: KubeObject
let pod: KubeObject

before(async () => {
  store = createStore()
  api = await startApi({ store })
  admin = new Caller(api.url)
  store.create('namespaces', { metadata: { name: 'shop' } })
  store.create('nodes', { metadata: { name: 'node-1' } })
})
after(() => api.close())

beforeEach(() => {
  for (const name of ['cart', 'other']) store.delete('serviceaccounts', 'shop', name)
  for (const { metadata } of store.list('pods')) {
    store.delete('pods', 'shop', metadata.name, { gracePeriodSeconds: 0 })
  }
  account = store.create('serviceaccounts', { metadata: { namespace: 'shop', name: 'cart' } })
  store.create('serviceaccounts', { metadata: { namespace: 'shop', name: 'other' } })
  pod = makePod()
})

function makePod(): KubeObject {
  return store.create('pods', {
    metadata: { namespace: 'shop', name: 'cart-1' },
    spec: { serviceAccountName: 'cart', nodeName: 'node-1', containers: [{ name: 'main', image: 'shop' }] },
  })
}

function bound(extra: Record<string, string> = {}): unknown {
  return { spec: { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: 'cart-1', ...extra } } }
}

async function tokenFor(body: unknown = {}, path = TOKEN): Promise<string> {
  const answer = await admin.post(path, body)
  assert.equal(answer.code, 201, answer.body.message)
  return answer.body.status.token
}

describe('a TokenRequest', () => {
  test('is answered with a token for the API that lives an hour', async () => {
    const { code, body } = await admin.post(TOKEN, {})
    assert.equal(code, 201)
    assert.equal(body.kind, 'TokenRequest')
    assert.deepEqual(body.spec, {
      audiences: ['https://kubernetes.default.svc'],
      expirationSeconds: 3600,
      boundObjectRef: null,
    })
    const lives = Date.parse(body.status.expirationTimestamp) - Date.parse(body.metadata.creationTimestamp)
    assert.equal(lives, 3_600_000)
    const claims = JSON.parse(Buffer.from(body.status.token.split('.')[1], 'base64url').toString())
    assert.equal(claims.sub, 'system:serviceaccount:shop:cart')
    assert.deepEqual(claims['kubernetes.io'].serviceaccount, { name: 'cart', uid: account.metadata.uid })
  })

  test('bound to a pod names the pod and its node in the token', async () => {
    const token = await tokenFor(bound({ uid: pod.metadata.uid }))
    const claims = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())
    assert.deepEqual(claims['kubernetes.io'].pod, { name: 'cart-1', uid: pod.metadata.uid })
    assert.deepEqual(claims['kubernetes.io'].node, {
      name: 'node-1',
      uid: store.get('nodes', null, 'node-1')!.metadata.uid,
    })
  })

  test('is refused as Kubernetes refuses it', async () => {
    const pods = '/api/v1/namespaces/shop/serviceaccounts'
    const rows: [path: string, body: unknown, code: number, says: RegExp][] = [
      [`${pods}/gone/token`, {}, 404, /^serviceaccounts "gone" not found$/],
      [TOKEN, { spec: { expirationSeconds: 599 } }, 422, /expirationSeconds.*less than 10 minutes/],
      [TOKEN, { spec: { expirationSeconds: 2 ** 32 + 1 } }, 422, /larger than 2\^32 seconds/],
      [TOKEN, { spec: { audiences: [''] } }, 422, /spec.audiences\[0\]/],
      [TOKEN, { metadata: { name: 'other' } }, 422, /must match the service account name/],
      [TOKEN, bound({ name: 'gone' }), 404, /^pods "gone" not found$/],
      [TOKEN, bound({ uid: 'another' }), 409, /does not match the UID in record/],
      [TOKEN, bound({ kind: 'Secret' }), 400, /cannot bind token to object of type v1, Kind=Secret/],
      [`${pods}/other/token`, bound(), 400, /different serviceaccount name/],
      [TOKEN, { kind: 'TokenReview' }, 400, /not a TokenRequest/],
    ]
    for (const [path, body, code, says] of rows) {
      const answer = await admin.post(path, body)
      assert.equal(answer.code, code, JSON.stringify(body))
      assert.match(answer.body.message, says)
    }
  })
})

describe('a bearer token', () => {
  const KINDS = '/api/v1'

  async function codeWith(token: string): Promise<number> {
    return (await new Caller(api.url, token).get(KINDS)).code
  }

  test('is good while its account and pod are the ones it was made for', async () => {
    const [plain, ofPod] = [await tokenFor(), await tokenFor(bound())]
    assert.deepEqual([await codeWith(plain), await codeWith(ofPod)], [200, 200])
    store.delete('pods', 'shop', 'cart-1', { gracePeriodSeconds: 0 })
    assert.deepEqual([await codeWith(plain), await codeWith(ofPod)], [200, 401])
    makePod()
    assert.equal(await codeWith(ofPod), 401)
    store.delete('serviceaccounts', 'shop', 'cart')
    assert.equal(await codeWith(plain), 401)
    store.create('serviceaccounts', { metadata: { namespace: 'shop', name: 'cart' } })
    assert.equal(await codeWith(plain), 401)
  })

  test('for somebody else is not taken', async () => {
    assert.equal(await codeWith(await tokenFor({ spec: { audiences: ['mesh'] } })), 401)
  })

  test('that is none makes nobody an administrator', async () => {
    for (const authorization of ['Bearer', 'Bearer ', 'Bearer nonsense', 'Basic YWRtaW46YWRtaW4=', '']) {
      const response = await fetch(api.url + KINDS, { headers: { authorization } })
      assert.equal(response.status, 401, authorization)
      const status = (await response.json()) as Record<string, unknown>
      assert.deepEqual([status['reason'], status['message']], ['Unauthorized', 'Unauthorized'])
    }
  })
})
