// A program in a pod, as it reaches the API: by TLS at an address of its node, with the token and the root its volume holds.
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { CoreV1Api, KubeConfig, makeInformer } from '@kubernetes/client-node'
import { startApi } from '../../lab/api/server.ts'
import { createStore } from '../../lab/api/store.ts'
import { startControllers } from '../../lab/controllers/start.ts'
import { Caller } from './requests.ts'
import type { AddressInfo } from 'node:net'
import type { Api } from '../../lab/api/server.ts'
import type { Store } from '../../lab/api/store.ts'

let store: Store
let api: Api
let controllers: { stop: () => void }
let port: number
let folder: string
let config: KubeConfig
const listening = createServer({ pauseOnConnect: false })

before(async () => {
  store = createStore()
  api = await startApi({ store, addresses: ['172.16.0.9'] })
  controllers = startControllers({ store, log: { warn: () => undefined }, rootCa: api.rootCa })
  listening.listen(0, '127.0.0.1')
  await once(listening, 'listening')
  api.attach(listening)
  port = (listening.address() as AddressInfo).port
  folder = await mkdtemp(join(tmpdir(), 'weft-in-cluster-'))
  const metadata = { namespace: 'default', name: 'cart' }
  store.create('serviceaccounts', { metadata })
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' }
  const subjects = [{ kind: 'ServiceAccount', ...metadata }]
  store.create('clusterrolebindings.rbac.authorization.k8s.io', { metadata: { name: 'cart' }, roleRef, subjects })
  const asked = await new Caller(api.url).post('/api/v1/namespaces/default/serviceaccounts/cart/token', {})
  const root = store.get('configmaps', 'default', 'kube-root-ca.crt')
  assert.equal(root?.['data']['ca.crt'], api.rootCa)
  await writeFile(join(folder, 'ca.crt'), root?.['data']['ca.crt'])
  config = new KubeConfig()
  const cluster = {
    name: 'in',
    server: `https://127.0.0.1:${port}`,
    caFile: join(folder, 'ca.crt'),
    skipTLSVerify: false,
  }
  config.loadFromClusterAndUser(cluster, { name: 'in', token: asked.body.status.token })
})
after(async () => {
  controllers.stop()
  await api.close()
  listening.close()
  await rm(folder, { recursive: true })
})

test('the client library reads, writes and watches by TLS', async () => {
  const core = config.makeApiClient(CoreV1Api)
  assert.ok((await core.listNamespace()).items.length >= 4)
  const list = () => core.listNamespacedConfigMap({ namespace: 'default' })
  const informer = makeInformer(config, '/api/v1/namespaces/default/configmaps', list)
  const heard = new Promise<string>((resolve) => {
    informer.on('add', ({ metadata }) => metadata?.name === 'big' && resolve('big'))
  })
  await informer.start()
  const body = { metadata: { name: 'big' }, data: { text: 'x'.repeat(200_000) } }
  await core.createNamespacedConfigMap({ namespace: 'default', body })
  assert.equal(await heard, 'big')
  await informer.stop()
})

test('plain http is still heard on the same socket, bodies and all', async () => {
  const plain = new Caller(`http://127.0.0.1:${port}`)
  const body = { metadata: { name: 'plain' }, data: { text: 'y'.repeat(200_000) } }
  assert.equal((await plain.post('/api/v1/namespaces/default/configmaps', body)).code, 201)
  const both = await Promise.all(
    Array.from({ length: 20 }, () => plain.get('/api/v1/namespaces/default/configmaps/plain')),
  )
  assert.deepEqual([...new Set(both.map(({ code }) => code))], [200])
})

test('who shows no token by TLS is nobody, who shows none plainly the administrator', async () => {
  const nobody = new KubeConfig()
  const cluster = {
    name: 'in',
    server: `https://127.0.0.1:${port}`,
    caFile: join(folder, 'ca.crt'),
    skipTLSVerify: false,
  }
  nobody.loadFromClusterAndUser(cluster, { name: 'in' })
  await assert.rejects(nobody.makeApiClient(CoreV1Api).listNamespace(), { code: 403 })
  assert.equal((await new Caller(`http://127.0.0.1:${port}`).get('/api/v1/namespaces')).code, 200)
})

test('a pod is given what reaches the API, unless it or its account says otherwise', () => {
  const containers = [{ name: 'main', image: 'shop' }]
  const pod = (name: string, spec: object) =>
    store.create('pods', { metadata: { namespace: 'default', name }, spec: { containers, ...spec } }).spec
  const given = pod('one', { serviceAccountName: 'cart' })
  assert.match(given.volumes[0].name, /^kube-api-access-.....$/)
  assert.deepEqual(given.volumes[0].projected.sources[0].serviceAccountToken, {
    expirationSeconds: 3607,
    path: 'token',
  })
  const mount = {
    name: given.volumes[0].name,
    readOnly: true,
    mountPath: '/var/run/secrets/kubernetes.io/serviceaccount',
  }
  assert.deepEqual(given.containers[0].volumeMounts, [mount])
  assert.equal(pod('two', { serviceAccountName: 'cart', automountServiceAccountToken: false }).volumes, undefined)
  assert.equal(pod('three', {}).volumes, undefined)
  store.create('serviceaccounts', {
    metadata: { namespace: 'default', name: 'quiet' },
    automountServiceAccountToken: false,
  })
  assert.equal(pod('four', { serviceAccountName: 'quiet' }).volumes, undefined)
  const why =
    /pods "five" is forbidden: error looking up service account default\/none: serviceaccount "none" not found/
  assert.throws(() => pod('five', { serviceAccountName: 'none' }), why)
  const priority = pod('six', { priorityClassName: 'system-node-critical' })
  assert.deepEqual([priority.priority, priority.preemptionPolicy], [2_000_001_000, 'PreemptLowerPriority'])
  assert.throws(() => pod('seven', { priorityClassName: 'none' }), /no PriorityClass with name none was found/)
})
