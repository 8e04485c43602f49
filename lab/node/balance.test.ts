import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { V1Endpoint, V1EndpointSlice, V1Service } from '@kubernetes/client-node'
import { frontendsOf } from './balance.ts'

const service: V1Service = {
  metadata: { name: 'web', namespace: 'shop' },
  spec: {
    clusterIP: '10.96.0.20',
    ports: [
      { name: 'http', port: 80 },
      { name: 'dns', port: 53, protocol: 'UDP' },
    ],
  },
}
const slice = (endpoints: V1Endpoint[]): V1EndpointSlice => ({
  metadata: { name: 'web-1', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'web' } },
  addressType: 'IPv4',
  ports: [
    { name: 'http', port: 8080, protocol: 'TCP' },
    { name: 'dns', port: 5353, protocol: 'UDP' },
  ],
  endpoints,
})
const ready = { addresses: ['10.244.1.2'], nodeName: 'node-1', conditions: { ready: true } }
const unready = { addresses: ['10.244.2.2'], nodeName: 'node-2', conditions: { ready: false, serving: false } }
const leaving = {
  addresses: ['10.244.2.3'],
  nodeName: 'node-2',
  conditions: { ready: false, serving: true, terminating: true },
}

test('each port goes to the port of its name on each ready endpoint', () => {
  const found = frontendsOf([service], [slice([ready, unready])], 'node-1')
  assert.deepEqual(
    found.map((each) => [each.portName, each.protocol, each.backends]),
    [
      ['http', 'tcp', [{ address: '10.244.1.2', port: 8080 }]],
      ['dns', 'udp', [{ address: '10.244.1.2', port: 5353 }]],
    ],
  )
})

test('endpoints that still serve as they terminate are used only while none is ready', () => {
  const backends = (endpoints: V1Endpoint[]): string[] =>
    (frontendsOf([service], [slice(endpoints)], 'node-1')[0]?.backends ?? []).map((each) => each.address)
  assert.deepEqual(backends([ready, leaving]), ['10.244.1.2'])
  assert.deepEqual(backends([unready, leaving]), ['10.244.2.3'])
  assert.deepEqual(backends([unready]), [])
})

test('with a Local traffic policy only endpoints of the own node count', () => {
  const local = { ...service, spec: { ...service.spec, internalTrafficPolicy: 'Local' } }
  const other = { ...ready, addresses: ['10.244.2.9'], nodeName: 'node-2' }
  const [http] = frontendsOf([local], [slice([ready, other])], 'node-2')
  assert.deepEqual(http?.backends, [{ address: '10.244.2.9', port: 8080 }])
})

test('headless services, external names and slices of other families have no rules', () => {
  const headless = { ...service, spec: { ...service.spec, clusterIP: 'None' } }
  assert.deepEqual(frontendsOf([headless], [slice([ready])], 'node-1'), [])
  const six = { ...slice([ready]), addressType: 'IPv6' }
  assert.deepEqual(frontendsOf([service], [six], 'node-1')[0]?.backends, [])
})
