import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { V1EndpointSlice, V1Service } from '@kubernetes/client-node'
import { RCODE, type Reply, TYPE } from './wire.ts'
import { answer, buildZone } from './zone.ts'

const service = (name: string, spec: V1Service['spec']): V1Service => ({
  metadata: { name, namespace: 'shop' },
  spec: spec ?? {},
})
const slice = (name: string, endpoints: V1EndpointSlice['endpoints']): V1EndpointSlice => ({
  metadata: { name: `${name}-1`, namespace: 'shop', labels: { 'kubernetes.io/service-name': name } },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  endpoints,
})

const zone = buildZone(
  [
    service('web', { clusterIP: '10.96.0.20', ports: [{ name: 'http', port: 80 }, { port: 81 }] }),
    service('db', { clusterIP: 'None', ports: [{ name: 'http', port: 80 }] }),
    service('far', { type: 'ExternalName', externalName: 'web.shop.svc.cluster.local' }),
    service('away', { type: 'ExternalName', externalName: 'example.org' }),
  ],
  [
    slice('db', [
      { addresses: ['10.244.1.5'], hostname: 'db-0', conditions: { ready: true } },
      { addresses: ['10.244.2.6'], conditions: { ready: true } },
      { addresses: ['10.244.2.7'], conditions: { ready: false } },
    ]),
  ],
)

const ask = (name: string, type: number = TYPE.A): Reply => answer(zone, { name, type, class: 1 }, 7, (all) => [...all])
const addressesOf = (reply: Reply): string[] =>
  reply.answers.flatMap((record) => (record.type === 'A' ? [record.address] : []))

test('a service has its cluster address, whatever the case of the question', () => {
  const reply = ask('WEB.shop.SVC.cluster.local')
  assert.deepEqual(reply.answers, [
    { name: 'WEB.shop.SVC.cluster.local', ttlSeconds: 5, type: 'A', address: '10.96.0.20' },
  ])
  assert.equal(reply.authoritative, true)
})

test('a headless service has all ready endpoints, each also by its own name', () => {
  assert.deepEqual(addressesOf(ask('db.shop.svc.cluster.local')), ['10.244.1.5', '10.244.2.6'])
  assert.deepEqual(addressesOf(ask('db-0.db.shop.svc.cluster.local')), ['10.244.1.5'])
  assert.deepEqual(addressesOf(ask('10-244-2-6.db.shop.svc.cluster.local')), ['10.244.2.6'])
})

test('named ports have service records, unnamed ones none', () => {
  const [record] = ask('_http._tcp.web.shop.svc.cluster.local', TYPE.SRV).answers
  assert.ok(record?.type === 'SRV')
  assert.deepEqual([record.port, record.target], [80, 'web.shop.svc.cluster.local'])
  const targets = ask('_http._tcp.db.shop.svc.cluster.local', TYPE.SRV).answers.map(
    (each) => each.type === 'SRV' && each.target,
  )
  assert.deepEqual(targets, ['db-0.db.shop.svc.cluster.local', '10-244-2-6.db.shop.svc.cluster.local'])
})

test('an external name is an alias, followed inside the cluster', () => {
  assert.deepEqual(
    ask('far.shop.svc.cluster.local').answers.map((each) => each.type),
    ['CNAME', 'A'],
  )
  const [alias, ...rest] = ask('away.shop.svc.cluster.local').answers
  assert.ok(alias?.type === 'CNAME' && alias.target === 'example.org' && rest.length === 0)
})

test('a known name without such a record is no data, an unknown one does not exist', () => {
  const none = ask('web.shop.svc.cluster.local', TYPE.AAAA)
  assert.deepEqual([none.rcode, none.answers.length, none.authority[0]?.type], [RCODE.OK, 0, 'SOA'])
  assert.equal(ask('shop.svc.cluster.local').rcode, RCODE.OK)
  assert.equal(ask('nobody.shop.svc.cluster.local').rcode, RCODE.NO_SUCH_NAME)
  assert.equal(ask('web.shop.svc.cluster.local.shop.svc.cluster.local').rcode, RCODE.NO_SUCH_NAME)
})

test('names outside the cluster are refused, so that the client asks elsewhere', () => {
  assert.equal(ask('example.org').rcode, RCODE.REFUSED)
  assert.equal(ask('notcluster.local').rcode, RCODE.REFUSED)
})

test('an address by itself and the way back from an address', () => {
  assert.deepEqual(addressesOf(ask('10-244-9-9.shop.pod.cluster.local')), ['10.244.9.9'])
  assert.equal(ask('10-244-9-999.shop.pod.cluster.local').rcode, RCODE.NO_SUCH_NAME)
  const [pointer] = ask('20.0.96.10.in-addr.arpa', TYPE.PTR).answers
  assert.ok(pointer?.type === 'PTR' && pointer.target === 'web.shop.svc.cluster.local')
  assert.equal(ask('99.9.244.10.in-addr.arpa', TYPE.PTR).rcode, RCODE.NO_SUCH_NAME)
  assert.equal(ask('1.1.1.1.in-addr.arpa', TYPE.PTR).rcode, RCODE.REFUSED)
})
