// `weft analyze` against the lab's Kubernetes API, over HTTP: what a cluster has, and files laid over it.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { analysed, type AnalyzeWish } from '../../agent/cli/analyze.ts'
import { loadDefinitions } from '../../lab/api/definitions.ts'
import { type Api, startApi } from '../../lab/api/server.ts'
import { createStore, type Store } from '../../lab/api/store.ts'

const CRDS = readFileSync(join(import.meta.dirname, '../../lab/api/istio-crds.yaml'), 'utf8')
const NETWORKING = 'networking.istio.io'

const store: Store = createStore()
let folder = ''
let kubeconfig = ''
let api: Api

const nothing: AsyncIterable<Uint8Array> = {
  [Symbol.asyncIterator]: () => ({ next: async () => ({ done: true, value: undefined }) }),
}

async function told(files: readonly string[] = [], more: Partial<AnalyzeWish> = {}): Promise<string[]> {
  const wish: AnalyzeWish = {
    ...{ files, offline: false, kubeconfig, namespace: null, output: 'text', failOn: 'error' },
    ...{ clusterDomain: 'cluster.local', rootNamespace: 'istio-system', ...more },
  }
  const { findings } = await analysed(wish, nothing)
  return findings.map(({ code, severity, object, field, file }) => {
    return `${severity} ${code} ${object.namespace}/${object.name} ${field}${file === null ? '' : ' in a file'}`
  })
}

before(async () => {
  loadDefinitions(store, CRDS)
  const named = (name: string, rest: object, metadata: object = {}) => ({
    metadata: { name, namespace: 'default', ...metadata },
    ...rest,
  })
  store.modify('namespaces', null, 'default', ({ metadata }) => {
    metadata.annotations = { 'weft.dev/mesh': 'enabled' }
  })
  const spec = { selector: { app: 'front' }, ports: [{ name: 'http', port: 80 }] }
  store.create('services', named('front', { spec }))
  store.create(
    'pods',
    named('front-1', { spec: { containers: [{ name: 'a', image: 'a' }] } }, { labels: { app: 'front' } }),
  )
  const route = { destination: { host: 'front', subset: 'v1' } }
  store.create(
    `virtualservices.${NETWORKING}`,
    named('front', { spec: { hosts: ['front'], http: [{ route: [route] }] } }),
  )
  store.create(`serviceentries.${NETWORKING}`, named('outside', { spec: { hosts: ['api.example.com'] } }))
  api = await startApi({ store })
  folder = await mkdtemp(join(tmpdir(), 'weft-analyze-'))
  kubeconfig = join(folder, 'kubeconfig')
  await writeFile(
    kubeconfig,
    `apiVersion: v1
kind: Config
clusters: [{ name: test, cluster: { server: '${api.url}' } }]
users: [{ name: test, user: {} }]
contexts: [{ name: test, context: { cluster: test, user: test } }]
current-context: test
`,
  )
})
after(async () => {
  await api.close()
  await rm(folder, { recursive: true })
})

test('what a cluster has is judged, kinds that the mesh does not read included', async () => {
  assert.deepEqual(await told(), [
    'info WEFT0106 default/outside ',
    'error WEFT0205 default/front spec.http[0].route[0].destination.subset',
  ])
  assert.deepEqual(await told([], { namespace: 'istio-system' }), [])
})

test('files are judged as if they were applied', async () => {
  const file = join(folder, 'subsets.yaml')
  const rule = (labels: string): string => `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: front }
spec: { host: front, subsets: [{ name: v1, labels: { ${labels} } }] }
`
  await writeFile(file, rule('app: front'))
  assert.deepEqual(await told([file]), ['info WEFT0106 default/outside '])
  await writeFile(file, rule('version: v1'))
  assert.deepEqual(await told([file]), [
    'warning WEFT0302 default/front spec.subsets[0].labels in a file',
    'info WEFT0106 default/outside ',
    'warning WEFT0206 default/front spec.http[0].route[0].destination.subset',
  ])
})
