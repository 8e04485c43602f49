import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Container, Pod } from './object.ts'
import { object } from './objects.fixture.ts'
import { probePortsOf } from './probes.ts'
import { readTerms } from './terms.ts'

type Spec = NonNullable<Pod['spec']>

const pod = (spec: Spec, status: Pod['status'] = {}): Pod => object({ name: 'web' }, { spec, status })
const ports = (...containers: Omit<Container, 'name'>[]): number[] =>
  probePortsOf(pod({ containers: containers.map((container) => ({ name: 'app', ...container })) }))

test('every way in which the kubelet dials is found', () => {
  assert.deepEqual(
    ports({
      livenessProbe: { httpGet: { port: 1 } },
      readinessProbe: { tcpSocket: { port: 2 } },
      startupProbe: { grpc: { port: 3 } },
      lifecycle: { postStart: { httpGet: { port: 4 } }, preStop: { tcpSocket: { port: 5 } } },
    }),
    [1, 2, 3, 4, 5],
  )
  assert.deepEqual(probePortsOf(object<Pod>({ name: 'web' })), [])
  assert.deepEqual(probePortsOf(pod({})), [])
})

test('a probe by exec dials nothing', () => {
  assert.deepEqual(ports({ livenessProbe: { exec: { command: ['true'] } } as object }), [])
})

test('a port’s name is one of its own container’s, else its number', () => {
  const named = [{ name: 'web', containerPort: 8080 }, { containerPort: 1 }]
  const probe = (port: number | string) => ({ livenessProbe: { httpGet: { port } } })
  assert.deepEqual(ports({ ports: named, ...probe('web') }), [8080])
  assert.deepEqual(ports({ ports: named }, probe('web')), []) // the kubelet fails such a probe
  assert.deepEqual(ports(probe('9090')), [9090])
  for (const port of ['', '0', '70000', 0, 65536, -1, 1.5]) assert.deepEqual(ports(probe(port)), [], String(port))
})

test('a probe to another host is not to the pod', () => {
  const probe = (host: string, how: 'httpGet' | 'tcpSocket' = 'httpGet') => ({
    livenessProbe: { [how]: { host, port: 80 } },
  })
  assert.deepEqual(ports(probe('')), [80])
  assert.deepEqual(ports(probe('10.9.9.9')), [])
  assert.deepEqual(ports(probe('127.0.0.1', 'tcpSocket')), [], 'the node’s loopback')
  const own = pod(
    { containers: [{ name: 'app', ...probe('fd00::1') }] },
    { podIP: '10.1.0.1', podIPs: [{ ip: '10.1.0.1' }, { ip: 'fd00:0::1' }] },
  )
  assert.deepEqual(probePortsOf(own), [80])
})

test('of init containers those that stay are probed', () => {
  const livenessProbe = { tcpSocket: { port: 1 } }
  const initContainers = [
    { name: 'once', livenessProbe },
    { name: 'sidecar', restartPolicy: 'Always', livenessProbe: { tcpSocket: { port: 2 } } },
  ]
  assert.deepEqual(probePortsOf(pod({ initContainers })), [2])
})

test('terms hold each probed port once, in order, and no more than there may be', () => {
  const containers = Array.from({ length: 70 }, (_, index) => {
    return {
      name: `c${index}`,
      livenessProbe: { tcpSocket: { port: 200 - index } },
      readinessProbe: { grpc: { port: 7 } },
    }
  })
  assert.deepEqual(
    readTerms(pod({ containers: containers.slice(0, 2) }), undefined, false).terms.probePorts,
    [7, 199, 200],
  )
  const { terms, problems } = readTerms(pod({ containers }), undefined, false)
  assert.equal(terms.probePorts.length, 64)
  assert.deepEqual(
    problems.map(({ field }) => field),
    ['spec.containers'],
  )
})
