// Services as Kubernetes means them, dialled from a joined pod: what kube-proxy gives a pod that is not in the mesh.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { V1Pod } from '@kubernetes/client-node'
import { eventually, TestLab } from './lab.ts'
import { podManifest, samples, statusNow, sumOf, upWithAgents } from './mesh.ts'

const NAMESPACE = 'shop'
const CALLER = `${NAMESPACE}/caller`
const ROOT = '/api/v1/namespaces/istio-system/configmaps'
const command = [process.execPath, join(import.meta.dirname, 'versioned.ts')]
const readinessProbe = { httpGet: { port: 8080, path: '/ready' }, periodSeconds: 1 }

function pod(name: string, node: string, app: string): string {
  const main = { name: 'main', image: 'none', command, readinessProbe, env: [{ name: 'VERSION', value: name }] }
  const metadata = { name, namespace: NAMESPACE, labels: { app, all: 'yes' } }
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata,
    spec: { nodeName: node, containers: [main] },
  })
}

function service(name: string, spec: object): string {
  const ports = [{ name: 'http', port: 80, targetPort: 8080 }]
  const metadata = { name, namespace: NAMESPACE }
  return JSON.stringify({ apiVersion: 'v1', kind: 'Service', metadata, spec: { ports, ...spec } })
}

const set = {
  serviceName: 'set',
  replicas: 2,
  selector: { matchLabels: { app: 'set' } },
  template: {
    metadata: { labels: { app: 'set' } },
    spec: { containers: [{ name: 'main', image: 'none', command, readinessProbe }] },
  },
}

const MANIFESTS = [
  JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'istio-system' } }),
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: NAMESPACE, annotations: { 'weft.dev/mesh': 'enabled' } },
  }),
  podManifest({ name: 'caller', namespace: NAMESPACE, node: 'node-1' }),
  pod('near', 'node-1', 'near'),
  pod('far', 'node-2', 'far'),
  service('all', { selector: { all: 'yes' } }),
  service('sticky', {
    selector: { all: 'yes' },
    sessionAffinity: 'ClientIP',
    sessionAffinityConfig: { clientIP: { timeoutSeconds: 2 } },
  }),
  service('local', { selector: { all: 'yes' }, internalTrafficPolicy: 'Local' }),
  service('far-only', { selector: { app: 'far' }, internalTrafficPolicy: 'Local' }),
  service('near', { selector: { app: 'near' } }),
  service('outside', { selector: { app: 'near' }, externalIPs: ['198.51.100.7'] }),
  service('set', { selector: { app: 'set' }, clusterIP: 'None', ports: [{ name: 'http', port: 8080 }] }),
  JSON.stringify({
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name: 'set', namespace: NAMESPACE },
    spec: set,
  }),
].join('\n---\n')

let lab: TestLab

before(async () => {
  lab = await TestLab.make()
  await upWithAgents(lab, MANIFESTS, [])
  await eventually('every pod is captured', async () => (await statusNow(lab)).whole)
})
after(() => lab.end())

/** Asks so often, each time on a new connection; tells status and body of each, or what came instead. */
async function ask(url: string, times = 1, from = CALLER): Promise<string[]> {
  const code = `const http = require('node:http');
    const one = () => new Promise((resolve) => http.get('${url}', { agent: false, timeout: 5000 }, (r) => {
      let text = ''; r.on('data', (d) => (text += d)); r.on('end', () => resolve(r.statusCode + ' ' + text))
    }).on('error', (e) => resolve(e.code)));
    const all = []; for (let i = 0; i < ${times}; i++) all.push(await one()); console.log(JSON.stringify(all))`
  return JSON.parse(await lab.js(from, code)) as string[]
}

const kinds = (answers: readonly string[]): string[] => [...new Set(answers)].sort()

test('every endpoint serves, the caller’s own among them', async () => {
  assert.deepEqual(kinds(await ask('http://all/', 60)), ['200 far', '200 near'])
  assert.deepEqual(kinds(await ask(`http://near.${NAMESPACE}/`, 3, `${NAMESPACE}/near`)), ['200 near'])
})

test('with session affinity a caller stays with one endpoint', async () => {
  assert.equal(kinds(await ask('http://sticky/', 30)).length, 1)
})

test('with internalTrafficPolicy Local endpoints of the own node serve, and where there is none nobody does', async () => {
  assert.deepEqual(kinds(await ask('http://local/', 20)), ['200 near'])
  assert.match((await ask('http://far-only/'))[0] ?? '', /^503 NO_ENDPOINT/)
})

test('an external IP is the service’s, though it belongs to no interface', async () => {
  assert.deepEqual(await ask('http://198.51.100.7/'), ['200 near'])
})

test('a pod of a StatefulSet is reached by its name, and the requests are its service’s', async () => {
  for (const name of ['set-0', 'set-1']) assert.deepEqual(await ask(`http://${name}.set:8080/`), [`200 ${name}`])
  assert.deepEqual(kinds(await ask('http://set:8080/', 20)).slice(0, 1), ['200 set-0'])
  const labels = { reporter: 'source', destination_service: `set.${NAMESPACE}.svc.cluster.local` }
  assert.equal(sumOf(await samples(lab, 'node-1'), 'istio_requests_total', labels), 22)
})

test('a VirtualService of a headless service applies to who dials it by name', async () => {
  const spec = {
    hosts: ['set'],
    http: [
      { fault: { abort: { httpStatus: 418, percentage: { value: 100 } } }, route: [{ destination: { host: 'set' } }] },
    ],
  }
  const path = `/apis/networking.istio.io/v1/namespaces/${NAMESPACE}/virtualservices`
  await lab.api.create(path, {
    apiVersion: 'networking.istio.io/v1',
    kind: 'VirtualService',
    metadata: { name: 'set', namespace: NAMESPACE },
    spec,
  })
  await eventually('the route is in force', async () => (await ask('http://set-0.set:8080/'))[0]?.startsWith('418'))
  const ip = (await lab.api.get<V1Pod>(`/api/v1/namespaces/${NAMESPACE}/pods/set-0`)).status?.podIP ?? ''
  assert.deepEqual(await ask(`http://${ip}:8080/`), ['200 set-0'], 'a dialled pod gets no routing')
})

test('what nothing in the mesh stands for is gone to, or refused, as outboundTrafficPolicy says, live', async () => {
  const host = (await lab.api.get<V1Pod>(`/api/v1/namespaces/${NAMESPACE}/pods/far`)).status?.hostIP ?? ''
  const url = `http://${host}:15020/healthz` // the node's own, no pod's and no service's
  const open = (await ask(url))[0] ?? ''
  assert.doesNotMatch(open, /BLACK_HOLE/)
  const data = { mesh: 'outboundTrafficPolicy: { mode: REGISTRY_ONLY }' }
  await lab.api.create(ROOT, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'weft', namespace: 'istio-system' },
    data,
  })
  await eventually('it is refused', async () => (await ask(url))[0]?.startsWith('502 BLACK_HOLE'))
  assert.deepEqual(kinds(await ask('http://near/', 3)), ['200 near'])
  const reset = `const s = require('node:net').connect(22, '${host}'); s.on('error', (e) => console.log(e.code)); s.on('end', () => console.log('end'))`
  assert.equal(await lab.js(CALLER, reset), 'ECONNRESET')
  const blackHole = { destination_service_name: 'BlackHoleCluster', response_code: '502' }
  assert.ok(sumOf(await samples(lab, 'node-1'), 'istio_requests_total', blackHole) >= 1)
  await lab.api.remove(`${ROOT}/weft`)
  await eventually('it is open again', async () => (await ask(url))[0] === open)
})
