// Requests to addresses that are no Service's own: which routes they get by their Host, and whom they are accounted to.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hostOf, rule, to, type World, world } from '../../agent/model/world.fixture.ts'
import { ask, mesh, readUntil } from './mesh.ts'

const OUTSIDE = { ip: '10.244.77.7', port: 8080 }
const get = (host: string): string => `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`
const abort = { percent: 100, status: 418, grpcStatus: null }

test('a headless service’s routes and name are for who dials its pods by name, not for who dials their addresses', async (t) => {
  const mine = world().service('db', { headless: true }).pods('db', { count: 2 }).pods('web', { behind: [] })
  const node = mesh(t, mine, { captured: ['web-1'] })
  for (const pod of ['db-1', 'db-2']) await node.http(pod, (_, response) => void response.end(pod))
  const at = (pod: string) => ({ ip: mine.pod(pod).ips[0]!, port: 8080 })
  const socket = await node.dial('web-1', at('db-2'))
  for (const host of ['db', 'db-2.db', hostOf('db')]) assert.equal((await ask(socket, get(host))).body, 'db-2')
  const labels = { destination_service: hostOf('db'), destination_workload: 'db' }
  assert.equal(node.count('istio_requests_total', labels), 3)
  assert.deepEqual(
    node.records.map(({ upstream_cluster }) => upstream_cluster),
    Array<string>(3).fill(`outbound|80||${hostOf('db')}`),
  )
  mine.virtualService({ hosts: ['db'], http: [rule({ destinations: [to('db')], fault: { delay: null, abort } })] })
  node.apply()
  const statuses = []
  for (const host of ['db', 'db-2.db', at('db-2').ip]) statuses.push((await ask(socket, get(host))).status)
  assert.deepEqual(statuses, [418, 418, 200])
})

test('where nothing stands an ExternalName service is known by Host, and a VirtualService for a host outside applies', async (t) => {
  const all = world()
    .service('ext', { addresses: [], externalName: 'api.example.com', ports: [] })
    .service('app')
    .pods('app')
    .pods('web', { behind: [] })
    .pods('outside', { ips: [OUTSIDE.ip], behind: [] })
    .virtualService({ hosts: ['moved.example'], http: [rule({ name: 'in', destinations: [to('app', { port: 80 })] })] })
  const node = mesh(t, all, { captured: ['web-1'] })
  const apply = (world: World): void => {
    const inventory = world.inventory(2)
    node.plane.apply({ ...inventory, workloads: inventory.workloads.filter(({ name }) => name !== 'outside-1') })
  }
  apply(all)
  await node.http('outside-1', (_, response) => void response.end('outside'))
  await node.http('app-1', (_, response) => void response.end('inside'))
  const socket = await node.dial('web-1', OUTSIDE)
  const bodies = []
  for (const host of ['ext', 'ext.default.svc', 'moved.example']) bodies.push((await ask(socket, get(host))).body)
  assert.deepEqual(bodies, ['outside', 'outside', 'inside'])
  assert.equal(node.count('istio_requests_total', { destination_service: hostOf('ext') }), 2)
  apply(all.settings({ outboundTrafficPolicy: 'REGISTRY_ONLY' }))
  const statuses = []
  for (const host of ['ext', 'moved.example', 'example.com']) statuses.push((await ask(socket, get(host))).status)
  assert.deepEqual(statuses, [200, 200, 502])
  await node.until(() => node.records.length === 6, 'a record each')
  assert.deepEqual(
    node.records.map(({ route_name, upstream_cluster }) => [route_name, upstream_cluster]),
    [
      [null, `outbound|8080||${hostOf('ext')}`],
      [null, `outbound|8080||${hostOf('ext')}`],
      ['in', `outbound|80||${hostOf('app')}`],
      [null, `outbound|8080||${hostOf('ext')}`],
      ['in', `outbound|80||${hostOf('app')}`],
      ['block_all', 'BlackHoleCluster'],
    ],
  )
})

test('a tunnel that a Host was allowed goes on when the mesh comes to know only its own', async (t) => {
  const all = world()
    .service('ext', { addresses: [], externalName: 'api.example.com', ports: [] })
    .pods('web', { behind: [] })
    .pods('outside', { ips: [OUTSIDE.ip], behind: [] })
  const node = mesh(t, all, { captured: ['web-1'] })
  const apply = (world: World): void => {
    const inventory = world.inventory(2)
    node.plane.apply({ ...inventory, workloads: inventory.workloads.filter(({ name }) => name !== 'outside-1') })
  }
  apply(all)
  await node.tcp('outside-1', (socket) => {
    socket.once('data', () => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n')
      socket.pipe(socket)
    })
  })
  const tunnel = await node.dial('web-1', OUTSIDE)
  const upgrade = 'GET / HTTP/1.1\r\nHost: ext\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n'
  assert.equal((await ask(tunnel, upgrade)).status, 101)
  apply(all.settings({ outboundTrafficPolicy: 'REGISTRY_ONLY' }))
  await new Promise((resolve) => setTimeout(resolve, 50)) // the look over all flows
  tunnel.write('ping')
  assert.equal(await readUntil(tunnel, (got) => got.length === 4), 'ping')
})
