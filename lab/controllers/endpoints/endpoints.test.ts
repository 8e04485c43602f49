import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { FakeCluster, templateOf } from '../fake-cluster.ts'
import { SERVICE_NAME, SLICE_LIMIT } from './slices.ts'

function cluster(t: TestContext, nodes?: number): FakeCluster {
  const made = new FakeCluster(nodes)
  t.after(() => {
    made.stop()
    assert.deepEqual(made.warnings, [])
  })
  return made
}

function serve(box: FakeCluster, name: string, spec: Record<string, unknown> = {}): void {
  box.apply('services', 'Service', {
    metadata: { name, labels: { team: 'one' } },
    spec: { selector: { app: name }, ports: [{ port: 80, name: 'http', targetPort: 8080 }], ...spec },
  })
}

const endpointsOf = (box: FakeCluster, service: string) =>
  box
    .slices()
    .filter(({ metadata }) => metadata.labels?.[SERVICE_NAME] === service)
    .flatMap(({ endpoints = [] }) => endpoints)

test('the ready pods of a Service are its endpoints, with node and port', (t) => {
  const box = cluster(t)
  serve(box, 'web')
  assert.deepEqual(endpointsOf(box, 'web'), [])
  box.deploy('web', { replicas: 2 })
  const [slice] = box.slices()
  assert.deepEqual(slice?.ports, [{ name: 'http', protocol: 'TCP', port: 8080 }])
  assert.equal(slice?.addressType, 'IPv4')
  assert.equal(slice?.metadata.labels?.['team'], 'one')
  assert.equal(slice?.metadata.labels?.['endpointslice.kubernetes.io/managed-by'], 'endpointslice-controller.k8s.io')
  assert.deepEqual(
    endpointsOf(box, 'web').map(({ addresses, conditions, nodeName, targetRef }) => [
      addresses.length,
      conditions,
      nodeName?.startsWith('node-'),
      targetRef?.kind,
    ]),
    Array(2).fill([1, { ready: true, serving: true, terminating: false }, true, 'Pod']),
  )
  assert.equal(box.slices().length, 1)
})

test('endpoints follow readiness, and a pod on its way out is terminating', (t) => {
  const box = new FakeCluster(1, false)
  t.after(() => box.stop())
  serve(box, 'web')
  box.deploy('web')
  const { name } = box.pods('web')[0]!.metadata
  const conditions = () => endpointsOf(box, 'web').map((endpoint) => endpoint.conditions)
  assert.deepEqual(conditions(), [])
  for (const ready of [false, true]) {
    box.setReady(name, ready)
    box.settle()
    assert.deepEqual(conditions(), [{ ready, serving: ready, terminating: false }])
  }
  box.store.delete('pods', 'default', name)
  box.settle()
  assert.deepEqual(conditions(), [{ ready: false, serving: true, terminating: true }])
  box.store.delete('pods', 'default', name, { gracePeriodSeconds: 0 })
  box.settle()
  assert.deepEqual(conditions(), [])
})

test('a named target port is looked up in each pod, and pods that differ get slices of their own', (t) => {
  const box = cluster(t)
  serve(box, 'web', { ports: [{ port: 80, name: 'http', targetPort: 'web' }] })
  for (const [name, port] of [
    ['one', 8001],
    ['two', 8002],
  ] as const) {
    box.deploy(name, {
      selector: { matchLabels: { app: 'web', deployment: name } },
      template: {
        metadata: { labels: { app: 'web', deployment: name } },
        spec: { containers: [{ name: 'web', image: 'x', ports: [{ name: 'web', containerPort: port }] }] },
      },
    })
  }
  assert.deepEqual(
    box
      .slices()
      .flatMap(({ ports = [] }) => ports.map(({ port }) => port))
      .sort(),
    [8001, 8002],
  )
})

test('no slice holds more than its limit, and each pod is in one slice', (t) => {
  const box = cluster(t)
  serve(box, 'web')
  box.deploy('web', { replicas: SLICE_LIMIT + 30 })
  const sizes = box.slices().map(({ endpoints = [] }) => endpoints.length)
  assert.equal(Math.max(...sizes) <= SLICE_LIMIT, true)
  assert.equal(
    sizes.reduce((total, size) => total + size),
    SLICE_LIMIT + 30,
  )
  assert.equal(new Set(endpointsOf(box, 'web').map(({ targetRef }) => targetRef?.uid)).size, SLICE_LIMIT + 30)
  box.change('deployments.apps', 'web', (spec) => (spec['replicas'] = 3))
  assert.equal(endpointsOf(box, 'web').length, 3)
})

test('a change of one pod writes one slice', (t) => {
  const box = cluster(t)
  serve(box, 'web')
  box.deploy('web', { replicas: SLICE_LIMIT + 30 })
  const changed = new Set<string>()
  let writes = -box.slices().length
  box.store.watch('endpointslices.discovery.k8s.io', ({ object }) => {
    writes++
    if (writes > 0) changed.add(object.metadata.name)
  })
  box.setReady(box.pods('web')[0]!.metadata.name, false)
  box.settle()
  assert.equal(writes, 1)
})

test('publishNotReadyAddresses makes pods ready that are not', (t) => {
  const box = cluster(t)
  box.unhealthy.add('v1')
  serve(box, 'web', { publishNotReadyAddresses: true })
  box.deploy('web')
  assert.equal(endpointsOf(box, 'web')[0]?.conditions.ready, true)
})

test('a headless Service names its pods by hostname, and needs no ports', (t) => {
  const box = cluster(t)
  serve(box, 'web', { clusterIP: 'None', ports: [] })
  box.deploy('web', { template: templateOf('web', 'v1', { hostname: 'first', subdomain: 'web' }) })
  assert.equal(endpointsOf(box, 'web')[0]?.hostname, 'first')
  assert.deepEqual(box.slices()[0]?.ports, [])
  assert.equal(box.slices()[0]?.metadata.labels?.['service.kubernetes.io/headless'], '')
})

test('endpoints carry the zone of their node', (t) => {
  const box = cluster(t, 0)
  box.addNode('far', { 'topology.kubernetes.io/zone': 'north' })
  serve(box, 'web')
  box.deploy('web')
  assert.equal(endpointsOf(box, 'web')[0]?.zone, 'north')
})

test('the legacy Endpoints tells ready from not ready addresses', (t) => {
  const box = cluster(t)
  serve(box, 'web')
  box.deploy('web', { replicas: 2 })
  box.setReady(box.pods('web')[0]!.metadata.name, false)
  box.settle()
  const [subset] = box.store.get('endpoints', 'default', 'web')?.['subsets'] as Record<string, unknown[]>[]
  assert.equal(subset?.['addresses']?.length, 1)
  assert.equal(subset?.['notReadyAddresses']?.length, 1)
  assert.deepEqual(subset?.['ports'], [{ name: 'http', port: 8080, protocol: 'TCP' }])
})

test("a changed selector or port changes the endpoints, and other people's slices are left alone", (t) => {
  const box = cluster(t)
  serve(box, 'web')
  box.apply('endpointslices.discovery.k8s.io', 'EndpointSlice', {
    metadata: { name: 'web-byhand', labels: { [SERVICE_NAME]: 'web' } },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['192.0.2.1'] }],
  })
  box.deploy('web')
  box.change('services', 'web', (spec) => (spec['ports'] = [{ port: 80, targetPort: 9999 }]))
  const ours = box.slices().filter(({ metadata }) => metadata.name !== 'web-byhand')
  assert.deepEqual(
    ours.map(({ ports }) => ports?.[0]?.port),
    [9999],
  )
  box.change('services', 'web', (spec) => (spec['selector'] = { app: 'nobody' }))
  assert.deepEqual(
    endpointsOf(box, 'web').map(({ addresses }) => addresses[0]),
    ['192.0.2.1'],
  )
})

test('a slice that somebody spoiled is put right', (t) => {
  const box = cluster(t)
  serve(box, 'web')
  box.deploy('web')
  const [slice] = box.slices()
  box.store.modify('endpointslices.discovery.k8s.io', 'default', slice!.metadata.name, (object) => {
    object['endpoints'] = []
  })
  box.settle()
  assert.equal(endpointsOf(box, 'web').length, 1)
  box.store.delete('endpointslices.discovery.k8s.io', 'default', box.slices()[0]!.metadata.name)
  box.settle()
  assert.equal(endpointsOf(box, 'web').length, 1)
})
