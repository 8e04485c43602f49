// The client library that agents watch with, against the lab's API.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import {
  AppsV1Api,
  CoreV1Api,
  CustomObjectsApi,
  KubeConfig,
  KubernetesObjectApi,
  makeInformer,
  PatchStrategy,
  setHeaderOptions,
  Watch,
} from '@kubernetes/client-node'
import { loadDefinitions } from '../../lab/api/definitions.ts'
import { startApi } from '../../lab/api/server.ts'
import { createStore } from '../../lab/api/store.ts'
import { DEFINITION, POD } from './manifests.ts'
import { parse } from 'yaml'
import type { Api } from '../../lab/api/server.ts'
import type { ObjectDraft } from '../../lab/api/object.ts'
import type { Store } from '../../lab/api/store.ts'
import type { V1Pod } from '@kubernetes/client-node'

const config = new KubeConfig()
let store: Store
let api: Api

before(async () => {
  store = createStore({ logLimit: 50 })
  loadDefinitions(store, DEFINITION)
  api = await startApi({ store, bookmarkMs: 100 })
  // The library takes plain http only from a kubeconfig that says that TLS is not verified.
  config.loadFromClusterAndUser({ name: 'lab', server: api.url, skipTLSVerify: true }, { name: 'lab' })
})
after(() => api.close())

function pod(name: string, namespace = 'default'): ObjectDraft {
  const draft = parse(POD) as ObjectDraft
  return { ...draft, metadata: { ...draft.metadata, name, namespace } }
}

test('typed lists and reads have dates and counts as the library types them', async () => {
  store.create('pods', pod('typed'))
  const core = config.makeApiClient(CoreV1Api)
  const { items, metadata } = await core.listNamespacedPod({ namespace: 'default', labelSelector: 'app=walker' })
  assert.equal(items[0]?.spec?.containers[0]?.image, 'example/legs:2')
  assert.ok(items[0]?.metadata?.creationTimestamp instanceof Date)
  assert.equal(metadata?.resourceVersion, store.version)
  await assert.rejects(core.readNamespacedPod({ namespace: 'default', name: 'nobody' }), { code: 404 })
  await core.deleteNamespacedPod({ namespace: 'default', name: 'typed' })
  assert.equal(store.get('pods', 'default', 'typed'), undefined)
})

test('typed writes and strategic patches arrive', async () => {
  const apps = config.makeApiClient(AppsV1Api)
  const labels = { app: 'x' }
  const containers = [
    { name: 'a', image: 'a:1' },
    { name: 'b', image: 'b:1' },
  ]
  const spec = { selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers } } }
  await apps.createNamespacedDeployment({ namespace: 'default', body: { metadata: { name: 'd' }, spec } })
  const patch = { spec: { template: { spec: { containers: [{ name: 'b', image: 'b:2' }] } } } }
  const options = setHeaderOptions('Content-Type', PatchStrategy.StrategicMergePatch)
  await apps.patchNamespacedDeployment({ name: 'd', namespace: 'default', body: patch }, options)
  const stored = store.get('deployments.apps', 'default', 'd')
  assert.deepEqual(
    stored?.spec.template.spec.containers.map(({ image }: { image: string }) => image),
    ['a:1', 'b:2'],
  )
})

test('an annotation by merge patch and a custom resource with its status arrive', async () => {
  store.create('pods', pod('marked'))
  const core = config.makeApiClient(CoreV1Api)
  const body = { metadata: { annotations: { 'weft.dev/captured': 'node-1' } } }
  const options = setHeaderOptions('Content-Type', PatchStrategy.MergePatch)
  await core.patchNamespacedPod({ namespace: 'default', name: 'marked', body }, options)
  assert.equal(store.get('pods', 'default', 'marked')?.metadata.annotations?.['weft.dev/captured'], 'node-1')
  store.delete('pods', 'default', 'marked')

  const boats = { group: 'example.com', version: 'v1', plural: 'boats', namespace: 'default' }
  const custom = config.makeApiClient(CustomObjectsApi)
  const boat = { apiVersion: 'example.com/v1', kind: 'Boat', metadata: { name: 'argo' }, spec: { crew: 50 } }
  await custom.createNamespacedCustomObject({ ...boats, body: boat })
  const status = [{ op: 'add', path: '/status', value: { afloat: true } }]
  await custom.patchNamespacedCustomObjectStatus({ ...boats, name: 'argo', body: status })
  assert.deepEqual(store.get('boats.example.com', 'default', 'argo')?.status, { afloat: true })
})

test('the object client finds kinds by discovery', async () => {
  const objects = KubernetesObjectApi.makeApiClient(config)
  const metadata = { name: 'c', namespace: 'default' }
  await objects.create({ apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { a: '1' } })
  const patch = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { b: '2' } } as object
  await objects.patch(patch, undefined, undefined, undefined, undefined, PatchStrategy.MergePatch)
  assert.deepEqual(store.get('configmaps', 'default', 'c')?.['data'], { a: '1', b: '2' })
  await objects.delete({ apiVersion: 'v1', kind: 'ConfigMap', metadata })
  assert.equal(store.get('configmaps', 'default', 'c'), undefined)
})

test('Watch hears changes and bookmarks, and Gone for a version that is forgotten', async () => {
  const heard: string[] = []
  let enough = (): void => {}
  const done = new Promise<void>((resolve) => (enough = resolve))
  const query = { resourceVersion: store.version, allowWatchBookmarks: true }
  const controller = await new Watch(config).watch(
    '/api/v1/pods',
    query,
    (phase: string, object: { metadata: { name?: string } }) => {
      heard.push(`${phase} ${object.metadata.name ?? ''}`.trim())
      if (phase === 'BOOKMARK' && heard.length > 2) enough()
    },
    () => {},
  )
  store.create('pods', pod('watched'))
  store.delete('pods', 'default', 'watched')
  await done
  assert.deepEqual(
    heard.filter((each) => each !== 'BOOKMARK'),
    ['ADDED watched', 'DELETED watched'],
  )
  controller.abort()

  const code = await new Promise<number>((resolve, reject) => {
    const hear = (phase: string, object: { code: number }): void => {
      if (phase === 'ERROR') resolve(object.code)
    }
    new Watch(config).watch('/api/v1/pods', { resourceVersion: '1' }, hear, () => {}).catch(reject)
  })
  assert.equal(code, 410)
})

test('an informer follows, and finds what changed while it was stopped', async () => {
  const core = config.makeApiClient(CoreV1Api)
  store.create('pods', pod('first'))
  const known = new Set<string>()
  const informer = makeInformer<V1Pod>(config, '/api/v1/pods', () => core.listPodForAllNamespaces())
  informer.on('add', ({ metadata }) => known.add(metadata?.name ?? ''))
  informer.on('delete', ({ metadata }) => known.delete(metadata?.name ?? ''))
  await informer.start()
  await until(() => known.has('first'))
  store.create('pods', pod('second'))
  store.delete('pods', 'default', 'first')
  await until(() => known.has('second') && !known.has('first'))
  await informer.stop()
  // More changes than the log holds while nobody listens.
  for (let at = 0; at < 60; at++)
    store.modify('pods', 'default', 'second', ({ metadata }) => (metadata.labels = { at: `${at}` }))
  store.create('pods', pod('third'))
  await informer.start()
  await until(() => known.has('third'))
  assert.deepEqual([...known].sort(), ['second', 'third'])
  await informer.stop()
})

async function until(holds: () => boolean): Promise<void> {
  const end = performance.now() + 5000
  while (!holds() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 10))
  assert.ok(holds(), 'within 5 s')
}
