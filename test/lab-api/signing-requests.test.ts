// A request for a certificate by the bearer of a token: what it says of who asks, and how kubectl lists it. Said on the wire.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startApi, type Api } from '../../lab/api/server.ts'
import { createStore, type Store } from '../../lab/api/store.ts'
import { Caller } from './requests.ts'

const REQUESTS = '/apis/certificates.k8s.io/v1/certificatesigningrequests'
const TABLE = 'application/json;as=Table;v=v1;g=meta.k8s.io'
const pem = (label: string): string =>
  Buffer.from(`-----BEGIN ${label}-----\nAA==\n-----END ${label}-----\n`).toString('base64')
const SPEC = { request: pem('CERTIFICATE REQUEST'), signerName: 'weft.dev/workload', usages: ['client auth'] }
let store: Store
let api: Api
let admin: Caller

before(async () => {
  store = createStore()
  api = await startApi({ store })
  admin = new Caller(api.url)
  store.create('serviceaccounts', { metadata: { name: 'cart', namespace: 'default' } })
  store.create('nodes', { metadata: { name: 'one' } })
  const containers = [{ name: 'app', image: 'app' }]
  const spec = { serviceAccountName: 'cart', nodeName: 'one', containers }
  store.create('pods', { metadata: { name: 'bound', namespace: 'default' }, spec })
  const rules = [
    { apiGroups: ['certificates.k8s.io'], resources: ['certificatesigningrequests'], verbs: ['create', 'update'] },
  ]
  store.create('clusterroles.rbac.authorization.k8s.io', { metadata: { name: 'asks' }, rules })
  store.create('clusterrolebindings.rbac.authorization.k8s.io', {
    metadata: { name: 'asks' },
    roleRef: { kind: 'ClusterRole', name: 'asks' },
    subjects: [{ kind: 'ServiceAccount', namespace: 'default', name: 'cart' }],
  })
})
after(() => api.close())

test('a request says whose token came with it, the pod that the token is bound to, and its node', async () => {
  const boundObjectRef = { kind: 'Pod', apiVersion: 'v1', name: 'bound' }
  const issued = await admin.post('/api/v1/namespaces/default/serviceaccounts/cart/token', { spec: { boundObjectRef } })
  const cart = new Caller(api.url, String(issued.body.status.token))
  const lies = { username: 'somebody', groups: ['system:masters'], extra: { a: ['b'] } }
  const { code, body } = await cart.post(REQUESTS, { metadata: { name: 'by-token' }, spec: { ...SPEC, ...lies } })
  assert.equal(code, 201, body.message)
  const account = store.get('serviceaccounts', 'default', 'cart')
  assert.deepEqual([body.spec.username, body.spec.uid], ['system:serviceaccount:default:cart', account?.metadata.uid])
  assert.deepEqual(body.spec.groups, [
    'system:serviceaccounts',
    'system:serviceaccounts:default',
    'system:authenticated',
  ])
  const { 'authentication.kubernetes.io/credential-id': id, ...extra } = body.spec.extra as Record<string, string[]>
  assert.match(String(id), /^JTI=[0-9a-f-]{36}$/)
  assert.deepEqual(extra, {
    'authentication.kubernetes.io/pod-name': ['bound'],
    'authentication.kubernetes.io/pod-uid': [store.get('pods', 'default', 'bound')?.metadata.uid],
    'authentication.kubernetes.io/node-name': ['one'],
    'authentication.kubernetes.io/node-uid': [store.get('nodes', null, 'one')?.metadata.uid],
  })
  const kept = await cart.put(`${REQUESTS}/by-token`, { ...body, spec: { ...body.spec, username: 'somebody' } })
  assert.deepEqual([kept.code, kept.body.spec], [200, body.spec], 'nobody is made another afterwards')
})

test('kubectl lists who asked whom for how long, and what became of it', async () => {
  const metadata = { name: 'listed' }
  await admin.post(REQUESTS, { metadata, spec: { ...SPEC, expirationSeconds: 86_400 } })
  const listed = async (): Promise<unknown> => {
    const table = await fetch(`${api.url}${REQUESTS}/listed`, { headers: { accept: TABLE } })
    const { rows } = (await table.json()) as { rows: readonly { cells: readonly unknown[] }[] }
    return rows[0]?.cells.toSpliced(1, 1) // its age
  }
  const row = ['listed', 'weft.dev/workload', 'kubernetes-admin', '24h']
  assert.deepEqual(await listed(), [...row, 'Pending'])
  const conditions = [{ type: 'Approved', status: 'True', reason: 'Granted', message: '' }]
  const approved = await admin.patch(`${REQUESTS}/listed/approval`, { status: { conditions } })
  assert.deepEqual([approved.code, await listed()], [200, [...row, 'Approved']])
  const signed = await admin.patch(`${REQUESTS}/listed/status`, { status: { certificate: pem('CERTIFICATE') } })
  assert.deepEqual([signed.code, await listed()], [200, [...row, 'Approved,Issued']])
})
