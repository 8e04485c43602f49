// What a DestinationRule's connectionPool.tcp does to flows and requests: time to connect, keepalive, silence, duration.

import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { must, native, NO_MARK } from '../../agent/kernel/native.ts'
import { materialOf, type OwnTls } from '../../agent/model/client-tls.ts'
import { MeshError } from '../../agent/model/failure.ts'
import type { ConnectionPool } from '../../agent/model/traffic-policy.ts'
import { type PolicyWish, type World, world } from '../../agent/model/world.fixture.ts'
import { clientTls, pool } from '../../agent/model/traffic-policy.fixture.ts'
import { UNBOUNDED } from '../../agent/proxy/transport/budget.ts'
import type { ConnectOptions } from '../../agent/proxy/transport/transport.ts'
import { ask, drainSocket, ending, mesh, readUntil } from './mesh.ts'
import { BODIES, IP, transport } from './secured.ts'

const ECHO = { ip: '10.96.0.1', port: 9000 }
const WEB = { ip: '10.96.0.2', port: 80 }
const GET = 'GET / HTTP/1.1\r\nhost: web\r\n\r\n'

function places(policy: PolicyWish): World {
  return world()
    .service('echo', { ports: [{ port: 9000, protocol: 'opaque', targetPort: 8080 }] })
    .service('web')
    .pods('app-v1', { behind: ['echo', 'web'] })
    .pods('caller', { behind: [] })
    .destinationRule({ host: 'echo', policy })
    .destinationRule({ host: 'web', policy })
}

const pooled = (wish: Partial<ConnectionPool>): World => places({ pool: pool(wish) })

test('how long a connect may take, and when an idle peer is asked, is as the rule has it, for flows and requests', async (t) => {
  const seen: ConnectOptions[] = []
  const timeouts: number[] = []
  const node = mesh(t, pooled({ connectTimeoutMs: 70, keepalive: { probes: 3, timeMs: 5000, intervalMs: null } }), {
    captured: ['caller-1'],
    connect: (fd, _, how) => {
      timeouts.push(native().userTimeout(fd))
      native().closeFd(fd)
      seen.push(how)
      return Promise.reject(new MeshError('CONNECT_TIMEOUT', 'nobody is there'))
    },
  })
  assert.equal(await ending(node.dial('caller-1', ECHO)), 'reset')
  assert.equal((await ask(await node.dial('caller-1', WEB), GET)).status, 503)
  const keepalive = { idleSeconds: 5, intervalSeconds: 75, probes: 3 }
  const asked = seen.map((how) => ({ timeoutMs: how.timeoutMs, keepalive: how.keepalive }))
  assert.ok(asked.length > 2, 'the request was tried again')
  for (const one of asked) assert.deepEqual(one, { timeoutMs: 70, keepalive })
  assert.deepEqual([...new Set(timeouts)], [0], 'the probes decide')
})

test('without a rule the agent’s own settings hold', async (t) => {
  const seen: unknown[] = []
  const node = mesh(t, places({}), {
    captured: ['caller-1'],
    limits: { connectTimeoutMs: 1234, userTimeoutMs: 4321 },
    connect: (fd, _, { timeoutMs, keepalive }) => {
      seen.push(timeoutMs, keepalive, native().userTimeout(fd))
      native().closeFd(fd)
      return Promise.reject(new MeshError('CONNECT_REFUSED', 'nobody is there'))
    },
  })
  assert.equal(await ending(node.dial('caller-1', ECHO)), 'reset')
  assert.deepEqual(seen, [1234, null, 4321])
})

for (const body of BODIES) {
  test(`a socket asks its peer as it was told (${body})`, async (t) => {
    const server = createServer((socket) => socket.on('error', () => undefined)).listen(0, IP)
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as { port: number }
    const one = transport(body)
    const connected = async (keepalive: ConnectOptions['keepalive']) => {
      const fd = must(native().socketIn(-1, -1, 4, -1, NO_MARK), 'make a socket')
      const how = { timeoutMs: 1000, budget: UNBOUNDED, keepalive: keepalive ?? null }
      const channel = await one.connect(fd, { ip: IP, port }, how)
      t.after(() => channel.reset())
      return native().keepalive(fd)
    }
    t.after(() => server.close())
    const keepalive = { idleSeconds: 11, intervalSeconds: 7, probes: 3 }
    assert.deepEqual(await connected(keepalive), keepalive)
    assert.equal((await connected(null)).idleSeconds, 60)
  })
}

test('what is no socket cannot be told how to ask', () => {
  assert.ok(native().setKeepalive(-1, 1, 1, 1) < 0)
  assert.ok(native().keepalive(-1).probes < 0)
})

test('a handshake has no more patience than the connect', async (t) => {
  const tls: OwnTls = { ...clientTls('SIMPLE', { insecureSkipVerify: true }), mode: 'SIMPLE' }
  const node = mesh(t, places({ tls, pool: pool({ connectTimeoutMs: 80 }) }), { captured: ['caller-1'] })
  node.plane.equip({ name: materialOf(tls), certificatePem: null, privateKeyPem: null, trust: { kind: 'anyone' } })
  await node.tcp('app-v1-1', () => undefined) // and never a word
  const beganMs = performance.now()
  assert.equal((await ask(await node.dial('caller-1', WEB), GET)).status, 503)
  assert.ok(performance.now() - beganMs < 2000)
})

for (const [idleMs, own, isEnded] of [
  [100, 60_000, true],
  [0, 100, false],
  [null, 100, true],
] as const) {
  test(`a flow ends after the silence that its rule allows, else the agent: ${idleMs}, ${own}`, async (t) => {
    const node = mesh(t, pooled({ idleMs }), { captured: ['caller-1'], limits: { idleMs: own, sweepMs: 20 } })
    await node.tcp('app-v1-1', (socket) => socket.pipe(socket))
    const caller = await node.dial('caller-1', ECHO)
    caller.write('x')
    await readUntil(caller, (got) => got === 'x')
    const end = drainSocket(caller).then(({ how }) => how)
    assert.equal(await Promise.race([end, sleep(600).then(() => 'goes on')]), isEnded ? 'reset' : 'goes on')
    if (!isEnded) return
    await node.until(() => node.records.length === 1, 'a record')
    assert.equal(node.records[0]?.weft_reason, 'IDLE_TIMEOUT')
  })
}

test('a flow ends when it has lasted for as long as its rule allows, whatever it does', async (t) => {
  const node = mesh(t, pooled({ maxDurationMs: 200 }), { captured: ['caller-1'], limits: { sweepMs: 20 } })
  await node.tcp('app-v1-1', (socket) => socket.pipe(socket))
  const caller = await node.dial('caller-1', ECHO)
  const busy = setInterval(() => caller.write('x'), 10)
  t.after(() => clearInterval(busy))
  const beganMs = performance.now()
  assert.equal((await drainSocket(caller)).how, 'reset')
  const ms = performance.now() - beganMs
  assert.ok(ms > 100 && ms < 2000, `${ms} ms`)
  await node.until(() => node.records.length === 1, 'a record')
  const { response_flags: flags, weft_reason: reason } = node.records[0] ?? {}
  assert.deepEqual([flags, reason], ['DT', 'DURATION_LIMIT'])
})

test('a connection of requests that has lasted so long gets no further one, and none of them fails', async (t) => {
  const node = mesh(t, pooled({ maxDurationMs: 150 }), { captured: ['caller-1'] })
  const ports = new Set<number | undefined>()
  await node.http('app-v1-1', ({ socket }, response) => {
    ports.add(socket.remotePort)
    response.end('ok')
  })
  const caller = await node.dial('caller-1', WEB)
  for (let i = 0; i < 3; i++) assert.equal((await ask(caller, GET)).status, 200)
  assert.equal(ports.size, 1)
  await sleep(300)
  assert.equal((await ask(caller, GET)).status, 200)
  assert.equal(ports.size, 2)
})
