import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EndpointSlice, KubeService } from './object.ts'
import { object, type ObjectWish } from './objects.fixture.ts'
import { serviceHost, serviceKey, serviceProblems, sliceOwner, translateService } from './service.ts'

type Spec = NonNullable<KubeService['spec']>
type SliceWish = Omit<EndpointSlice, 'metadata'> & { readonly of?: string }

const service = (spec: Spec, status: KubeService['status'] = {}, wish: Partial<ObjectWish> = {}): KubeService =>
  object({ name: 'reviews', ...wish }, { spec, status })

function slice({ of = 'reviews', ...rest }: SliceWish): EndpointSlice {
  return object({ name: `${of}-x1`, labels: { 'kubernetes.io/service-name': of } }, rest)
}

const translate = (of: KubeService, ...slices: EndpointSlice[]) => translateService(of, slices, 'cluster.local')

test('a service is known by its host, its addresses and its TCP ports', () => {
  const spec: Spec = {
    clusterIP: '10.96.0.7',
    clusterIPs: ['10.96.0.7', 'fd00::7'],
    externalIPs: ['198.51.100.1'],
    ports: [
      { port: 80, name: 'http' },
      { port: 53, name: 'dns', protocol: 'UDP' },
      { port: 9, name: 'sctp', protocol: 'SCTP' },
      { port: 443, name: 'any', protocol: 'TCP', appProtocol: 'https' },
    ],
  }
  const found = translate(
    service(
      spec,
      {
        loadBalancer: { ingress: [{ ip: '203.0.113.9', ipMode: 'VIP' }, { ip: '203.0.113.10', ipMode: 'Proxy' }, {}] },
      },
      { name: 'Reviews' },
    ),
  )
  assert.deepEqual(found, {
    host: 'reviews.default.svc.cluster.local',
    name: 'Reviews',
    namespace: 'default',
    addresses: ['10.96.0.7', 'fd00::7', '198.51.100.1', '203.0.113.9'],
    externalAddresses: ['198.51.100.1', '203.0.113.9'],
    headless: false,
    publishNotReady: false,
    affinitySeconds: null,
    localOnly: false,
    distribution: null,
    externalName: null,
    ports: [
      { name: 'http', port: 80, protocol: 'http', endpoints: [] },
      { name: 'any', port: 443, protocol: 'opaque', endpoints: [] },
    ],
  })
})

test('a headless service has no address, one without a name for its port has one nonetheless', () => {
  const headless = translate(service({ clusterIP: 'None', clusterIPs: ['None'], ports: [{ port: 80 }] }))
  assert.deepEqual([headless.headless, headless.addresses], [true, []])
  for (const spec of [{ clusterIP: 'None' }, { type: 'ExternalName' }]) {
    assert.deepEqual(translate(service({ ...spec, externalIPs: ['198.51.100.1'] })).addresses, [])
  }
  assert.deepEqual(headless.ports, [{ name: '', port: 80, protocol: 'sniff', endpoints: [] }])
  assert.deepEqual(translate(service({ clusterIP: '' })).addresses, []) // not yet given one
  assert.deepEqual(translate(service({ type: 'ExternalName' })).ports, [])
  assert.equal(translate(service({ publishNotReadyAddresses: true })).publishNotReady, true)
})

test('an endpoint’s port is the slice’s of the same name, also where it differs from one slice to another', () => {
  const of = service({
    ports: [
      { port: 80, name: 'http' },
      { port: 81, name: 'admin' },
    ],
  })
  const pod = (uid: string) => ({ kind: 'Pod', uid })
  const one = slice({
    addressType: 'IPv4',
    ports: [
      { name: 'http', port: 9080 },
      { name: 'admin', port: 15000 },
    ],
    endpoints: [{ addresses: ['10.1.0.1'], targetRef: pod('u1'), nodeName: 'n1', conditions: { ready: true } }],
  })
  const other = slice({
    addressType: 'IPv6',
    ports: [{ name: 'http', port: 9081 }],
    endpoints: [{ addresses: ['fd00::1', 'fd00::2'], targetRef: { kind: 'Node', uid: 'u2' } }],
  })
  const [http, admin] = translate(of, one, other).ports
  assert.deepEqual(
    http?.endpoints.map(({ address, workload, node }) => [address.ip, address.port, workload, node]),
    [
      ['10.1.0.1', 9080, 'u1', 'n1'],
      ['fd00::1', 9081, null, null],
      ['fd00::2', 9081, null, null],
    ],
  )
  assert.deepEqual(
    admin?.endpoints.map(({ address }) => address),
    [{ ip: '10.1.0.1', port: 15000 }],
  )
})

test('every address has its one text, whoever wrote it, and what is none is left out', () => {
  const spec: Spec = {
    clusterIP: 'FD00:0:0::7',
    clusterIPs: ['FD00:0:0::7', '10.96.0.7'],
    externalIPs: ['::ffff:198.51.100.1', '2001:DB8::0:1', '10.96.0.7', 'gateway'],
    ports: [{ port: 80 }],
  }
  const endpoint = (...addresses: string[]) => ({
    addressType: 'IPv6',
    ports: [{ port: 80 }],
    endpoints: [{ addresses }],
  })
  const found = translate(
    service(spec, { loadBalancer: { ingress: [{ ip: '2001:DB8::00:2' }] } }),
    slice(endpoint('fd00:1:0:0::0a')),
    slice(endpoint('none')),
  )
  assert.deepEqual(found.addresses, ['fd00::7', '10.96.0.7', '198.51.100.1', '2001:db8::1', '2001:db8::2'])
  assert.deepEqual(
    found.ports[0]?.endpoints.map(({ address }) => address),
    [{ ip: 'fd00:1::a', port: 80 }],
  )
})

test('a pod of a dual-stack service stands behind it once a family', () => {
  const targetRef = { kind: 'Pod', uid: 'u1' }
  const one = (addressType: string, ip: string) =>
    slice({ addressType, ports: [{ port: 8080 }], endpoints: [{ addresses: [ip], targetRef }] })
  const found = translate(service({ ports: [{ port: 80 }] }), one('IPv4', '10.1.0.1'), one('IPv6', 'fd00:1::1'))
  assert.deepEqual(
    found.ports[0]?.endpoints.map(({ address, workload }) => [address.ip, workload]),
    [
      ['10.1.0.1', 'u1'],
      ['fd00:1::1', 'u1'],
    ],
  )
})

test('a condition that is not given is unknown, which counts as ready', () => {
  const given = [
    {},
    { ready: false },
    { ready: false, serving: true, terminating: true },
    { ready: true, serving: true },
  ]
  const endpoints = [undefined, ...given].map((conditions) => ({ addresses: ['10.1.0.1'], conditions }))
  const found = translate(service({ ports: [{ port: 80 }] }), slice({ ports: [{ port: 80 }], endpoints }))
  assert.deepEqual(
    found.ports[0]?.endpoints.map(({ ready, serving, terminating }) => [ready, serving, terminating]),
    [
      [true, true, false],
      [true, true, false],
      [false, false, false],
      [false, true, true],
      [true, true, false],
    ],
  )
})

test('a slice of names, or one without a port for the service’s, has no endpoint', () => {
  const of = service({ ports: [{ port: 80, name: 'http' }] })
  const endpoints = [{ addresses: ['example.com'] }]
  const names = slice({ addressType: 'FQDN', ports: [{ name: 'http', port: 80 }], endpoints })
  const portless = slice({ addressType: 'IPv4', ports: [{ name: 'other', port: 80 }], endpoints })
  assert.deepEqual(translate(of, names, portless, slice({})).ports[0]?.endpoints, [])
})

test('a slice and its service meet by namespace and name', () => {
  assert.equal(sliceOwner(slice({ of: 'reviews' })), serviceKey('default', 'reviews'))
  assert.equal(sliceOwner(object({ name: 'mine' })), null)
  assert.equal(serviceHost('Reviews', 'shop', 'mesh.local'), 'reviews.shop.svc.mesh.local')
})

test('affinity and locality are as the Service says', () => {
  const of = (spec: object) => translateService(service(spec), [], 'cluster.local')
  assert.deepEqual([of({}).affinitySeconds, of({}).localOnly], [null, false])
  assert.equal(of({ sessionAffinity: 'ClientIP' }).affinitySeconds, 10_800)
  const config = { clientIP: { timeoutSeconds: 7 } }
  assert.equal(of({ sessionAffinity: 'ClientIP', sessionAffinityConfig: config }).affinitySeconds, 7)
  assert.equal(of({ internalTrafficPolicy: 'Local' }).localOnly, true)
})

test('a service that is a name for another host says which', () => {
  const externalName = (spec: Spec) => translate(service(spec)).externalName
  assert.equal(externalName({ type: 'ExternalName', externalName: 'API.example.com.' }), 'api.example.com')
  assert.equal(externalName({ type: 'ClusterIP', externalName: 'ignored.example.com' }), null)
})

test('what a service asks for and does not get is named', () => {
  const plain = service({
    sessionAffinity: 'None',
    internalTrafficPolicy: 'Cluster',
    ports: [{ port: 80, name: 'http' }],
  })
  assert.deepEqual(serviceProblems(plain), [])
  const asking = service({
    sessionAffinity: 'ClientIP',
    internalTrafficPolicy: 'Local',
    ports: [
      { port: 80, name: 'http' },
      { port: 81, name: 'grpc-api' },
      { port: 82, name: 'http-x', appProtocol: 'kubernetes.io/h2c' },
    ],
  })
  const fields = serviceProblems(asking).map(({ field }) => field)
  assert.deepEqual(fields, ['spec.ports[1]', 'spec.ports[2]'])
  assert.deepEqual(serviceProblems(asking)[0]?.object, { kind: 'Service', namespace: 'default', name: 'reviews' })
})

test('endpoints are where their nodes are, and a zone that a slice names is told too', () => {
  const given: unknown[] = []
  const placeOf = (node: string | null, zone: string) => {
    given.push([node, zone])
    return { region: 'eu', zone, subzone: '' }
  }
  const endpoints = [{ addresses: ['10.1.0.1'], nodeName: 'a', zone: 'z' }, { addresses: ['10.1.0.2'] }]
  const slices = [slice({ ports: [{ port: 80 }], endpoints })]
  const [port] = translateService(service({ ports: [{ port: 80 }] }), slices, 'cluster.local', placeOf).ports
  assert.deepEqual(given, [
    ['a', 'z'],
    [null, ''],
  ])
  assert.deepEqual(
    port?.endpoints.map(({ locality }) => locality?.zone),
    ['z', ''],
  )
})

test('trafficDistribution says which endpoints come first, and a word that is not known is told', () => {
  const annotations = (word: string) => ({ annotations: { 'networking.istio.io/traffic-distribution': word } })
  const rows: readonly (readonly [Spec, Partial<ObjectWish>, 'zone' | 'node' | null, readonly string[]])[] = [
    [{}, {}, null, []],
    [{ trafficDistribution: 'PreferClose' }, {}, 'zone', []],
    [{ trafficDistribution: 'PreferSameZone' }, {}, 'zone', []],
    [{ trafficDistribution: 'PreferSameNode' }, annotations('PreferClose'), 'node', []],
    [{}, annotations('PreferClose'), 'zone', []],
    [{}, annotations('Any'), null, []],
    [{ trafficDistribution: 'Nearby' }, {}, null, ['spec.trafficDistribution']],
    [{}, annotations('__proto__'), null, ['metadata.annotations[networking.istio.io/traffic-distribution]']],
  ]
  for (const [spec, wish, distribution, fields] of rows) {
    const of = service(spec, {}, wish)
    assert.equal(translate(of).distribution, distribution, JSON.stringify([spec, wish]))
    assert.deepEqual(
      serviceProblems(of).map(({ field }) => field),
      fields,
    )
  }
})
