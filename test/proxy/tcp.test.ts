// TCP through the whole corridor: what each end sees, and what the books say.

import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { Socket } from 'node:net'
import { world } from '../../agent/model/world.fixture.ts'
import { drainSocket, ending, mesh, type Mesh, readUntil } from './mesh.ts'

const ECHO = { ip: '10.96.0.1', port: 9000 }

function tcpWorld() {
  return world()
    .service('echo', { ports: [{ port: 9000, protocol: 'opaque', targetPort: 8080 }] })
    .pods('echo-v1')
    .pods('web', { behind: [] })
}

async function pair(t: TestContext, node: Mesh): Promise<{ caller: Socket; callee: Socket }> {
  const { promise, resolve } = Promise.withResolvers<Socket>()
  await node.tcp('echo-v1-1', resolve)
  const caller = await node.dial('web-1', ECHO)
  const callee = await promise
  t.after(() => callee.destroy())
  return { caller, callee }
}

test('bytes pass both ways and are counted to the byte for both reporters', async (t) => {
  const node = mesh(t, tcpWorld())
  const { caller, callee } = await pair(t, node)
  caller.write('from the caller')
  assert.equal(await readUntil(callee, (got) => got.length === 15), 'from the caller')
  callee.write('and back')
  assert.equal(await readUntil(caller, (got) => got.length === 8), 'and back')
  assert.equal(node.count('istio_tcp_connections_opened_total'), 2)
  assert.equal(node.count('istio_tcp_received_bytes_total', { reporter: 'source' }), 15)
  assert.equal(node.count('istio_tcp_sent_bytes_total', { reporter: 'destination' }), 8)
  assert.equal(node.count('istio_tcp_connections_closed_total'), 0)
  caller.end()
  await drainSocket(callee)
  callee.end()
  await drainSocket(caller)
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.bytes_received, 15)
  assert.equal(node.records[0]?.bytes_sent, 8)
  assert.equal(node.records[0]?.response_flags, '-')
  assert.equal(node.count('istio_tcp_connections_closed_total', { response_flags: '-' }), 2)
  assert.equal(node.count('weft_proxy_connections_open'), 0)
})

test('a half-close by the caller leaves the other direction open', async (t) => {
  const node = mesh(t, tcpWorld())
  const { caller, callee } = await pair(t, node)
  caller.end('question')
  const { bytes, how } = await drainSocket(callee)
  assert.equal(bytes.toString(), 'question')
  assert.equal(how, 'end')
  const answer = drainSocket(caller)
  callee.write('an answer ')
  await new Promise((resolve) => setTimeout(resolve, 30))
  callee.end('in two parts')
  assert.deepEqual(await answer, { bytes: Buffer.from('an answer in two parts'), how: 'end' })
})

test('a half-close by the callee leaves the other direction open', async (t) => {
  const node = mesh(t, tcpWorld())
  const { caller, callee } = await pair(t, node)
  callee.end('greeting')
  assert.equal((await drainSocketHalf(caller)).toString(), 'greeting')
  const rest = drainSocket(callee)
  caller.write('still ')
  caller.end('here')
  assert.equal((await rest).bytes.toString(), 'still here')
})

/** Reads until the peer's FIN without ending this side. */
function drainSocketHalf(socket: Socket): Promise<Buffer> {
  ;(socket as { allowHalfOpen: boolean }).allowHalfOpen = true
  return drainSocket(socket).then(({ bytes }) => bytes)
}

for (const side of ['caller', 'callee'] as const) {
  test(`a reset by the ${side} is a reset at the other end`, async (t) => {
    const node = mesh(t, tcpWorld())
    const ends = await pair(t, node)
    ends.caller.write('x')
    await readUntil(ends.callee, (got) => got.length === 1)
    const other = side === 'caller' ? ends.callee : ends.caller
    const seen = drainSocket(other)
    ends[side].resetAndDestroy()
    assert.equal((await seen).how, 'reset')
    await node.until(() => node.records.length === 1, 'a record')
    assert.equal(node.records[0]?.response_flags, side === 'caller' ? 'DC' : 'UC')
  })
}

test('a port where nobody listens is a reset before any byte', async (t) => {
  const node = mesh(t, tcpWorld())
  assert.equal(await ending(node.dial('web-1', ECHO)), 'reset')
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.bytes_sent, 0)
  assert.equal(node.records[0]?.response_flags, 'UF')
  assert.equal(node.records[0]?.weft_reason, 'CONNECT_REFUSED')
  assert.equal(node.count('weft_failures_total', { step: 'connect', reason: 'CONNECT_REFUSED' }), 1)
})

for (const side of ['caller', 'callee'] as const) {
  test(`what the ${side} sends to a reader that stopped is held back, not stored`, async (t) => {
    const node = mesh(t, tcpWorld())
    const ends = await pair(t, node)
    const writer = side === 'caller' ? ends.caller : ends.callee
    const reader = side === 'caller' ? ends.callee : ends.caller
    reader.pause()
    const chunk = Buffer.alloc(1 << 20, 7)
    let accepted = 0
    for (let i = 0; i < 64; i++) writer.write(chunk, () => (accepted += chunk.length))
    await new Promise((resolve) => setTimeout(resolve, 300))
    assert.ok(accepted < 40 << 20, `${accepted} bytes were taken from the writer`)
    assert.ok(node.transport.stagedBytes <= 256 * 1024, `${node.transport.stagedBytes} bytes are held`)
    writer.end()
    const { bytes, how } = await drainSocket(reader)
    assert.equal(how, 'end')
    assert.equal(bytes.length, 64 << 20)
    assert.equal(node.transport.stagedBytes, 0)
  })
}

test('an undeclared port whose server speaks first is carried opaque after a moment of silence', async (t) => {
  const shy = world()
    .service('echo', { ports: [{ port: 9000, targetPort: 8080 }] })
    .pods('echo-v1')
    .pods('web', { behind: [] })
  const node = mesh(t, shy)
  await node.tcp('echo-v1-1', (socket) => socket.write('220 ready\r\n'))
  const caller = await node.dial('web-1', ECHO)
  assert.equal(await readUntil(caller, (got) => got.endsWith('\n')), '220 ready\r\n')
  assert.equal(node.count('weft_protocol_outcomes_total', { outcome: 'silent' }), 1)
})

test('what was read to tell the protocol is not lost', async (t) => {
  const shy = world()
    .service('echo', { ports: [{ port: 9000, targetPort: 8080 }] })
    .pods('echo-v1')
    .pods('web', { behind: [] })
  const node = mesh(t, shy)
  await node.tcp('echo-v1-1', (socket) => socket.pipe(socket))
  const caller = await node.dial('web-1', ECHO)
  caller.write('\x16\x03\x01 not http')
  assert.equal(await readUntil(caller, (got) => got.length === 12), '\x16\x03\x01 not http')
  assert.equal(node.count('weft_protocol_outcomes_total', { outcome: 'sniffed_opaque' }), 1)
})

test('a flow without a byte for too long is ended', async (t) => {
  const node = mesh(t, tcpWorld(), { limits: { idleMs: 100, sweepMs: 20 } })
  const { caller } = await pair(t, node)
  assert.equal((await drainSocket(caller)).how, 'reset')
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.weft_reason, 'IDLE_TIMEOUT')
})

test('an inbound connection goes to the application that was dialled, and its caller is unproven', async (t) => {
  const node = mesh(t, tcpWorld())
  await node.tcp('echo-v1-1', (socket) => socket.pipe(socket))
  const caller = await node.reach('echo-v1-1')
  caller.write('hello')
  assert.equal(await readUntil(caller, (got) => got.length === 5), 'hello')
  const labels = { reporter: 'destination', source_workload: 'unknown', destination_service_name: 'echo' }
  assert.equal(node.count('istio_tcp_connections_opened_total', labels), 1)
  assert.equal(node.count('istio_tcp_connections_opened_total'), 1)
})

test('connections of a released pod go on', async (t) => {
  const shared = tcpWorld()
  const node = mesh(t, shared)
  const { caller, callee } = await pair(t, node)
  node.plane.release(shared.pod('web-1').uid)
  node.kernel.release(shared.pod('web-1').uid)
  caller.write('still')
  assert.equal(await readUntil(callee, (got) => got.length === 5), 'still')
})

test('connections of a pod that is gone end with it', async (t) => {
  const shared = tcpWorld()
  const node = mesh(t, shared)
  const { caller } = await pair(t, node)
  node.plane.release(shared.pod('web-1').uid, true)
  assert.equal((await drainSocket(caller)).how, 'reset')
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.weft_reason, 'SHUTDOWN')
  assert.equal(node.plane.node.live.size, 0)
})
