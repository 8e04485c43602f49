// The ways out of the corridor before anything is relayed, and where what is dialled leads.

import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { SELF_DIAL, selfDialAnswer } from '../../agent/model/self-dial.ts'
import { world } from '../../agent/model/world.fixture.ts'
import { DataPlane } from '../../agent/proxy/plane/plane.ts'
import { noAccessLog } from '../../agent/telemetry/access.ts'
import type { Channel } from '../../agent/proxy/transport/transport.ts'
import { UNBOUNDED } from '../../agent/proxy/transport/budget.ts'
import { ask, drainSocket, ending, mesh, outboundOf, readUntil } from './mesh.ts'

const APP = { ip: '10.96.0.1', port: 80 }
const GET = 'GET / HTTP/1.1\r\nHost: app\r\n\r\n'

function one() {
  return world().service('app').pods('app-v1').pods('web', { behind: [] })
}

test('a connection whose destination the kernel does not know is reset and recorded', async (t) => {
  const shop = one()
  const node = mesh(t, shop)
  const { port, ip } = outboundOf(node.plane.node.pods.get(shop.pod('web-1').uid)!.captured)
  const socket = connect(port, ip)
  assert.deepEqual(await drainSocket(socket), { bytes: Buffer.alloc(0), how: 'reset' })
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.weft_reason, 'NO_ORIGINAL_DESTINATION')
  assert.equal(node.count('weft_failures_total', { step: 'capture', reason: 'NO_ORIGINAL_DESTINATION' }), 1)
  assert.equal(node.count('weft_proxy_connections_total', { direction: 'outbound' }), 1)
  assert.equal(node.count('weft_proxy_connections_open'), 0)
})

test('a dial of the proxy’s own listener is reset, not followed round and round', async (t) => {
  const shop = one()
  const node = mesh(t, shop)
  const { port } = outboundOf(node.plane.node.pods.get(shop.pod('web-1').uid)!.captured)
  assert.equal(await ending(node.dial('web-1', { ip: '127.0.0.1', port })), 'reset')
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.weft_reason, 'OWN_LISTENER')
})

test('the agent’s look whether capture works is told whose listener it came to, and is in no record', async (t) => {
  const shop = one()
  const node = mesh(t, shop)
  await node.http('app-v1-1', (_, response) => void response.end('ok'))
  const { cookie } = node.plane.node.pods.get(shop.pod('web-1').uid)!.captured
  for (const address of Object.values(SELF_DIAL)) {
    const { bytes, how } = await drainSocket(await node.dial('web-1', address))
    assert.deepEqual([bytes.toString(), how], [selfDialAnswer(cookie), 'end'])
  }
  await node.until(() => node.count('weft_proxy_connections_open') === 0, 'their end')
  // an application's connection is in the record, and comes after them
  const socket = await node.dial('web-1', APP)
  assert.equal((await ask(socket, GET)).status, 200)
  await node.until(() => node.records.length > 0, 'a record')
  assert.ok(node.records.every(({ path }) => path === '/'))
  assert.equal(node.count('weft_failures_total'), 0)
})

test('a pod beyond its bound of connections is refused, the others are not', async (t) => {
  const node = mesh(t, one().pods('other', { behind: [] }), { limits: { podConnections: 2 } })
  await node.http('app-v1-1', (_, response) => void response.end('ok'))
  const held = [await node.dial('web-1', APP), await node.dial('web-1', APP)]
  for (const socket of held) assert.equal((await ask(socket, GET)).status, 200)
  assert.equal(await ending(node.dial('web-1', APP)), 'reset')
  assert.equal((await ask(await node.dial('other-1', APP), GET)).status, 200)
  for (const socket of held) assert.equal((await ask(socket, GET)).status, 200)
  await node.until(() => node.records.some(({ weft_reason }) => weft_reason === 'SOCKET_LIMIT'), 'the refusal')
})

test('an endpoint on loopback is denied: it would be the caller’s own', async (t) => {
  const node = mesh(
    t,
    world().service('app').external('app', { ip: '127.0.0.1', port: 22 }).pods('web', { behind: [] }),
  )
  const answer = await ask(await node.dial('web-1', APP), GET)
  assert.equal(answer.status, 403)
  assert.equal(answer.body, 'RBAC: access denied')
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.weft_reason, 'DENIED')
  assert.match(node.records[0]?.weft_message ?? '', /127\.0\.0\.1:22 is a loopback address/)
})

test('a service without endpoints is 503 with flag UH', async (t) => {
  const node = mesh(t, world().service('app').pods('web', { behind: [] }))
  assert.equal((await ask(await node.dial('web-1', APP), GET)).status, 503)
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.response_flags, 'UH')
})

test('a pod that is dialled by its own address is gone to, whatever routes its service has', async (t) => {
  const fault = { delay: null, abort: { percent: 100, status: 500, grpcStatus: null } }
  const node = mesh(t, one().virtualService({ hosts: ['app'], http: [{ fault, destinations: [] }] }))
  await node.http('app-v1-1', (_, response) => void response.end('itself'))
  const answer = await ask(await node.dial('web-1', { ip: '10.244.0.1', port: 8080 }), GET)
  assert.equal(answer.body, 'itself')
  assert.equal(node.count('istio_requests_total', { destination_service_name: 'app' }), 2)
})

test('what the mesh does not know is passed through to where it was dialled', async (t) => {
  const shop = one().pods('stranger', { behind: [] })
  const node = mesh(t, shop, { captured: ['web-1'] })
  await node.tcp('stranger-1', (socket) => socket.pipe(socket), 6379)
  const socket = await node.dial('web-1', { ip: '10.244.0.3', port: 6379 })
  socket.write('PING')
  assert.equal(await readUntil(socket, (got) => got.length === 4), 'PING')
  assert.equal(node.count('istio_tcp_connections_opened_total', { reporter: 'source' }), 1)
  assert.equal(node.count('istio_tcp_connections_opened_total', { reporter: 'destination' }), 0)
})

test('every connection and every request is exactly one record, however they end', async (t) => {
  const node = mesh(t, one())
  await node.http('app-v1-1', (request, response) => {
    if (request.url === '/reset') request.socket.resetAndDestroy()
    else if (request.url !== '/never') response.end('ok')
  })
  const silent = await node.dial('web-1', APP)
  silent.destroy()
  const good = await node.dial('web-1', APP)
  for (let i = 0; i < 3; i++) await ask(good, GET)
  good.destroy()
  const bad = await node.dial('web-1', APP)
  await ask(bad, GET)
  bad.write('nonsense\r\n\r\n')
  await drainSocket(bad)
  const broken = await node.dial('web-1', APP)
  assert.equal((await ask(broken, GET.replace('/', '/reset'))).status, 503)
  broken.destroy()
  const left = await node.dial('web-1', APP)
  left.write(GET.replace('/', '/never'))
  await new Promise((resolve) => setTimeout(resolve, 50))
  left.resetAndDestroy()
  await node.until(() => node.count('weft_proxy_connections_open') === 0, 'the end of all connections')
  const seen = node.records.map(({ response_code, weft_reason }) => `${response_code} ${weft_reason ?? '-'}`)
  assert.deepEqual(seen.sort(), [
    '0 -', // the silent connection
    '0 CALLER_RESET',
    '200 -',
    '200 -',
    '200 -',
    '200 -',
    '400 BAD_REQUEST',
    '503 UPSTREAM_RESET',
  ])
  assert.equal(node.count('weft_proxy_connections_total'), 5)
  assert.equal(node.count('istio_requests_total', { reporter: 'source' }), 6)
})

test('what a released pod had pooled is closed, and an upstream idle for too long too', async (t) => {
  const shop = one()
  const node = mesh(t, shop, { limits: { pooledIdleMs: 60, sweepMs: 20 } })
  let open = 0
  const server = await node.http('app-v1-1', (_, response) => void response.end('ok'))
  server.on('connection', (socket) => {
    open++
    socket.on('close', () => open--)
  })
  const socket = await node.dial('web-1', APP)
  await ask(socket, GET)
  assert.equal(open, 1)
  await node.until(() => open === 0, 'the end of the idle upstream')
  await ask(socket, GET)
  assert.equal(open, 1)
  assert.equal(node.count('weft_proxy_upstreams_idle'), 1)
  node.plane.release(shop.pod('web-1').uid)
  await node.until(() => open === 0, 'the end of the pooled upstream')
  assert.equal((await ask(socket, GET)).body, 'ok', 'an open connection goes on')
})

test('inbound, the pod that was dialled is reached, also where a service claims its address', async (t) => {
  const shop = one()
  const ports = [{ port: 8080, protocol: 'http', targetPort: 8080 }] as const
  shop.service('claim', { addresses: shop.pod('app-v1-1').ips, ports }).pods('claim-v1')
  const node = mesh(t, shop)
  for (const pod of ['app-v1-1', 'claim-v1-1']) await node.http(pod, (_, response) => void response.end(pod))
  assert.equal((await ask(await node.reach('app-v1-1'), GET)).body, 'app-v1-1')
})

test('a service that goes while its protocol is looked for is told, not a fault of the mesh', async (t) => {
  const shop = world()
    .service('app', { ports: [{ port: 80 }] })
    .pods('app-v1')
    .pods('web', { behind: [] })
  const node = mesh(t, shop)
  const socket = await node.dial('web-1', APP)
  await node.until(() => node.plane.node.live.size === 1, 'the connection')
  node.plane.apply({ ...shop.inventory(2), services: [] })
  assert.equal((await drainSocket(socket)).how, 'reset')
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.weft_reason, 'NO_CLUSTER')
})

test('a pod that can be taken by half only is let go again', (t) => {
  const node = mesh(t, one(), { captured: [] })
  const { sockets } = node.plane.node
  let held = 0
  const plane = new DataPlane({
    access: noAccessLog,
    onFault: () => {},
    sockets: {
      ...sockets,
      hold: (captured) => ({
        captured,
        accept: (direction) => {
          if (direction === 'inbound') throw new Error('no fd is left')
          return { pause() {}, resume() {}, close() {} }
        },
        socket: () => -1,
        close: () => held--,
      }),
    },
  })
  held++
  plane.capture({ uid: 'pod', ips: [], cookie: '', netns: -1, listeners: [] })
  assert.equal(held, 0)
  assert.equal(plane.node.pods.size, 0)
})

test('a connection that is stopped while its protocol is sniffed is reset and recorded', async (t) => {
  const shop = world().service('db', { ports: [{ port: 7000, protocol: 'sniff' }] })
  const node = mesh(t, shop.pods('db-v1').pods('web', { behind: [] }), { limits: { sniffMs: 1_000 } })
  const socket = await node.dial('web-1', { ip: '10.96.0.1', port: 7000 })
  const rest = drainSocket(socket)
  await node.until(() => node.plane.node.live.size === 1, 'a live connection')
  await node.plane.stop(0)
  assert.equal((await rest).how, 'reset')
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.weft_reason, 'SHUTDOWN')
})

test('a connection that is stopped while its upstream is connected is recorded, and a late upstream is reset', async (t) => {
  const shop = world().service('db', { ports: [{ port: 7000, protocol: 'opaque' }] })
  const late = Promise.withResolvers<Channel>()
  const closed: number[] = []
  const connect = (fd: number): Promise<Channel> => {
    closed.push(fd)
    return late.promise
  }
  const node = mesh(t, shop.pods('db-v1').pods('web', { behind: [] }), { connect })
  const rest = drainSocket(await node.dial('web-1', { ip: '10.96.0.1', port: 7000 }))
  await node.until(() => closed.length === 1, 'an upstream that is connected')
  await node.plane.stop(0)
  assert.equal((await rest).how, 'reset')
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.weft_reason, 'SHUTDOWN')
  const upstream = node.transport.adopt(closed[0] as number, UNBOUNDED)
  late.resolve(upstream)
  await node.until(() => upstream.dead, 'the late upstream’s end')
})
