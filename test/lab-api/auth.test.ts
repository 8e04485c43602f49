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

const CSRS = '/apis/certificates.k8s.io/v1/certificatesigningrequests'
const SIGNER = 'example.com/mesh'

function pem(label: string): string {
  return Buffer.from(`-----BEGIN ${label}-----\nMAA=\n-----END ${label}-----\n`).toString('base64')
}

function signingRequest(spec: Record<string, unknown> = {}, name = 'csr-1'): unknown {
  const own = { request: pem('CERTIFICATE REQUEST'), signerName: SIGNER, usages: ['client auth'], ...spec }
  return { metadata: { name }, spec: own }
}

describe('a certificate signing request', () => {
  const path = `${CSRS}/csr-1`

  beforeEach(() => store.delete('certificatesigningrequests.certificates.k8s.io', null, 'csr-1'))

  function decision(type: string, more: Record<string, string> = {}) {
    return { status: { conditions: [{ type, status: 'True', reason: 'Test', ...more }] } }
  }

  test('says who sent it, whatever it says itself', async () => {
    const { code, body } = await admin.post(
      CSRS,
      signingRequest({ username: 'me', uid: 'x', groups: ['g'], extra: {} }),
    )
    assert.equal(code, 201)
    assert.equal(body.spec.username, 'kubernetes-admin')
    assert.deepEqual(body.spec.groups, ['system:masters', 'system:authenticated'])
    assert.deepEqual([body.spec.uid, body.spec.extra], [undefined, undefined])
  })

  test('keeps its spec, and changes its status through the subresources alone', async () => {
    const { body } = await admin.post(CSRS, signingRequest())
    const changed = { ...body, spec: { ...body.spec, signerName: 'example.com/other' }, ...decision('Approved') }
    const after = await admin.put(path, changed)
    assert.equal(after.code, 200)
    assert.deepEqual(after.body.spec, body.spec)
    assert.deepEqual(after.body.status, {})
  })

  test('that is not whole is refused', async () => {
    const rows: [spec: Record<string, unknown>, says: RegExp][] = [
      [{ request: undefined }, /spec.request: Required value/],
      [{ request: pem('CERTIFICATE') }, /PEM block type must be CERTIFICATE REQUEST/],
      [{ signerName: undefined }, /spec.signerName: Required value/],
      [{ signerName: 'mesh' }, /must be a fully qualified domain and path/],
      [{ signerName: 'example/mesh' }, /at least two segments/],
      [{ usages: [] }, /spec.usages: Required value/],
      [{ usages: ['sleep'] }, /spec.usages\[0\]: Unsupported value/],
      [{ usages: ['any', 'any'] }, /spec.usages\[1\]: Duplicate value/],
      [{ expirationSeconds: 599 }, /less than 600 seconds/],
    ]
    for (const [spec, says] of rows) {
      const { code, body } = await admin.post(CSRS, signingRequest(spec))
      assert.equal(code, 422)
      assert.match(body.message, says)
    }
  })

  test('is approved or denied once, through /approval', async () => {
    await admin.post(CSRS, signingRequest())
    const certificate = pem('CERTIFICATE')
    const { code, body } = await admin.patch(`${path}/approval`, {
      status: { ...decision('Approved').status, certificate },
    })
    assert.equal(code, 200)
    assert.equal(body.status.certificate, undefined)
    const [condition] = body.status.conditions
    assert.equal(condition.type, 'Approved')
    assert.ok(Date.parse(condition.lastUpdateTime) > 0 && Date.parse(condition.lastTransitionTime) > 0)
    const both = [...body.status.conditions, ...decision('Denied').status.conditions]
    const denied = await admin.patch(`${path}/approval`, { status: { conditions: both } })
    assert.equal(denied.code, 422)
    assert.match(denied.body.message, /mutually exclusive/)
    const removed = await admin.patch(`${path}/approval`, { status: { conditions: [] } })
    assert.match(removed.body.message, /may not remove a condition of type "Approved"/)
  })

  test('is signed through /status, which decides nothing', async () => {
    const { body } = await admin.post(CSRS, signingRequest())
    const early = await admin.patch(`${path}/status`, decision('Approved'))
    assert.equal(early.code, 422)
    assert.match(early.body.message, /may not add a condition of type "Approved"/)
    await admin.put(`${path}/approval`, { ...body, ...decision('Approved') })
    const wrong = await admin.patch(`${path}/status`, { status: { certificate: pem('KEY') } })
    assert.match(wrong.body.message, /PEM blocks of type CERTIFICATE/)
    const signed = await admin.patch(`${path}/status`, { status: { certificate: pem('CERTIFICATE') } })
    assert.equal(signed.code, 200)
    assert.equal(signed.body.status.conditions[0].type, 'Approved')
    const again = await admin.patch(`${path}/status`, { status: { certificate: null } })
    assert.match(again.body.message, /may not modify existing certificate/)
    const stale = await admin.put(`${path}/approval`, { ...body, ...decision('Approved') })
    assert.equal(stale.code, 409)
  })
})
