import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { status, ToldApi } from './api.fixture.ts'
import type { KubeClient } from './client.ts'
import { object } from './objects.fixture.ts'
import { readCluster } from './offline-cluster.ts'

const GATEWAYS = '/apis/gateway.networking.k8s.io'

/** A cluster that serves what every one does, Istio's routes, and kinds that the mesh does not read. */
async function cluster(t: TestContext): Promise<{ readonly api: ToldApi; readonly client: KubeClient }> {
  const api = new ToldApi()
  const client = await api.start(t)
  const core = ['namespaces', 'services', 'pods', 'namespaces/istio-system/configmaps'].map((name) => `/api/v1/${name}`)
  for (const path of [...core, '/apis/discovery.k8s.io/v1/endpointslices']) api.lists(path, '1')
  const served = (group: string, ...versions: string[]): void => {
    api.answers.set(`/apis/${group}`, { status: 200, body: { versions: versions.map((version) => ({ version })) } })
  }
  const resources = (path: string, ...kinds: [name: string, kind: string, namespaced?: boolean][]): void => {
    const all = kinds.map(([name, kind, namespaced = true]) => ({ name, kind, namespaced }))
    api.answers.set(path, { status: 200, body: { resources: all } })
  }
  served('networking.istio.io', 'v1')
  resources(
    '/apis/networking.istio.io/v1',
    ['virtualservices', 'VirtualService'],
    ['virtualservices/status', 'VirtualService'],
    ['gateways', 'Gateway'],
  )
  api.lists('/apis/networking.istio.io/v1/virtualservices', '1', object({ name: 'front' }))
  api.lists('/apis/networking.istio.io/v1/gateways', '1', object({ name: 'edge' }))
  served('gateway.networking.k8s.io', 'v1', 'v1beta1')
  resources(`${GATEWAYS}/v1`, ['httproutes', 'HTTPRoute'], ['gatewayclasses', 'GatewayClass', false])
  resources(`${GATEWAYS}/v1beta1`, ['httproutes', 'HTTPRoute'], ['tcproutes', 'TCPRoute'])
  api.lists(`${GATEWAYS}/v1/httproutes`, '1', object({ name: 'route' }))
  api.lists(`${GATEWAYS}/v1beta1/tcproutes`, '1', object({ name: 'flow' }))
  return { api, client }
}

test('each kind is read once, at one version, and says what it is', async (t) => {
  const { api, client } = await cluster(t)
  const { manifests, findings } = await readCluster(client, 'istio-system')
  assert.deepEqual(
    manifests.map(({ object: { apiVersion, kind, metadata }, source }) => [apiVersion, kind, metadata.name, source]),
    [
      ['networking.istio.io/v1', 'VirtualService', 'front', null],
      ['networking.istio.io/v1', 'Gateway', 'edge', null],
      ['gateway.networking.k8s.io/v1', 'HTTPRoute', 'route', null],
      ['gateway.networking.k8s.io/v1beta1', 'TCPRoute', 'flow', null],
    ],
  )
  assert.deepEqual(findings, [])
  assert.equal(api.listed('/apis/networking.istio.io/v1/virtualservices'), 1)
  assert.equal(api.listed(`${GATEWAYS}/v1beta1/httproutes`), 0)
})

test('WEFT0110: what may not be listed is told where the mesh does not read it, and an error where it does', async (t) => {
  const { api, client } = await cluster(t)
  api.answers.set(`${GATEWAYS}/v1/httproutes`, status(403, 'you may not list httproutes'))
  const { findings } = await readCluster(client, 'istio-system')
  assert.deepEqual(
    findings.map(({ code, object: { kind }, message }) => [code, kind, message]),
    [['WEFT0110', 'HTTPRoute', 'you may not list httproutes']],
  )
  api.answers.set('/api/v1/services', status(403, 'you may not list services'))
  await assert.rejects(readCluster(client, 'istio-system'), /you may not list services/)
})
