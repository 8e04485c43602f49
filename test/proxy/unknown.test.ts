// Addresses that nothing in the mesh stands for: passed through, or kept from callers where the mesh's settings say so.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { DEFAULT_MESH_SETTINGS } from '../../agent/model/mesh-settings.ts'
import { world } from '../../agent/model/world.fixture.ts'
import { ask, mesh } from './mesh.ts'

const OUTSIDE = { ip: '10.244.77.7', port: 8080 }
const get = 'GET / HTTP/1.1\r\nHost: example.com\r\n\r\n'
const built = () => world().service('app').pods('app-v1').pods('web', { behind: [] })

/** Somebody outside the mesh: a pod of another world, at OUTSIDE. */
const outside = () => built().pods('outside', { ips: [OUTSIDE.ip], behind: [] })

test('by default an unknown address is passed through as it was dialled', async (t) => {
  const all = outside()
  const node = mesh(t, all, { captured: ['web-1'] })
  await node.http('outside-1', (_, response) => void response.end('there'))
  const known = all.inventory(2)
  node.plane.apply({ ...known, workloads: known.workloads.filter(({ name }) => name !== 'outside-1') })
  const socket = await node.dial('web-1', OUTSIDE)
  assert.equal((await ask(socket, get)).body, 'there')
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.upstream_cluster, 'PassthroughCluster')
  assert.equal(node.count('istio_requests_total', { destination_service_name: 'PassthroughCluster' }), 1)
})

test('under REGISTRY_ONLY HTTP to an unknown address is 502, TCP is reset, and what is known is reached', async (t) => {
  const node = mesh(t, built().settings({ outboundTrafficPolicy: 'REGISTRY_ONLY' }))
  await node.http('app-v1-1', (_, response) => void response.end('known'))
  const http = await node.dial('web-1', OUTSIDE)
  const refused = await ask(http, get)
  assert.equal(refused.status, 502)
  const dialled = async (): Promise<unknown> => {
    const tcp = await node.dial('web-1', { ...OUTSIDE, port: 5432 }) // may be reset already
    return once(tcp.resume(), 'end')
  }
  await assert.rejects(dialled, { code: 'ECONNRESET' })
  const inside = await node.dial('web-1', { ip: '10.96.0.1', port: 80 })
  assert.equal((await ask(inside, get)).body, 'known')
  await node.until(() => node.records.length === 3, 'a record each')
  assert.deepEqual(
    node.records.map((record) => [record.response_code, record.response_flags, record.upstream_cluster]),
    [
      [502, 'UH', 'BlackHoleCluster'],
      [0, 'UH', 'BlackHoleCluster'],
      [200, '-', 'outbound|80||app.default.svc.cluster.local'],
    ],
  )
})

test('a flow to an unknown address ends when the mesh comes to know only its own', async (t) => {
  const all = outside()
  const node = mesh(t, all, { captured: ['web-1'] })
  await node.tcp('outside-1', (socket) => socket.pipe(socket), 5432)
  const known = all.inventory(2)
  const inventory = { ...known, workloads: known.workloads.filter(({ name }) => name !== 'outside-1') }
  node.plane.apply(inventory)
  const flow = await node.dial('web-1', { ...OUTSIDE, port: 5432 })
  flow.write('ping')
  await once(flow, 'data')
  const ended = once(flow, 'error')
  node.plane.apply({ ...inventory, version: 3, mesh: { ...inventory.mesh, outboundTrafficPolicy: 'REGISTRY_ONLY' } })
  const [error] = (await ended) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNRESET')
})

test('records are written as the mesh’s settings say, from one snapshot to the next', async (t) => {
  const all = built()
  const node = mesh(t, all)
  await node.http('app-v1-1', (_, response) => void response.end('in'))
  const socket = await node.dial('web-1', { ip: '10.96.0.1', port: 80 })
  for (const file of ['', '/dev/stdout', null]) {
    const accessLog = { ...DEFAULT_MESH_SETTINGS.accessLog, file }
    node.plane.apply({ ...all.inventory(), mesh: { ...DEFAULT_MESH_SETTINGS, accessLog } })
    await ask(socket, get)
  }
  await node.until(() => node.records.length === 2, 'records of the last two')
})
