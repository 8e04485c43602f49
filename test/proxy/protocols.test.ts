// Which protocol a connection is carried as: what its port declares, what its first bytes say, or silence. Each way is
// counted.

import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { world } from '../../agent/model/world.fixture.ts'
import { ask, drainSocket, type Mesh, mesh, parseAnswer, readUntil } from './mesh.ts'

const PORT = { ip: '10.96.0.1', port: 9000 }
const GET = 'GET / HTTP/1.1\r\nHost: app\r\n\r\n'
const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

/** A service whose port declares `protocol`, or nothing. */
function portOf(t: TestContext, protocol?: 'http' | 'opaque', sniffMs = 100): Mesh {
  const declared = protocol === undefined ? {} : { protocol }
  const shop = world()
    .service('app', { ports: [{ port: 9000, targetPort: 8080, ...declared }] })
    .pods('app-v1')
    .pods('web', { behind: [] })
  return mesh(t, shop, { limits: { sniffMs } })
}

function outcomes(node: Mesh, outcome: string): number {
  return node.count('weft_protocol_outcomes_total', { outcome })
}

const echo = (socket: Socket): void => void socket.pipe(socket)

test('an HTTP request that trickles in within the time is HTTP', async (t) => {
  const node = portOf(t, undefined, 1000)
  await node.http('app-v1-1', (_, response) => void response.end('ok'))
  const socket = await node.dial('web-1', PORT)
  for (const byte of 'GET ') {
    socket.write(byte)
    await sleep(10)
  }
  assert.equal((await ask(socket, GET.slice(4))).body, 'ok')
  assert.equal(outcomes(node, 'sniffed_http'), 1)
  await node.until(() => node.records.length === 1, 'a record of a request')
  assert.equal(node.records[0]?.method, 'GET')
})

test('what trickles for longer than the time is carried opaque, every byte of it', async (t) => {
  const node = portOf(t, undefined, 60)
  await node.tcp('app-v1-1', echo)
  const socket = await node.dial('web-1', PORT)
  socket.write('GE')
  await sleep(120)
  socket.write('T / HTTP/1.1\r\n\r\n')
  assert.equal(await readUntil(socket, (got) => got.endsWith('\r\n\r\n')), 'GET / HTTP/1.1\r\n\r\n')
  assert.equal(outcomes(node, 'undecided'), 1)
})

test('silence is opaque: the server may speak first, and what the caller says later passes', async (t) => {
  const node = portOf(t)
  await node.tcp('app-v1-1', (socket) => {
    socket.write('220 mail\r\n')
    socket.pipe(socket)
  })
  const beganMs = performance.now()
  const socket = await node.dial('web-1', PORT)
  assert.equal(await readUntil(socket, (got) => got.endsWith('\n')), '220 mail\r\n')
  assert.ok(performance.now() - beganMs < 1000)
  socket.write(GET) // not looked at any more
  assert.equal(await readUntil(socket, (got) => got.endsWith('\r\n\r\n')), GET)
  assert.equal(outcomes(node, 'silent'), 1)
})

test('a caller that ends its side without a word reaches a server that speaks', async (t) => {
  const node = portOf(t)
  await node.tcp('app-v1-1', (socket) => socket.end('a banner'))
  const socket = await node.dial('web-1', PORT)
  socket.end()
  assert.deepEqual(await drainSocket(socket), { bytes: Buffer.from('a banner'), how: 'end' })
  assert.equal(outcomes(node, 'silent'), 1)
})

for (const [what, first] of [
  ['TLS', '\x16\x03\x01\x02\x00\x01\x00'],
  ['a text protocol', 'EHLO there\r\n'],
  ['SSH', 'SSH-2.0-client\r\n'],
] as const) {
  test(`${what} on an undeclared port is carried as it is`, async (t) => {
    const node = portOf(t)
    await node.tcp('app-v1-1', echo)
    const socket = await node.dial('web-1', PORT)
    socket.write(first, 'latin1')
    assert.equal(await readUntil(socket, (got) => got.length === first.length), first)
    assert.equal(outcomes(node, 'sniffed_opaque'), 1)
  })
}

test('HTTP/2 on an undeclared port is carried opaque, and counted as what it is', async (t) => {
  const node = portOf(t)
  await node.tcp('app-v1-1', echo)
  const socket = await node.dial('web-1', PORT)
  for (const part of [PREFACE.slice(0, 4), PREFACE.slice(4)]) {
    socket.write(part)
    await sleep(10)
  }
  assert.equal(await readUntil(socket, (got) => got.length === PREFACE.length), PREFACE)
  assert.deepEqual([outcomes(node, 'sniffed_http2'), outcomes(node, 'sniffed_opaque')], [1, 0])
})

test('HTTP/2 on a port declared http is refused, and told what is spoken there', async (t) => {
  const node = portOf(t, 'http')
  let connections = 0
  await node.tcp('app-v1-1', () => connections++)
  const socket = await node.dial('web-1', PORT)
  socket.write(PREFACE)
  const { bytes, how } = await drainSocket(socket)
  const answer = parseAnswer(bytes.toString())
  assert.deepEqual([answer.headers['connection'], how, connections], ['close', 'end', 0])
  assert.match(answer.body, /HTTP\/1/)
  await node.until(() => node.records.length === 1, 'a record')
  assert.ok((node.records[0]?.response_code ?? 0) >= 400)
  assert.equal(node.records[0]?.response_flags, 'DPE')
})

test('a port declared http is never carried opaque: what is no HTTP there is 400 and closed', async (t) => {
  const node = portOf(t, 'http')
  let connections = 0
  await node.tcp('app-v1-1', () => connections++)
  for (const bytes of ['\x16\x03\x01\x02\x00\x01\x00\x01', 'EHLO there\r\n', '\r\n\r\n\r\n\0']) {
    const socket = await node.dial('web-1', PORT)
    socket.write(bytes, 'latin1')
    const { bytes: got, how } = await drainSocket(socket)
    const answer = parseAnswer(got.toString())
    assert.deepEqual([answer.status, answer.headers['connection'], how], [400, 'close', 'end'])
  }
  assert.equal(connections, 0)
  assert.equal(outcomes(node, 'declared_http'), 3)
})

test('a port declared http waits for its caller, however long that is silent', async (t) => {
  const node = portOf(t, 'http', 20)
  await node.http('app-v1-1', (_, response) => void response.end('ok'))
  const socket = await node.dial('web-1', PORT)
  await sleep(100)
  assert.equal((await ask(socket, GET)).body, 'ok')
})

test('a port declared opaque is not looked at', async (t) => {
  const node = portOf(t, 'opaque')
  await node.tcp('app-v1-1', (socket) => {
    socket.write('at once')
    socket.pipe(socket)
  })
  const socket = await node.dial('web-1', PORT)
  assert.equal(await readUntil(socket, (got) => got.length === 7), 'at once')
  socket.write(GET)
  assert.equal(await readUntil(socket, (got) => got.length === GET.length), GET)
  assert.equal(outcomes(node, 'declared_opaque'), 1)
})
