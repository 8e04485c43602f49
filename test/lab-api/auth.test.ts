// Who asks, as tokens have it, and what requests for certificates make of that: said on the wire.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startApi, type Api } from '../../lab/api/server.ts'
import { createStore, type Store } from '../../lab/api/store.ts'
import type { KubeObject } from '../../lab/api/object.ts'

const REQUESTS = '/apis/certificates.k8s.io/v1/certificatesigningrequests'
const PEM = '-----BEGIN CERTIFICATE REQUEST-----\nAA==\n-----END CERTIFICATE REQUEST-----\n'
const SPEC = { request: Buffer.from(PEM).toString('base64'), signerName: 'weft.dev/workload', usages: ['client auth'] }
const TABLE = 'application/json;as=Table;v=v1;g=meta.k8s.io'
let store: Store
let api: Api

before(async () => {
  store = createStore({})
  api = await startApi({ store })
  store.create('serviceaccounts', { metadata: { name: 'cart', namespace: 'default' } })
  store.create('nodes', { metadata: { name: 'one' } })
})
after(() => api.close())

interface Answer extends KubeObject {
  readonly code: number
  readonly message: string
}

async function ask(method: string, path: string, body?: unknown, token?: string): Promise<Answer> {
  const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'
  const headers = { 'content-type': type, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) }
  const response = await fetch(api.url + path, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) })
  return { ...((await response.json()) as Answer), code: response.status }
}

function pod(name: string, serviceAccountName = 'cart'): KubeObject {
  const spec = { serviceAccountName, nodeName: 'one', containers: [{ name: 'app', image: 'app' }] }
  return store.create('pods', { metadata: { name, namespace: 'default' }, spec })
}

const tokenOf = (spec: object = {}, account = 'cart'): Promise<Answer> =>
  ask('POST', `/api/v1/namespaces/default/serviceaccounts/${account}/token`, { spec })
const boundTo = (name: string, uid?: string) => ({ boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name, uid } })
const create = (name: string, spec: object = {}, token?: string): Promise<Answer> =>
  ask('POST', REQUESTS, { metadata: { name }, spec: { ...SPEC, ...spec } }, token)

test('a token says whose it is, which pod it ends with, and on which node that is', async () => {
  const { metadata } = pod('bound')
  const { code, status } = await tokenOf(boundTo('bound'))
  assert.equal(code, 201)
  assert.ok(Date.parse(String(status.expirationTimestamp)) > Date.now() + 3_590_000)
  const made = await create('by-token', { username: 'somebody', groups: ['system:masters'] }, String(status.token))
  const account = store.get('serviceaccounts', 'default', 'cart')
  assert.deepEqual(
    [made.code, made.spec.username, made.spec.uid, made.spec.groups],
    [
      201,
      'system:serviceaccount:default:cart',
      account?.metadata.uid,
      ['system:serviceaccounts', 'system:serviceaccounts:default', 'system:authenticated'],
    ],
  )
  const { 'authentication.kubernetes.io/credential-id': id, ...extra } = made.spec.extra as Record<string, string[]>
  assert.match(String(id), /^JTI=[0-9a-f-]{36}$/)
  assert.deepEqual(extra, {
    'authentication.kubernetes.io/pod-name': ['bound'],
    'authentication.kubernetes.io/pod-uid': [metadata.uid],
    'authentication.kubernetes.io/node-name': ['one'],
    'authentication.kubernetes.io/node-uid': [store.get('nodes', null, 'one')?.metadata.uid],
  })
})

test('who brings no token is the administrator, whatever is said', async () => {
  const made = await create('by-nobody', { username: 'somebody', uid: 'x', extra: { a: ['b'] } })
  assert.deepEqual([made.spec.username, made.spec.uid, made.spec.extra], ['kubernetes-admin', undefined, {}])
})

test('a token that does not hold is no token', async () => {
  pod('brief')
  const { status } = await tokenOf(boundTo('brief'))
  const token = String(status.token)
  const [head, body, signature] = token.split('.') as [string, string, string]
  const other = Buffer.from(Buffer.from(body, 'base64url').toString().replace('cart', 'root')).toString('base64url')
  const elsewhere = await tokenOf({ audiences: ['elsewhere'] })
  const bad = ['x', `${head}.${body}`, `${head}.${other}.${signature}`, `${token}.x`, String(elsewhere.status.token)]
  for (const each of bad) assert.equal((await ask('GET', '/api/v1/pods', undefined, each)).code, 401, each)
  assert.equal((await ask('GET', '/api/v1/pods', undefined, token)).code, 200)
  store.delete('pods', 'default', 'brief', { gracePeriodSeconds: 0 })
  pod('brief') // another of that name
  assert.equal((await ask('GET', '/api/v1/pods', undefined, token)).code, 401)
})

test('tokens are refused to who is not there, and for pods of others', async () => {
  const { metadata } = pod('others', 'default')
  assert.equal((await tokenOf({}, 'nobody')).code, 404)
  assert.equal((await tokenOf(boundTo('nobody'))).code, 404)
  assert.match((await tokenOf(boundTo('others', metadata.uid))).message, /different serviceaccount name/)
  assert.equal((await tokenOf(boundTo('bound', metadata.uid))).code, 409)
  assert.match((await tokenOf({ expirationSeconds: 599 })).message, /less than 10 minutes/)
})

test('a request is what it was when it was made, and whole', async () => {
  await create('kept', { uid: 'x' })
  const { code: _code, ...same } = await ask('GET', `${REQUESTS}/kept`)
  assert.equal((await ask('PUT', `${REQUESTS}/kept`, same)).code, 200)
  const patched = await ask('PATCH', `${REQUESTS}/kept`, { spec: { username: 'somebody' } })
  assert.deepEqual([patched.code, patched.message.includes('field is immutable')], [422, true])
  for (const [field, value] of Object.entries({
    request: 'AA==',
    signerName: 'none',
    usages: [],
    expirationSeconds: 599,
  })) {
    const refused = await create('refused', { [field]: value })
    assert.equal(refused.code, 422, field)
    assert.match(refused.message, new RegExp(`spec\\.${field}`))
  }
})

test('approval and certificate are written each by its own subresource', async () => {
  await create('approved', { expirationSeconds: 86_400 })
  const approve = { conditions: [{ type: 'Approved', status: 'True', reason: 'Granted', message: '' }] }
  const certificate = Buffer.from('certificate').toString('base64')
  const early = await ask('PATCH', `${REQUESTS}/approved/status`, { status: approve })
  assert.deepEqual([early.code, early.status.conditions], [200, []])
  const approved = await ask('PATCH', `${REQUESTS}/approved/approval`, { status: { ...approve, certificate } })
  assert.deepEqual([approved.code, approved.status], [200, approve])
  const signed = await ask('PUT', `${REQUESTS}/approved/status`, { ...approved, status: { certificate } })
  assert.deepEqual([signed.code, signed.status], [200, { certificate, ...approve }])
  const table = await fetch(`${api.url}${REQUESTS}/approved`, { headers: { accept: TABLE } })
  const { rows } = (await table.json()) as { rows: readonly { cells: readonly unknown[] }[] }
  const cells = rows[0]?.cells.toSpliced(1, 1) // its age
  assert.deepEqual(cells, ['approved', 'weft.dev/workload', 'kubernetes-admin', '24h', 'Approved,Issued'])
  const taken = await ask('PATCH', `${REQUESTS}/approved/approval`, { status: { conditions: [] } })
  assert.deepEqual([taken.code, taken.message.includes('may not remove a condition of type Approved')], [403, true])
  const both = { conditions: [...approve.conditions, { type: 'Denied', status: 'True' }] }
  assert.match((await ask('PATCH', `${REQUESTS}/approved/approval`, { status: both })).message, /mutually exclusive/)
  const stale = { ...approved, metadata: { ...approved.metadata, resourceVersion: '1' } }
  assert.equal((await ask('PUT', `${REQUESTS}/approved/approval`, stale)).code, 409)
})
