import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EndpointSlice, KubeService } from './object.ts'
import { object } from './objects.fixture.ts'
import { ServiceList } from './service-list.ts'

const service = (name: string, port = 80): KubeService =>
  object<KubeService>({ name, resourceVersion: `${port}` }, { spec: { clusterIP: '10.96.0.1', ports: [{ port }] } })

/** A slice of a service whose endpoints are pods: uid and address. */
const slice = (name: string, owner: string, ...pods: readonly (readonly [uid: string, ip: string])[]): EndpointSlice =>
  object<EndpointSlice>(
    { name, labels: { 'kubernetes.io/service-name': owner } },
    {
      ports: [{ port: 8080 }],
      endpoints: pods.map(([uid, ip]) => ({ addresses: [ip], nodeName: 'far', targetRef: { kind: 'Pod', uid } })),
    },
  )

const added = <T>(after: T) => [{ before: null, after }]

function list(): ServiceList {
  const services = new ServiceList('cluster.local')
  services.takeServices([...added(service('a')), ...added(service('b'))])
  services.takeSlices(added(slice('a-1', 'a', ['x', '10.0.0.1'])))
  services.flush()
  return services
}

test('a slice that changes costs its own service alone, and moves its own pods alone', () => {
  const services = list()
  const before = slice('a-1', 'a', ['x', '10.0.0.1'])
  services.takeSlices([{ before, after: slice('a-1', 'a', ['x', '10.0.0.1'], ['y', '10.0.0.2']) }])
  const { changes, moved } = services.flush()
  assert.deepEqual([changes.set.map(({ name }) => name), changes.gone, [...moved]], [['a'], [], ['y']])
  assert.deepEqual(services.placeOf('y'), { ips: ['10.0.0.2'], node: 'far' })
  services.takeSlices([{ before, after: null }])
  assert.deepEqual([...services.flush().moved].sort(), ['x', 'y'])
  assert.deepEqual(services.placeOf('x'), { ips: [], node: null })
})

test('a pod behind two services is where both say, and stays where one says once the other is gone', () => {
  const services = list()
  services.takeSlices(added(slice('b-1', 'b', ['x', 'fd00::1'])))
  services.flush()
  assert.deepEqual([...services.placeOf('x').ips].sort(), ['10.0.0.1', 'fd00::1'])
  services.takeServices([{ before: service('a'), after: null }])
  assert.deepEqual(services.flush().changes.gone, []) // it was another object of that name that is gone
  const [own] = [...services.values]
  assert.equal(own?.name, 'a')
})

test('a service that nobody foresaw is named, and its last good form and all others stay', () => {
  const services = list()
  const odd = object<EndpointSlice>({ name: 'a-1', labels: { 'kubernetes.io/service-name': 'a' } }, { ports: [null] })
  services.takeSlices([{ before: slice('a-1', 'a'), after: odd }])
  services.takeServices([{ before: null, after: service('b', 81) }])
  const { changes } = services.flush()
  assert.deepEqual(
    changes.set.map(({ name, ports }) => [name, ports[0]?.port]),
    [['b', 81]],
  )
  assert.deepEqual(
    services.problems.map(({ object: { kind, name } }) => `${kind} ${name}`),
    ['Service a'],
  )
  assert.equal([...services.values].find(({ name }) => name === 'a')?.ports[0]?.endpoints.length, 1)
  services.takeSlices([{ before: odd, after: slice('a-1', 'a') }])
  services.flush()
  assert.deepEqual(services.problems, [])
})

test('an endpoint is ready since it was first seen so, and since ever where the first list had it', () => {
  let nowMs = 1000
  const services = new ServiceList('cluster.local', undefined, () => nowMs)
  const since = (): unknown => {
    const [own] = [...services.values]
    return own?.ports[0]?.endpoints.map(({ address, readySinceMs }) => [address.ip, readySinceMs])
  }
  services.takeServices(added(service('a')))
  let before = slice('a-1', 'a', ['x', '10.0.0.1'])
  services.takeSlices(added(before))
  const change = (after: EndpointSlice): void => {
    nowMs += 1000
    services.takeSlices([{ before, after }])
    services.flush()
    before = after
  }
  services.flush()
  assert.deepEqual(since(), [['10.0.0.1', null]])
  change(slice('a-1', 'a', ['x', '10.0.0.1'], ['y', '10.0.0.2']))
  const both = [
    ['10.0.0.1', null],
    ['10.0.0.2', 2000],
  ]
  assert.deepEqual(since(), both)
  const { ports, endpoints = [] } = before
  const state = (ready: boolean) =>
    object<EndpointSlice>(before.metadata, {
      ports,
      endpoints: endpoints.map((one, index) => ({ ...one, conditions: { ready: index === 0 ? ready : true } })),
    })
  change(state(false))
  assert.deepEqual(since(), [['10.0.0.1', null], both[1]])
  change(state(true))
  assert.deepEqual(since(), [['10.0.0.1', 4000], both[1]])
})

test('services with endpoints on a node that is elsewhere now are read anew, and no others', () => {
  let zone = 'z1'
  const services = new ServiceList('cluster.local', () => ({ region: 'eu', zone, subzone: '' }))
  services.takeServices([...added(service('a')), ...added(service('b'))])
  services.takeSlices(added(slice('a-1', 'a', ['x', '10.0.0.1'])))
  services.flush()
  assert.equal(services.localityOf('far')?.zone, 'z1')
  assert.equal(services.localityOf('near'), null)
  zone = 'z2'
  services.nodesMoved(new Set(['near']))
  assert.deepEqual(services.flush().changes.set, [])
  services.nodesMoved(new Set(['far']))
  const { changes } = services.flush()
  assert.deepEqual(
    changes.set.map(({ name, ports }) => [name, ports[0]?.endpoints[0]?.locality?.zone]),
    [['a', 'z2']],
  )
})
