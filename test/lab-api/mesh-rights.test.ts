// What the agent's and the controller's service accounts may do by lab/mesh/rights.yaml, and the pod that shows a program:
// against the API on the wire.
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startApi } from '../../lab/api/server.ts'
import { createStore } from '../../lab/api/store.ts'
import { applyManifests, readManifests } from '../../lab/cli/manifests.ts'
import { Mirror } from '../../lab/mesh/mirror.ts'
import { Api as Client } from '../../lab/node/api.ts'
import { PROJECT } from '../../lab/state.ts'
import { Caller } from './requests.ts'
import type { Api } from '../../lab/api/server.ts'
import type { Store } from '../../lab/api/store.ts'

let store: Store
let api: Api
let client: Client
let folder: string

before(async () => {
  store = createStore()
  api = await startApi({ store })
  client = new Client(api.url)
  folder = await mkdtemp(join(tmpdir(), 'weft-rights-'))
  for (const name of ['istio-system', 'weft-system', 'shop']) store.create('namespaces', { metadata: { name } })
  store.create('nodes', { metadata: { name: 'node-1' } })
  await applyManifests(client, await readManifests([join(PROJECT, 'lab/mesh/rights.yaml')]), () => undefined)
})
after(async () => {
  client.close()
  await api.close()
  await rm(folder, { recursive: true })
})

/** VERB RESOURCE[.GROUP][/SUBRESOURCE] [NAMESPACE][/NAME] */
function accessOf(text: string): Record<string, string> {
  const [verb = '', what = '', where = ''] = text.split(' ')
  const [whole = '', subresource = ''] = what.split('/')
  const [resource = '', ...group] = whole.split('.')
  const [namespace = '', ...name] = where.split('/')
  return { verb, resource, subresource, group: group.join('.'), namespace, name: name.join('/') }
}

async function may(account: string, text: string): Promise<boolean> {
  const spec = { user: `system:serviceaccount:weft-system:${account}`, resourceAttributes: accessOf(text) }
  const { code, body } = await new Caller(api.url).post('/apis/authorization.k8s.io/v1/subjectaccessreviews', { spec })
  assert.equal(code, 201, body.message)
  return body.status.allowed as boolean
}

const CSR = 'certificatesigningrequests.certificates.k8s.io'
const SIGNERS = 'signers.certificates.k8s.io'
const REVIEWS = ['create tokenreviews.authentication.k8s.io', 'create subjectaccessreviews.authorization.k8s.io']
const ROWS: Readonly<Record<string, { readonly may: readonly string[]; readonly mayNot: readonly string[] }>> = {
  'weft-agent': {
    may: [
      ...['list namespaces', 'watch services', 'list pods', 'watch pods', 'patch pods shop/a', 'watch nodes'],
      ...['watch endpointslices.discovery.k8s.io', 'list virtualservices.networking.istio.io'],
      ...['watch destinationrules.networking.istio.io', 'list peerauthentications.security.istio.io'],
      ...['list authorizationpolicies.security.istio.io', 'watch requestauthentications.security.istio.io'],
      ...['watch configmaps istio-system/weft', 'watch configmaps weft-system/weft-roots'],
      ...[`create ${CSR}`, `get ${CSR} /a`, ...REVIEWS],
    ],
    mayNot: [
      ...['list secrets', 'get secrets weft-system/weft-root', 'list configmaps', 'list configmaps istio-system'],
      ...['create pods shop', 'delete pods shop/a', 'update pods shop/a', 'patch pods/status shop/a', 'patch nodes /a'],
      ...[
        'patch services shop/a',
        'update configmaps weft-system/weft-roots',
        `create serviceaccounts/token weft-system/a`,
      ],
      ...[
        `list ${CSR}`,
        `watch ${CSR}`,
        `update ${CSR}/approval /a`,
        `update ${CSR}/status /a`,
        `approve ${SIGNERS} /weft.dev/workload`,
      ],
      ...['patch virtualservices.networking.istio.io/status shop/a', 'create events.events.k8s.io shop'],
      ...['create pods/portforward weft-system/a', 'get agents.weft.dev/snapshot /node-1', 'get nodes/proxy /node-1'],
    ],
  },
  'weft-controller': {
    may: [
      ...['list namespaces', 'list pods', 'watch pods', 'watch virtualservices.networking.istio.io'],
      ...['patch virtualservices.networking.istio.io/status shop/a', 'create events.events.k8s.io shop'],
      ...['patch destinationrules.networking.istio.io/status shop/a', 'patch events.events.k8s.io shop/a'],
      ...['patch peerauthentications.security.istio.io/status shop/a', 'watch configmaps istio-system/weft'],
      ...['watch authorizationpolicies.security.istio.io', 'list requestauthentications.security.istio.io'],
      ...['patch authorizationpolicies.security.istio.io/status shop/a'],
      ...['patch requestauthentications.security.istio.io/status shop/a'],
      ...[
        'create leases.coordination.k8s.io weft-system',
        'update leases.coordination.k8s.io weft-system/weft-controller',
      ],
      ...[
        'create secrets weft-system',
        'watch secrets weft-system/weft-root',
        'watch configmaps weft-system/weft-roots',
        'get configmaps weft-system/weft-roots',
      ],
      ...[`watch ${CSR}`, `update ${CSR}/approval /a`, `update ${CSR}/status /a`],
      ...[`approve ${SIGNERS} /weft.dev/workload`, `sign ${SIGNERS} /weft.dev/workload`, ...REVIEWS],
    ],
    mayNot: [
      ...[
        'list secrets weft-system',
        'get secrets weft-system/other',
        'get secrets shop/weft-root',
        'create secrets shop',
      ],
      ...['patch pods shop/a', 'list services', 'update virtualservices.networking.istio.io shop/a', `create ${CSR}`],
      ...[
        'update leases.coordination.k8s.io weft-system/other',
        'delete secrets weft-system/weft-root',
        'update secrets weft-system/weft-root',
      ],
      ...[`approve ${SIGNERS} /kubernetes.io/kube-apiserver-client`, `sign ${SIGNERS} /weft.dev/other`],
    ],
  },
}

for (const [account, { may: allowed, mayNot }] of Object.entries(ROWS)) {
  test(`${account} may do what it has to, and no more`, async () => {
    for (const text of allowed) assert.equal(await may(account, text), true, text)
    for (const text of mayNot) assert.equal(await may(account, text), false, text)
  })
}

test('a manifest of a Node that is there says where it is', async () => {
  const labels = { 'topology.kubernetes.io/region': 'eu', 'topology.kubernetes.io/zone': 'a' }
  const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-1', labels } }
  await applyManifests(client, [node], () => undefined)
  assert.deepEqual(store.get('nodes', null, 'node-1')?.metadata.labels, labels)
})

test('the pod of a program follows its process, and its token follows the pod', async (t) => {
  const cgroup = join(folder, 'cgroup')
  await mkdir(cgroup)
  const said: string[] = []
  const stop = new AbortController()
  const mirror = new Mirror({
    readyz: () => Promise.resolve(true),
    ...{ store, api: client, cgroup, credentials: join(folder, 'credentials'), server: api.url },
    program: { role: 'agent', node: 'node-1', address: '10.0.0.1' },
    log: (sentence) => void said.push(sentence),
  })
  const file = await mirror.make()
  const following = mirror.follow(stop.signal)
  t.after(() => {
    stop.abort()
    return following
  })
  assert.match(await readFile(file, 'utf8'), /tokenFile/)
  const pod = () => store.get('pods', 'weft-system', 'weft-agent-node-1')
  const isReady = (): boolean =>
    (pod()?.status?.conditions ?? []).some(
      (each: Record<string, unknown>) => each['type'] === 'Ready' && each['status'] === 'True',
    )
  const until = async (what: string, isSo: () => boolean): Promise<void> => {
    for (let tries = 0; tries < 200 && !isSo(); tries++) await sleep(25)
    assert.ok(isSo(), what)
  }
  const tokenIsGood = async (): Promise<boolean> => {
    const token = await readFile(join(file, '..', 'token'), 'utf8')
    return (await new Caller(api.url, token).get('/api/v1/pods')).code === 200
  }
  assert.equal(isReady(), false)
  assert.ok(await tokenIsGood())
  await writeFile(join(cgroup, 'cgroup.procs'), '7\n')
  await until('ready with its process', isReady)
  await writeFile(join(cgroup, 'cgroup.procs'), '')
  await until('not ready without', () => !isReady())
  await writeFile(join(cgroup, 'cgroup.procs'), '8\n')
  await until('ready with the next one', isReady)
  const { uid } = pod()!.metadata
  store.delete('pods', 'weft-system', 'weft-agent-node-1', {})
  await until('another pod', () => pod() !== undefined && pod()!.metadata.uid !== uid && isReady())
  assert.ok(await tokenIsGood())
  assert.deepEqual(said, [])
})
