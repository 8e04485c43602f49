// Flows that a DestinationRule leads through a forward proxy (tunnel): what the proxy is asked, and what becomes of its answer.

import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { flowMatch, to, type PolicyWish, type World, world } from '../../agent/model/world.fixture.ts'
import { pool } from '../../agent/model/traffic-policy.fixture.ts'
import { drainSocket, ending, mesh, type MeshOptions, readUntil } from './mesh.ts'

const BANK = { ip: '10.96.0.2', port: 443 }
const TUNNEL = { protocol: 'CONNECT', host: 'bank.example.com', port: 8443 } as const

/** A service whose flows are led to the service of a proxy. */
function places(policy: PolicyWish = {}, count = 1): World {
  return world()
    .service('proxy', { ports: [{ port: 3128, protocol: 'opaque', targetPort: 3128 }] })
    .service('bank', { ports: [{ port: 443, protocol: 'opaque' }] })
    .pods('proxy', { count })
    .pods('outside', { behind: [] })
    .pods('caller', { behind: [] })
    .destinationRule({ host: 'proxy', policy: { tunnel: TUNNEL, simple: 'ROUND_ROBIN', ...policy } })
    .virtualService({
      hosts: ['bank'],
      tcp: [{ matches: [flowMatch({ port: 443 })], destinations: [to('proxy', { port: 3128 })] }],
    })
}

const started = (t: Parameters<typeof mesh>[0], all: World, options: MeshOptions = {}) =>
  mesh(t, all, { captured: ['caller-1'], ...options })

/** Reads a head, and gives it to `answered`. */
function proxy(answered: (head: string, socket: Socket) => void): (socket: Socket) => void {
  return (socket) => {
    void readUntil(socket, (text) => text.endsWith('\r\n\r\n')).then((head) => answered(head, socket))
  }
}

test('a flow goes through the tunnel that the proxy gives', async (t) => {
  const node = started(t, places())
  const heads: string[] = []
  await node.tcp('outside-1', (socket) => socket.pipe(socket))
  await node.tcp(
    'proxy-1',
    proxy((head, socket) => {
      heads.push(head)
      const there = connect(8080, node.addressOf('outside-1'), () => {
        socket.write('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Connection established\r\nContent-Length: 9\r\n\r\n')
        socket.pipe(there).pipe(socket)
      })
    }),
    3128,
  )
  const caller = await node.dial('caller-1', BANK)
  caller.write('money?')
  assert.equal(await readUntil(caller, (got) => got.length >= 6), 'money?')
  caller.end(' bye')
  assert.equal((await drainSocket(caller)).bytes.toString(), ' bye')
  assert.deepEqual(heads, ['CONNECT bank.example.com:8443 HTTP/1.1\r\nHost: bank.example.com:8443\r\n\r\n'])
  await node.until(() => node.records.length === 1, 'a record')
  assert.deepEqual(
    [node.records[0]?.bytes_sent, node.records[0]?.bytes_received],
    [10, 10],
    'the head is no byte of its',
  )
})

for (const pieces of ['at once', 'byte by byte'] as const) {
  test(`what the server says behind the answer is passed on (${pieces})`, async (t) => {
    const node = started(t, places())
    const answer = 'HTTP/1.1 200 OK\r\n\r\n220 ready\r\n'
    await node.tcp(
      'proxy-1',
      proxy((_, socket) => {
        if (pieces === 'at once') socket.write(answer)
        else for (const byte of answer) setTimeout(() => socket.write(byte), 1)
      }),
      3128,
    )
    const caller = await node.dial('caller-1', BANK)
    assert.equal(await readUntil(caller, (got) => got.endsWith('\n')), '220 ready\r\n')
  })
}

const REFUSALS: readonly (readonly [why: string, answered: (socket: Socket) => void, reason: string])[] = [
  ['it says no', (socket) => socket.end('HTTP/1.1 403 Forbidden\r\n\r\n'), 'TUNNEL_REFUSED'],
  ['it speaks no HTTP', (socket) => socket.write('SSH-2.0-x\r\n'), 'TUNNEL_REFUSED'],
  ['it switches to what nobody asked for', (socket) => socket.write('HTTP/1.1 101 Yes\r\n\r\n'), 'TUNNEL_REFUSED'],
  [
    'it has no end of interim answers',
    (socket) => socket.write('HTTP/1.1 100 Go\r\n\r\n'.repeat(99)),
    'TUNNEL_REFUSED',
  ],
  ['its head is endless', (socket) => socket.write(`HTTP/1.1 200 OK\r\nx: ${'a'.repeat(70_000)}`), 'TUNNEL_REFUSED'],
  ['it ends', (socket) => socket.end(), 'TUNNEL_REFUSED'],
  ['it resets', (socket) => void socket.resetAndDestroy(), 'TUNNEL_REFUSED'],
  ['it says nothing', () => undefined, 'CONNECT_TIMEOUT'],
]

for (const [why, answered, reason] of REFUSALS) {
  test(`a proxy gives no tunnel: ${why}`, async (t) => {
    const connectTimeoutMs = reason === 'CONNECT_TIMEOUT' ? 100 : 5000
    const node = started(t, places({ pool: pool({ connectTimeoutMs }) }))
    await node.tcp(
      'proxy-1',
      proxy((_, socket) => answered(socket)),
      3128,
    )
    assert.equal(await ending(node.dial('caller-1', BANK)), 'reset')
    await node.until(() => node.records.length === 1, 'a record')
    assert.deepEqual([node.records[0]?.response_flags, node.records[0]?.weft_reason], ['UF', reason])
    assert.equal([...node.plane.node.pods.values()][0]?.budget.held, 0)
  })
}

test('another proxy is asked where one gives no tunnel', async (t) => {
  const node = started(t, places({}, 2))
  await node.tcp(
    'proxy-1',
    proxy((_, socket) => socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n')),
    3128,
  )
  await node.tcp(
    'proxy-2',
    proxy((_, socket) => socket.write('HTTP/1.0 200 OK\r\n\r\nhello')),
    3128,
  )
  for (let i = 0; i < 4; i++) {
    const caller = await node.dial('caller-1', BANK)
    assert.equal(await readUntil(caller, (got) => got === 'hello'), 'hello')
  }
  assert.ok(node.count('weft_retries_total', { why: 'TUNNEL_REFUSED' }) > 0)
})

test('who leaves while the proxy is asked is not waited for', async (t) => {
  const node = started(t, places())
  let [asked, isGone] = [0, false]
  const answered = (_: string, socket: Socket): void => {
    asked++
    socket.on('close', () => (isGone = true))
  }
  await node.tcp('proxy-1', proxy(answered), 3128)
  await node.dial('caller-1', BANK)
  await node.until(() => asked === 1, 'a question')
  node.plane.node.live.stop()
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.weft_reason, 'SHUTDOWN')
  await node.until(() => isGone, 'an end at the proxy')
})
