// Many connections at once that do everything wrong, in an order that a seed decides: afterwards nothing is left.

import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { seeded } from '../../agent/model/request.fixture.ts'
import { rule, to, world } from '../../agent/model/world.fixture.ts'
import { mesh } from './mesh.ts'

const APP = { ip: '10.96.0.1', port: 80 }
const RAW = { ip: '10.96.0.2', port: 9000 }
const CALLERS = 300
/** A healthy request behind the storm. */
const PROOF = 'GET /ok HTTP/1.1\r\nHost: app\r\n\r\n'

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

test('after a storm of broken callers and servers, nothing is left behind', { timeout: 60_000 }, async (t) => {
  const random = seeded(20260101)
  const below = (n: number): number => Math.floor(random() * n)
  const node = mesh(
    t,
    world()
      .service('app')
      .service('raw', { ports: [{ port: 9000, protocol: 'opaque', targetPort: 9000 }] })
      .pods('app-v1')
      .pods('app-v2') // nobody listens there
      .pods('raw-v1')
      .pods('web', { behind: [] })
      .virtualService({
        hosts: ['app'],
        http: [
          rule({ timeoutMs: 150, fault: { delay: { percent: 20, ms: 30 }, abort: null }, destinations: [to('app')] }),
        ],
      }),
  )
  await node.http('app-v1-1', (request, response) => {
    const { url } = request
    request.on('error', () => {})
    request.resume()
    if (url === '/never') return
    if (url === '/reset') request.socket.resetAndDestroy()
    else if (url === '/half')
      response.writeHead(200, { 'content-length': 100 }).write('half', () => request.socket.destroy())
    else if (url === '/big') response.end(Buffer.alloc(300_000))
    else response.end('ok')
  })
  await node.tcp(
    'raw-v1-1',
    (socket) => {
      if (below(3) === 0) socket.resetAndDestroy()
      else socket.pipe(socket)
    },
    9000,
  )
  const acts: ((socket: Socket) => Promise<void> | void)[] = [
    (socket) => void socket.destroy(),
    (socket) => void socket.resetAndDestroy(),
    (socket) => void socket.end(),
    (socket) => void socket.write('nonsense\r\n\r\n'),
    (socket) => void socket.write('GET / HTT'),
    (socket) => void socket.end('POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 100\r\n\r\nshort'),
    (socket) => void socket.write('POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n'),
    (socket) =>
      void socket.write(Buffer.alloc(100_000, 'POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 4\r\n\r\nbody')),
    ...['/ok', '/never', '/reset', '/half', '/big'].map(
      (path) => (socket: Socket) => void socket.write(`GET ${path} HTTP/1.1\r\nHost: app\r\n\r\n`.repeat(1 + below(4))),
    ),
  ]
  const fdsBefore = readdirSync('/proc/self/fd').length
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      await pause(below(500))
      const socket = await node.dial('web-1', below(4) === 0 ? RAW : APP).catch(() => null)
      if (socket === null) return
      if (below(4) > 0) socket.resume()
      for (let i = 0; i < 3; i++) {
        if (socket.destroyed) break
        await acts[below(acts.length)]?.(socket)
        await pause(below(100))
      }
      if (below(2) === 0) socket.resetAndDestroy()
      else socket.destroy()
    }),
  )
  const { plane } = node
  await node.until(() => plane.node.live.size === 0, 'the end of all connections')
  plane.node.pools.drain()
  await pause(100)
  // the fake kernel cannot take a connection that its caller has reset already
  assert.deepEqual(
    node.faults.filter((fault) => !fault.includes('fake.ts')),
    [],
  )
  assert.equal(node.count('weft_proxy_connections_open'), 0)
  assert.equal(node.transport.stagedBytes, 0)
  assert.equal(plane.node.load.size, 0)
  assert.equal(plane.node.pools.idle, 0)
  assert.ok(node.records.length >= node.count('weft_proxy_connections_total'))
  const fds = readdirSync('/proc/self/fd').length
  assert.ok(fds <= fdsBefore + 10, `${fds} descriptors are open, ${fdsBefore} were before`)
  const socket = await node.dial('web-1', APP)
  const answered = new Promise<string>((resolve) => socket.once('data', (chunk: Buffer) => resolve(chunk.toString())))
  socket.write(PROOF)
  assert.match(await answered, /^HTTP\/1\.1 200 OK/)
})
