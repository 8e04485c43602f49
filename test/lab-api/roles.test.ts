// What service accounts may do through the API by their roles, and the reviews that tell it, said on the wire.
import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { startApi } from '../../lab/api/server.ts'
import { createStore } from '../../lab/api/store.ts'
import { Caller } from './requests.ts'
import type { Api } from '../../lab/api/server.ts'
import type { KubeObject } from '../../lab/api/object.ts'
import type { Store } from '../../lab/api/store.ts'

const RBAC = 'rbac.authorization.k8s.io'
const USERNAME = 'system:serviceaccount:shop:cart'
const PODS = '/api/v1/namespaces/shop/pods'
const TOKEN_REVIEWS = '/apis/authentication.k8s.io/v1/tokenreviews'
const ACCESS_REVIEWS = '/apis/authorization.k8s.io/v1/subjectaccessreviews'
let store: Store
let api: Api
let admin: Caller
let cart: Caller
let token: string
let account: KubeObject

before(async () => {
  store = createStore()
  api = await startApi({ store })
  admin = new Caller(api.url)
  store.create('namespaces', { metadata: { name: 'shop' } })
  account = store.create('serviceaccounts', { metadata: { namespace: 'shop', name: 'cart' } })
})
after(() => api.close())

beforeEach(async () => {
  token = await tokenFor({})
  cart = new Caller(api.url, token)
})
afterEach(() => {
  for (const kind of ['clusterroles', 'clusterrolebindings']) store.delete(`${kind}.${RBAC}`, null, 'test')
  for (const kind of ['roles', 'rolebindings']) store.delete(`${kind}.${RBAC}`, 'shop', 'test')
})

async function tokenFor(spec: Record<string, unknown>): Promise<string> {
  const answer = await admin.post('/api/v1/namespaces/shop/serviceaccounts/cart/token', { spec })
  return answer.body.status.token
}

/** Gives the service account a role of one rule. */
function allow(rule: Record<string, string[]>, where: { cluster: boolean }): void {
  const metadata = where.cluster ? { name: 'test' } : { name: 'test', namespace: 'shop' }
  const [roles, kind] = where.cluster ? ['clusterroles', 'ClusterRole'] : ['roles', 'Role']
  const bindings = where.cluster ? 'clusterrolebindings' : 'rolebindings'
  store.create(`${roles}.${RBAC}`, { metadata, rules: [rule] })
  const subjects = [{ kind: 'ServiceAccount', namespace: 'shop', name: 'cart' }]
  store.create(`${bindings}.${RBAC}`, { metadata, subjects, roleRef: { kind, name: 'test' } })
}

describe('a service account', () => {
  test('without roles learns what is served, and who it is, and no more', async () => {
    for (const path of ['/api', '/apis', '/api/v1', '/apis/apps/v1', '/version', '/openapi/v2', '/healthz']) {
      const response = await fetch(api.url + path, { headers: { authorization: `Bearer ${token}` } })
      assert.equal(response.status, 200, path)
      await response.arrayBuffer()
    }
    const { code, body } = await cart.post('/apis/authentication.k8s.io/v1/selfsubjectreviews', {})
    assert.equal(code, 201)
    assert.equal(body.status.userInfo.username, USERNAME)
    assert.equal((await cart.get('/')).code, 403)
  })

  test('is refused with the sentence of Kubernetes', async () => {
    const rows: [ask: () => ReturnType<Caller['get']>, sentence: string][] = [
      [
        () => cart.get(PODS),
        `pods is forbidden: User "${USERNAME}" cannot list resource "pods" in API group "" in the namespace "shop"`,
      ],
      [
        () => cart.get('/api/v1/nodes/n/proxy/x'),
        `nodes "n" is forbidden: User "${USERNAME}" cannot get resource "nodes/proxy" in API group "" at the cluster scope`,
      ],
      [
        () => cart.remove('/apis/apps/v1/namespaces/shop/deployments'),
        `deployments.apps is forbidden: User "${USERNAME}" cannot deletecollection resource "deployments" in API group "apps" in the namespace "shop"`,
      ],
      [() => cart.get('/metrics'), `forbidden: User "${USERNAME}" cannot get path "/metrics"`],
    ]
    for (const [ask, sentence] of rows) {
      const { code, body } = await ask()
      assert.deepEqual([code, body.reason, body.message], [403, 'Forbidden', sentence])
    }
  })

  test('may do what its role in the namespace says, there', async () => {
    allow({ verbs: ['list', 'get'], apiGroups: [''], resources: ['pods', 'pods/log'] }, { cluster: false })
    assert.equal((await cart.get(PODS)).code, 200)
    assert.equal((await cart.get(`${PODS}/none`)).code, 404)
    assert.equal((await cart.get(`${PODS}/none/log`)).code, 405)
    assert.equal((await cart.get(`${PODS}?watch=true`)).code, 403)
    assert.equal((await cart.get('/api/v1/pods')).code, 403)
    assert.equal((await cart.post(PODS, {})).code, 403)
    assert.equal((await cart.get('/api/v1/namespaces/default/pods')).code, 403)
  })

  test('may do what its cluster role says, everywhere', async () => {
    allow({ verbs: ['*'], apiGroups: [''], resources: ['configmaps'] }, { cluster: true })
    const maps = '/api/v1/namespaces/shop/configmaps'
    assert.equal((await cart.post(maps, { metadata: { name: 'm' } })).code, 201)
    assert.equal((await cart.patch(`${maps}/m`, { data: { a: '1' } })).code, 200)
    assert.equal((await cart.remove(`${maps}/m`)).code, 200)
    assert.equal((await cart.get('/api/v1/configmaps')).code, 200)
    assert.equal((await cart.get('/api/v1/secrets')).code, 403)
  })

  test('with a named resource may list and watch that one alone', async () => {
    allow(
      { verbs: ['list', 'get'], apiGroups: [''], resources: ['secrets'], resourceNames: ['one'] },
      { cluster: true },
    )
    const secrets = '/api/v1/namespaces/shop/secrets'
    assert.equal((await cart.get(`${secrets}?fieldSelector=metadata.name%3Done`)).code, 200)
    assert.equal((await cart.get(`${secrets}?fieldSelector=metadata.name%3Dtwo`)).code, 403)
    assert.equal((await cart.get(secrets)).code, 403)
    assert.equal((await cart.get(`${secrets}/two`)).code, 403)
  })

  test('loses what it may do with its role', async () => {
    allow({ verbs: ['list'], apiGroups: [''], resources: ['pods'] }, { cluster: true })
    assert.equal((await cart.get(PODS)).code, 200)
    store.delete(`clusterroles.${RBAC}`, null, 'test')
    assert.equal((await cart.get(PODS)).code, 403)
  })
})

describe('a signer', () => {
  const CSRS = '/apis/certificates.k8s.io/v1/certificatesigningrequests'
  const block = (label: string): string =>
    Buffer.from(`-----BEGIN ${label}-----\nMAA=\n-----END ${label}-----\n`).toString('base64')

  beforeEach(() => store.delete('certificatesigningrequests.certificates.k8s.io', null, 'c'))

  async function tries(...signers: string[]): Promise<number[]> {
    const group = ['certificates.k8s.io']
    const subresources = ['certificatesigningrequests/approval', 'certificatesigningrequests/status']
    store.create(`clusterroles.${RBAC}`, {
      metadata: { name: 'test' },
      rules: [
        { verbs: ['create'], apiGroups: group, resources: ['certificatesigningrequests'] },
        { verbs: ['patch'], apiGroups: group, resources: subresources },
        { verbs: ['approve', 'sign'], apiGroups: group, resources: ['signers'], resourceNames: signers },
      ],
    })
    const subjects = [{ kind: 'Group', name: 'system:serviceaccounts:shop' }]
    const roleRef = { kind: 'ClusterRole', name: 'test' }
    store.create(`clusterrolebindings.${RBAC}`, { metadata: { name: 'test' }, subjects, roleRef })
    const spec = { request: block('CERTIFICATE REQUEST'), signerName: 'example.com/mesh', usages: ['client auth'] }
    const made = await cart.post(CSRS, { metadata: { name: 'c' }, spec })
    assert.equal(made.body.spec.uid, account.metadata.uid)
    assert.equal(made.body.spec.username, USERNAME)
    const conditions = [{ type: 'Approved', status: 'True' }]
    const approved = await cart.patch(`${CSRS}/c/approval`, { status: { conditions } })
    const signed = await cart.patch(`${CSRS}/c/status`, { status: { certificate: block('CERTIFICATE') } })
    if (signed.code === 403) {
      assert.match(
        signed.body.message,
        /"c" is forbidden: user not permitted to sign requests with signerName "example/,
      )
    }
    return [approved.code, signed.code]
  }

  test('approves and signs for the name it is trusted with', async () => {
    assert.deepEqual(await tries('example.com/mesh'), [200, 200])
  })
  test('approves and signs for its whole domain', async () => {
    assert.deepEqual(await tries('example.com/*'), [200, 200])
  })
  test('approves and signs for no other', async () => {
    assert.deepEqual(await tries('example.com/other', 'other.com/*', '*'), [403, 403])
  })
})

describe('a TokenReview', () => {
  async function status(spec: Record<string, unknown>) {
    const { code, body } = await admin.post(TOKEN_REVIEWS, { spec })
    assert.equal(code, 201)
    return body.status
  }

  test('tells whose a token is and for which of the audiences', async () => {
    const { authenticated, user, audiences } = await status({ token })
    assert.equal(authenticated, true)
    assert.deepEqual([user.username, user.uid], [USERNAME, account.metadata.uid])
    assert.deepEqual(user.groups, ['system:serviceaccounts', 'system:serviceaccounts:shop', 'system:authenticated'])
    assert.match(user.extra['authentication.kubernetes.io/credential-id'][0], /^JTI=[-0-9a-f]{36}$/)
    assert.deepEqual(audiences, ['https://kubernetes.default.svc'])
    const mesh = await tokenFor({ audiences: ['mesh', 'more'] })
    assert.deepEqual((await status({ token: mesh, audiences: ['other', 'mesh'] })).audiences, ['mesh'])
  })

  test('tells the pod and the node that a token is bound to', async () => {
    const metadata = { namespace: 'shop', name: 'cart-1' }
    const containers = [{ name: 'main', image: 'shop' }]
    const pod = store.create('pods', { metadata, spec: { serviceAccountName: 'cart', nodeName: 'gone', containers } })
    const ofPod = await tokenFor({ boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: 'cart-1' } })
    const { 'authentication.kubernetes.io/credential-id': _id, ...extra } = (await status({ token: ofPod })).user.extra
    assert.deepEqual(extra, {
      'authentication.kubernetes.io/pod-name': ['cart-1'],
      'authentication.kubernetes.io/pod-uid': [pod.metadata.uid],
      'authentication.kubernetes.io/node-name': ['gone'],
    })
    store.delete('pods', 'shop', 'cart-1', { gracePeriodSeconds: 0 })
    assert.match((await status({ token: ofPod })).error, /invalidated/)
  })

  test('of a token that is no good says so and why', async () => {
    for (const spec of [{ token: 'x' }, { token, audiences: ['mesh'] }]) {
      const { authenticated, error, user } = await status(spec)
      assert.deepEqual([authenticated, user], [undefined, {}])
      assert.match(error, /invalid/)
    }
    assert.equal((await admin.post(TOKEN_REVIEWS, { spec: {} })).code, 400)
  })

  test('is for those who may ask, by POST alone, and leaves nothing behind', async () => {
    assert.equal((await cart.post(TOKEN_REVIEWS, { spec: { token } })).code, 403)
    assert.equal((await admin.get(TOKEN_REVIEWS)).code, 405)
    assert.equal((await admin.get(`${TOKEN_REVIEWS}/x`)).code, 405)
    assert.deepEqual(store.list('tokenreviews.authentication.k8s.io'), [])
  })
})

describe('an access review', () => {
  const LIST_PODS = { resourceAttributes: { verb: 'list', resource: 'pods', namespace: 'shop' } }

  test('tells what somebody may do', async () => {
    const spec = { ...LIST_PODS, user: USERNAME }
    assert.deepEqual((await admin.post(ACCESS_REVIEWS, { spec })).body.status, { allowed: false })
    allow({ verbs: ['list'], apiGroups: [''], resources: ['pods'] }, { cluster: false })
    assert.deepEqual((await admin.post(ACCESS_REVIEWS, { spec })).body.status, { allowed: true })
    const path = { nonResourceAttributes: { verb: 'get', path: '/version' }, groups: ['system:authenticated'] }
    assert.deepEqual((await admin.post(ACCESS_REVIEWS, { spec: path })).body.status, { allowed: true })
  })

  test('of oneself is for everybody', async () => {
    const own = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'
    assert.deepEqual((await cart.post(own, { spec: LIST_PODS })).body.status, { allowed: false })
    assert.deepEqual((await admin.post(own, { spec: LIST_PODS })).body.status, { allowed: true })
  })

  test('asks one thing about somebody', async () => {
    assert.equal((await admin.post(ACCESS_REVIEWS, { spec: LIST_PODS })).code, 422)
    assert.equal((await admin.post(ACCESS_REVIEWS, { spec: { user: 'x' } })).code, 422)
  })
})

describe('acting as somebody else', () => {
  const as = (user: string, groups: Record<string, string> = {}, by?: string): Caller =>
    new Caller(api.url, by, { 'impersonate-user': user, ...groups })

  test('gives the rights of that user and its groups', async () => {
    assert.equal((await as(USERNAME).get(PODS)).code, 403)
    allow({ verbs: ['list'], apiGroups: [''], resources: ['pods'] }, { cluster: false })
    assert.equal((await as(USERNAME).get(PODS)).code, 200)
    assert.equal((await as('somebody').get(PODS)).code, 403)
    assert.equal((await as('somebody', { 'impersonate-group': 'system:masters' }).get(PODS)).code, 200)
  })

  test('is for those who may', async () => {
    const { code, body } = await as('kubernetes-admin', {}, token).get(PODS)
    assert.equal(code, 403)
    assert.match(body.message, /cannot impersonate resource "users" in API group "" at the cluster scope/)
    allow({ verbs: ['impersonate'], apiGroups: [''], resources: ['users'] }, { cluster: true })
    const grouped = await as('kubernetes-admin', { 'impersonate-group': 'system:masters' }, token).get(PODS)
    assert.match(grouped.body.message, /groups "system:masters" is forbidden/)
  })

  test('is not ignored where it is not understood', async () => {
    assert.equal((await new Caller(api.url, undefined, { 'impersonate-uid': 'x' }).get(PODS)).code, 400)
    assert.equal((await new Caller(api.url, undefined, { 'impersonate-group': 'x' }).get(PODS)).code, 400)
  })
})

describe('roles and bindings', () => {
  test('that do not make sense are refused', async () => {
    const roles = `/apis/${RBAC}/v1/namespaces/shop/roles`
    const bindings = `/apis/${RBAC}/v1/clusterrolebindings`
    const metadata = { name: 'test' }
    const roleRef = { kind: 'ClusterRole', name: 'x' }
    const rows: [path: string, body: Record<string, unknown>, says: RegExp][] = [
      [roles, { rules: [{ apiGroups: [''], resources: ['pods'] }] }, /verbs must contain at least one value/],
      [roles, { rules: [{ verbs: ['get'], resources: ['pods'] }] }, /at least one api group/],
      [roles, { rules: [{ verbs: ['get'], nonResourceURLs: ['/x'] }] }, /namespaced rules cannot apply/],
      [bindings, { roleRef: { kind: 'Role', name: 'x' } }, /roleRef.kind: Unsupported value: "Role"/],
      [bindings, { roleRef, subjects: [{ kind: 'ServiceAccount', name: 'x' }] }, /subjects\[0\].namespace: Required/],
      [bindings, { roleRef, subjects: [{ kind: 'Robot', name: 'x' }] }, /subjects\[0\].kind: Unsupported/],
    ]
    for (const [path, body, says] of rows) {
      const answer = await admin.post(path, { metadata, ...body })
      assert.equal(answer.code, 422)
      assert.match(answer.body.message, says)
    }
  })

  test('keep the role they are about, and may be named with colons', async () => {
    const bindings = `/apis/${RBAC}/v1/clusterrolebindings`
    const roleRef = { kind: 'ClusterRole', name: 'system:x' }
    const made = await admin.post(bindings, { metadata: { name: 'test' }, roleRef })
    assert.deepEqual(made.body['roleRef'], { apiGroup: RBAC, ...roleRef })
    const changed = await admin.patch(`${bindings}/test`, { roleRef: { name: 'y' } })
    assert.match(changed.body.message, /cannot change roleRef/)
    assert.equal((await admin.get(`${bindings}/cluster-admin`)).code, 200)
    assert.equal((await admin.post(bindings, { metadata: { name: 'a%b' }, roleRef })).code, 422)
  })
})
