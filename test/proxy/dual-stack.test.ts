// The corridor of a dual-stack mesh: which family is dialled, what of it is shown. The sockets underneath are IPv4's.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { world } from '../../agent/model/world.fixture.ts'
import { ask, drainSocket, mesh } from './mesh.ts'

const V4 = '10.96.0.9'
const V6 = 'fd00:10:96::9'
const GET = 'GET / HTTP/1.1\r\nHost: app\r\n\r\n'
const web = { ips: ['10.244.0.1', 'fd00:10:244::1'], behind: [] }
const app = { ips: ['10.244.0.2', 'fd00:10:244::2'] }

function shop() {
  const ports = [
    { port: 80, protocol: 'http', targetPort: 8080 },
    { port: 7000, protocol: 'opaque', targetPort: 7000 },
  ] as const
  return world()
    .service('app', { addresses: [V4, V6], ports })
    .pods('web', web)
    .pods('app-v1', app)
}

test('a request goes on in the family it came in, and is recorded in it', async (t) => {
  const node = mesh(t, shop())
  const seen: (string | undefined)[] = []
  await node.http('app-v1-1', ({ headers }, response) => {
    seen.push(headers.host)
    response.end('ok')
  })
  for (const ip of [V4, V6]) assert.equal((await ask(await node.dial('web-1', { ip, port: 80 }), GET)).status, 200)
  const old = await node.dial('web-1', { ip: V6, port: 80 })
  assert.equal((await ask(old, 'GET / HTTP/1.0\r\n\r\n')).status, 200)
  await node.until(() => node.records.length === 3, 'three records')
  assert.deepEqual(node.families, [4, 6]) // the third went by the connection that the second had left
  const [four, six, bare] = node.records
  assert.deepEqual([four?.downstream_local_address, four?.upstream_host], [`${V4}:80`, '10.244.0.2:8080'])
  assert.deepEqual(
    [six?.downstream_local_address, six?.upstream_host, six?.authority],
    [`[${V6}]:80`, '[fd00:10:244::2]:8080', 'app'],
  )
  assert.match(six?.downstream_remote_address ?? '', /^\[fd00:10:244::1\]:\d+$/)
  assert.equal(six?.upstream_cluster, 'outbound|80||app.default.svc.cluster.local')
  assert.deepEqual([six?.weft_source_workload, six?.weft_destination_workload], ['web', 'app-v1'])
  // a request that names no host is for the address that was dialled
  assert.deepEqual([bare?.authority, seen], [`[${V6}]:80`, ['app', 'app', `[${V6}]:80`]])
})

test('bytes go on in the family they came in', async (t) => {
  const node = mesh(t, shop())
  await node.tcp('app-v1-1', (socket) => socket.end('hello'), 7000)
  const socket = await node.dial('web-1', { ip: V6, port: 7000 })
  socket.end()
  assert.equal(String((await drainSocket(socket)).bytes), 'hello')
  await node.until(() => node.records.length === 1, 'a record')
  assert.deepEqual([node.families, node.records[0]?.upstream_host], [[6], '[fd00:10:244::2]:7000'])
})

test('a pod dialled by either of its addresses is gone to by that address', async (t) => {
  const node = mesh(t, shop())
  await node.http('app-v1-1', (_, response) => void response.end('ok'))
  for (const ip of app.ips) assert.equal((await ask(await node.dial('web-1', { ip, port: 8080 }), GET)).status, 200)
  await node.until(() => node.records.length === 2, 'two records')
  assert.deepEqual(
    node.records.map(({ upstream_host, weft_destination_workload }) => [upstream_host, weft_destination_workload]),
    [
      ['10.244.0.2:8080', 'app-v1'],
      ['[fd00:10:244::2]:8080', 'app-v1'],
    ],
  )
})

test('endpoints of the other family do not serve', async (t) => {
  const node = mesh(
    t,
    world()
      .service('app', { addresses: [V4, V6] })
      .pods('web', web)
      .pods('app-v1', { ips: ['10.244.0.2'] }),
  )
  const answer = await ask(await node.dial('web-1', { ip: V6, port: 80 }), GET)
  assert.equal(answer.status, 503)
  assert.match(answer.body, /no IPv6 endpoint of app\.default/)
  await node.until(() => node.records.length === 1, 'a record')
  assert.deepEqual([node.records[0]?.response_flags, node.families], ['UH', []])
})

test('a target in absolute form may name an IPv6 address', async (t) => {
  const node = mesh(t, shop())
  await node.http('app-v1-1', ({ headers }, response) => void response.end(headers.host))
  const socket = await node.dial('web-1', { ip: V6, port: 80 })
  const answer = await ask(socket, `GET http://[${V6}]:80/x HTTP/1.1\r\nHost: other\r\n\r\n`)
  assert.deepEqual([answer.status, answer.body], [200, `[${V6}]:80`])
})
