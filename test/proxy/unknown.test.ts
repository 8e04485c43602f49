// Addresses that nothing in the mesh stands for: passed through, or kept from callers where the mesh's settings say so.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test, type TestContext } from 'node:test'
import { DEFAULT_MESH_SETTINGS, type MeshSettings } from '../../agent/model/mesh-settings.ts'
import { world } from '../../agent/model/world.fixture.ts'
import { ask, ending, mesh, readUntil } from './mesh.ts'

const OUTSIDE = { ip: '10.244.77.7', port: 8080 }
const KNOWN = { ip: '10.96.0.1', port: 80 }
const get = 'GET / HTTP/1.1\r\nHost: example.com\r\n\r\n'
const upgrade = 'GET / HTTP/1.1\r\nHost: example.com\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n'
/** What does not come within 2 s does not come. */
const within = () => ({ signal: AbortSignal.timeout(2000) })
const built = () => world().service('app').pods('app-v1').pods('web', { behind: [] })

/** A node whose pod `web-1` may dial OUTSIDE: there is a pod, and `apply` puts in force worlds that do not know it. */
function beside(t: TestContext, mode: MeshSettings['outboundTrafficPolicy'] = 'ALLOW_ANY') {
  const all = built().pods('outside', { ips: [OUTSIDE.ip], behind: [] })
  const node = mesh(t, all, { captured: ['web-1'] })
  let version = 1
  const apply = (outboundTrafficPolicy: typeof mode, isKnown = false): void => {
    const inventory = all.inventory(++version)
    const workloads = inventory.workloads.filter(({ name }) => isKnown || name !== 'outside-1')
    node.plane.apply({ ...inventory, workloads, mesh: { ...DEFAULT_MESH_SETTINGS, outboundTrafficPolicy } })
  }
  apply(mode)
  return { node, apply }
}

test('by default an unknown address is passed through as it was dialled', async (t) => {
  const { node } = beside(t)
  await node.http('outside-1', (_, response) => void response.end('there'))
  await node.tcp('outside-1', (socket) => socket.pipe(socket), 5432)
  const http = await node.dial('web-1', OUTSIDE)
  assert.equal((await ask(http, get)).body, 'there')
  const tcp = await node.dial('web-1', { ...OUTSIDE, port: 5432 })
  tcp.write('ping')
  assert.equal(await readUntil(tcp, (got) => got.length === 4), 'ping')
  tcp.end()
  await node.until(() => node.records.length === 2, 'a record each')
  assert.deepEqual(
    node.records.map((record) => [record.response_flags, record.upstream_cluster, record.route_name]),
    [
      ['-', 'PassthroughCluster', 'allow_any'],
      ['-', 'PassthroughCluster', null],
    ],
  )
  const labels = { destination_service_name: 'PassthroughCluster', destination_service: 'unknown' }
  assert.equal(node.count('istio_requests_total', { ...labels, reporter: 'source' }), 1)
  assert.equal(node.count('istio_tcp_connections_opened_total', labels), 1)
})

test('under REGISTRY_ONLY HTTP to an unknown address is 502, TCP is reset, and what is known is reached', async (t) => {
  const { node } = beside(t, 'REGISTRY_ONLY')
  await node.http('app-v1-1', (_, response) => void response.end('known'))
  await node.http('outside-1', () => assert.fail('nobody comes here'))
  const http = await node.dial('web-1', OUTSIDE)
  for (let i = 0; i < 2; i++) assert.equal((await ask(http, get)).status, 502, 'the connection goes on')
  assert.equal(await ending(node.dial('web-1', { ...OUTSIDE, port: 5432 })), 'reset')
  const inside = await node.dial('web-1', KNOWN)
  assert.equal((await ask(inside, get)).body, 'known')
  const pod = await node.dial('web-1', { ip: '10.244.0.1', port: 8080 })
  assert.equal((await ask(pod, get)).body, 'known')
  await node.until(() => node.records.length === 5, 'a record each')
  const blocked = [502, '-', 'direct_response', 'BlackHoleCluster', 'block_all', 'BLACK_HOLE']
  assert.deepEqual(
    node.records
      .slice(0, 3)
      .map((record) => [
        ...[record.response_code, record.response_flags, record.response_code_details],
        ...[record.upstream_cluster, record.route_name, record.weft_reason],
      ]),
    [blocked, blocked, [0, 'UH', null, 'BlackHoleCluster', null, 'BLACK_HOLE_FLOW']],
  )
  const labels = { destination_service_name: 'BlackHoleCluster', destination_service: 'unknown', response_code: '502' }
  assert.equal(node.count('istio_requests_total', { ...labels, reporter: 'source' }), 2)
  assert.equal(node.count('weft_failures_total', { step: 'route', reason: 'BLACK_HOLE_FLOW' }), 1)
})

test('the next request of a connection is judged by the settings then in force, and by what is known by then', async (t) => {
  const { node, apply } = beside(t)
  await node.http('outside-1', (_, response) => void response.end('there'))
  const socket = await node.dial('web-1', OUTSIDE)
  const statuses = [(await ask(socket, get)).status]
  apply('REGISTRY_ONLY')
  statuses.push((await ask(socket, get)).status)
  apply('REGISTRY_ONLY', true)
  statuses.push((await ask(socket, get)).status)
  apply('REGISTRY_ONLY')
  statuses.push((await ask(socket, get)).status)
  apply('ALLOW_ANY')
  statuses.push((await ask(socket, get)).status)
  assert.deepEqual(statuses, [200, 502, 200, 502, 200])
})

test('a request that is under way as the settings change is answered', async (t) => {
  const { node, apply } = beside(t)
  const { promise: changed, resolve: change } = Promise.withResolvers<void>()
  await node.http('outside-1', (_, response) => {
    apply('REGISTRY_ONLY')
    change()
    setTimeout(() => response.end('there'), 20)
  })
  const answer = ask(await node.dial('web-1', OUTSIDE), get)
  await changed
  assert.equal((await answer).body, 'there')
})

test('a flow to an unknown address ends when the mesh comes to know only its own', async (t) => {
  const { node, apply } = beside(t)
  await node.tcp('outside-1', (socket) => socket.pipe(socket), 5432)
  const flow = await node.dial('web-1', { ...OUTSIDE, port: 5432 })
  flow.write('ping')
  await once(flow, 'data')
  const ended = once(flow, 'error', within())
  apply('REGISTRY_ONLY')
  const [error] = (await ended) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNRESET')
  await node.until(() => node.records.length === 1, 'a record')
  const [record] = node.records
  // where it went stays what is told of it
  assert.deepEqual([record?.upstream_cluster, record?.weft_reason], ['PassthroughCluster', 'BLACK_HOLE_FLOW'])
  const labels = { destination_service_name: 'PassthroughCluster' }
  assert.equal(node.count('istio_tcp_connections_closed_total', labels), 1)
})

test('so does a tunnel that an upgrade made', async (t) => {
  const { node, apply } = beside(t)
  await node.tcp('outside-1', (socket) => {
    socket.once('data', () => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n')
      socket.pipe(socket)
    })
  })
  const tunnel = await node.dial('web-1', OUTSIDE)
  assert.equal((await ask(tunnel, upgrade)).status, 101)
  tunnel.write('ping')
  assert.equal(await readUntil(tunnel, (got) => got.length === 4), 'ping')
  const ended = once(tunnel.resume(), 'error', within())
  apply('REGISTRY_ONLY')
  const [error] = (await ended) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNRESET')
})

test('a flow to a pod that the mesh knew goes on when the pod is known no more', async (t) => {
  const { node, apply } = beside(t)
  apply('REGISTRY_ONLY', true)
  await node.tcp('outside-1', (socket) => socket.pipe(socket), 5432)
  const flow = await node.dial('web-1', { ...OUTSIDE, port: 5432 })
  flow.write('ping')
  await readUntil(flow, (got) => got.length === 4)
  apply('REGISTRY_ONLY')
  await new Promise((resolve) => setTimeout(resolve, 50)) // the look over all flows
  assert.equal(flow.errored, null)
  flow.write('pong')
  assert.equal(await readUntil(flow, (got) => got.length === 4), 'pong')
})

test('records are written as the mesh’s settings say, from one snapshot to the next', async (t) => {
  const all = built()
  const node = mesh(t, all)
  await node.http('app-v1-1', (_, response) => void response.end('in'))
  const socket = await node.dial('web-1', KNOWN)
  for (const file of ['', '/dev/stdout', null]) {
    const accessLog = { ...DEFAULT_MESH_SETTINGS.accessLog, file }
    node.plane.apply({ ...all.inventory(), mesh: { ...DEFAULT_MESH_SETTINGS, accessLog } })
    await ask(socket, get)
  }
  await node.until(() => node.records.length === 2, 'records of the last two')
})
