// An agent's pages as somebody with few rights asks for them: the API's port-forward, the agent's endpoint, and the reviews
// by which that decides, all on the wire.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Server } from 'node:http'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { askAgent, openReach } from '../../agent/cli/reach.ts'
import { gateBy } from '../../agent/gate.ts'
import { connectAsUser } from '../../agent/kube/user-client.ts'
import { startAdmin } from '../../agent/telemetry/admin.ts'
import { startApi, type Api } from '../../lab/api/server.ts'
import { createStore, type Store } from '../../lab/api/store.ts'
import { applyManifests, readManifests } from '../../lab/cli/manifests.ts'
import { mirrorPod } from '../../lab/mesh/mirror-pod.ts'
import { Api as Client } from '../../lab/node/api.ts'
import { kubeconfig, PROJECT } from '../../lab/state.ts'

const PAGES = {
  unready: () => null,
  metrics: () => Promise.resolve(''),
  status: () => Promise.resolve({ node: 'node-1' }),
  snapshot: () => '{"version":1}',
}
const RBAC = 'rbac.authorization.k8s.io'
let store: Store
let api: Api
let client: Client
let admin: Server
let folder: string

before(async () => {
  store = createStore()
  api = await startApi({
    store,
    administratorToken: 'of-the-administrator',
    dialPod: async ({ spec }, port) => {
      assert.deepEqual([spec.hostNetwork, port], [true, 15020])
      const socket = connect((admin.address() as AddressInfo).port, '127.0.0.1')
      await once(socket, 'connect')
      return socket
    },
  })
  client = new Client(api.url)
  folder = await mkdtemp(join(tmpdir(), 'weft-pages-'))
  for (const name of ['istio-system', 'weft-system']) store.create('namespaces', { metadata: { name } })
  await applyManifests(client, await readManifests([join(PROJECT, 'lab/mesh/rights.yaml')]), () => undefined)
  const pod = mirrorPod({ role: 'agent', node: 'node-1', address: '10.89.0.11' })
  store.create('pods', pod)
  store.create('endpointslices.discovery.k8s.io', {
    metadata: {
      namespace: 'weft-system',
      name: 'weft-agent-1',
      labels: { 'kubernetes.io/service-name': 'weft-agent' },
    },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['10.89.0.11'], nodeName: 'node-1', targetRef: { kind: 'Pod', name: pod.metadata.name } }],
  })
  const gate = gateBy(await kubeconfigOf('weft-agent'), { resource: 'agents', name: 'node-1' })
  admin = await startAdmin(PAGES, gate, { address: '127.0.0.1', port: 0 })
})
after(async () => {
  admin.close()
  admin.closeAllConnections()
  client.close()
  await api.close()
  await rm(folder, { recursive: true })
})

/** A kubeconfig of a service account of the mesh's namespace. */
async function kubeconfigOf(account: string): Promise<string> {
  const path = `/api/v1/namespaces/weft-system/serviceaccounts/${account}/token`
  const { status } = await client.create<{ status: { token: string } }>(path, {})
  const file = join(folder, account)
  await writeFile(file, kubeconfig(api.url, { token: status.token }))
  return file
}

/** A service account that may do what these rules say: in the mesh's namespace, and in the whole cluster. */
async function reader(name: string, own: readonly object[], everywhere: readonly object[]): Promise<string> {
  store.create('serviceaccounts', { metadata: { namespace: 'weft-system', name } })
  const subjects = [{ kind: 'ServiceAccount', namespace: 'weft-system', name }]
  const metadata = { namespace: 'weft-system', name }
  store.create(`roles.${RBAC}`, { metadata, rules: own })
  store.create(`rolebindings.${RBAC}`, { metadata, subjects, roleRef: { kind: 'Role', name } })
  store.create(`clusterroles.${RBAC}`, { metadata: { name }, rules: everywhere })
  store.create(`clusterrolebindings.${RBAC}`, { metadata: { name }, subjects, roleRef: { kind: 'ClusterRole', name } })
  return kubeconfigOf(name)
}

const REACH = [
  { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list'] },
  { apiGroups: [''], resources: ['pods/portforward'], verbs: ['get', 'create'] },
]
const pagesOf = (...subresources: string[]) => {
  const resources = subresources.map((each) => `agents/${each}`)
  return [{ apiGroups: ['weft.dev'], resources, resourceNames: ['node-1'], verbs: ['get'] }]
}
const reachBy = (file: string, token: string | null = null) =>
  openReach(connectAsUser(file), { namespace: 'weft-system', token })

test('somebody with the rights that are named, and no more, reads the page that they are about, and no other', async () => {
  const reach = await reachBy(await reader('kai', REACH, pagesOf('status')))
  assert.deepEqual(await askAgent(reach, 'node-1', '/status'), { body: '{"node":"node-1"}' })
  await assert.rejects(
    askAgent(reach, 'node-1', '/snapshot'),
    /agents "node-1" is forbidden: User "system:serviceaccount:weft-system:kai" cannot get resource "agents\/snapshot"/,
  )
})

test('who may not forward ports does not get as far as the agent', async () => {
  const reach = await reachBy(await reader('lea', REACH.slice(0, 1), pagesOf('status')))
  await assert.rejects(askAgent(reach, 'node-1', '/status'), /pods\/portforward.*cannot get resource/)
})

test('the administrator of a lab reads all by the lab’s kubeconfig; without a token, by one that is given', async () => {
  const file = join(folder, 'administrator')
  await writeFile(file, kubeconfig(api.url, { token: 'of-the-administrator' }))
  assert.deepEqual(await askAgent(await reachBy(file), 'node-1', '/snapshot'), { body: '{"version":1}' })
  await writeFile(file, kubeconfig(api.url, { token: '' }))
  await assert.rejects(reachBy(file), /no token/)
  const given = await reachBy(file, 'of-the-administrator')
  assert.deepEqual(await askAgent(given, 'node-1', '/snapshot'), { body: '{"version":1}' })
  await assert.rejects(
    askAgent(await reachBy(file, 'nobody'), 'node-1', '/snapshot'),
    /the Kubernetes API does not take this token/,
  )
})
