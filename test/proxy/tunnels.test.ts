// Connections that begin as HTTP and end as something else: upgrades (WebSocket) and CONNECT.

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { match, rule, to, world } from '../../agent/model/world.fixture.ts'
import { ask, drainSocket, mesh, type Mesh, parseAnswer, readUntil } from './mesh.ts'

const APP = { ip: '10.96.0.1', port: 80 }
const CONNECT = 'CONNECT far.example:443 HTTP/1.1\r\nHost: far.example:443\r\n\r\n'

function one() {
  return world().service('app').pods('app-v1').pods('web', { behind: [] })
}

// ── WebSocket (RFC 6455), by hand ──

const TEXT = 0x1
const BINARY = 0x2
const CLOSE = 0x8
const PING = 0x9
const PONG = 0xa

interface Frame {
  readonly opcode: number
  readonly payload: Buffer
}

/** One whole message as a frame (§5.2); a client's is masked. */
function frame(opcode: number, payload: Buffer, masked: boolean): Buffer {
  const length = payload.length
  const head = Buffer.alloc(2 + (length < 126 ? 0 : length < 65_536 ? 2 : 8))
  head[0] = 0x80 | opcode
  head[1] = (masked ? 0x80 : 0) | (length < 126 ? length : length < 65_536 ? 126 : 127)
  if (length >= 65_536) head.writeBigUInt64BE(BigInt(length), 2)
  else if (length >= 126) head.writeUInt16BE(length, 2)
  if (!masked) return Buffer.concat([head, payload])
  const mask = randomBytes(4)
  return Buffer.concat([head, mask, xored(payload, mask)])
}

function xored(bytes: Buffer, mask: Buffer): Buffer {
  return Buffer.from(bytes.map((byte, i) => byte ^ (mask[i % 4] as number)))
}

/** Reads frames off a socket; `onFrame` gets each, unmasked. */
function frames(socket: Socket, ahead: Buffer, onFrame: (frame: Frame) => void): void {
  let held = ahead
  const parse = (): void => {
    for (;;) {
      if (held.length < 2) return
      const masked = ((held[1] as number) & 0x80) !== 0
      let length = (held[1] as number) & 0x7f
      let at = 2
      if (length === 126) {
        if (held.length < 4) return
        length = held.readUInt16BE(2)
        at = 4
      } else if (length === 127) {
        if (held.length < 10) return
        length = Number(held.readBigUInt64BE(2))
        at = 10
      }
      const from = at + (masked ? 4 : 0)
      if (held.length < from + length) return
      const payload = held.subarray(from, from + length)
      const opcode = (held[0] as number) & 0x0f
      onFrame({ opcode, payload: masked ? xored(payload, held.subarray(at, at + 4)) : Buffer.from(payload) })
      held = held.subarray(from + length)
    }
  }
  socket.on('data', (chunk: Buffer) => {
    held = Buffer.concat([held, chunk])
    parse()
  })
  parse()
  socket.resume()
}

const acceptOf = (key: string): string =>
  createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')

/** A server that echoes messages, answers pings and closes with the code it is given. */
async function webSocketEcho(node: Mesh): Promise<void> {
  const server = await node.http('app-v1-1', (_, response) => response.writeHead(426).end())
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    assert.equal(request.headers['sec-websocket-version'], '13')
    const accept = acceptOf(request.headers['sec-websocket-key'] as string)
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    )
    frames(socket, head, ({ opcode, payload }) => {
      socket.write(frame(opcode === PING ? PONG : opcode, payload, false))
      if (opcode === CLOSE) socket.end()
    })
  })
}

test('a WebSocket echoes messages of every length, pings, and closes with its code', async (t) => {
  const node = mesh(t, one())
  await webSocketEcho(node)
  const socket = await node.dial('web-1', APP)
  const key = randomBytes(16).toString('base64')
  // the first frame goes out with the handshake, as an impatient client may
  socket.write(
    Buffer.concat([
      Buffer.from(
        `GET /chat HTTP/1.1\r\nHost: app\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
      ),
      frame(TEXT, Buffer.from('first'), true),
    ]),
  )
  const text = await readUntil(socket, (got) => got.includes('\r\n\r\n'))
  const end = text.indexOf('\r\n\r\n') + 4
  const { status, headers } = parseAnswer(text)
  assert.deepEqual(
    [status, headers['upgrade'], headers['connection'], headers['sec-websocket-accept']],
    [101, 'websocket', 'upgrade', acceptOf(key)],
  )
  const lengths = [0, 1, 125, 126, 65_535, 65_536, 1_000_000]
  const seen: Frame[] = []
  const closed = new Promise<void>((resolve) => socket.once('end', resolve))
  frames(socket, Buffer.from(text.slice(end), 'latin1'), (got) => seen.push(got))
  const sent = lengths.map((length) => randomBytes(length))
  for (const payload of sent) socket.write(frame(BINARY, payload, true))
  socket.write(frame(PING, Buffer.from('?'), true))
  socket.write(frame(CLOSE, Buffer.from([0x03, 0xe8]), true)) // 1000: normal
  await closed
  socket.end()
  assert.deepEqual(
    seen.map(({ opcode, payload }) => [opcode, payload.length]),
    [[TEXT, 5], ...lengths.map((length) => [BINARY, length]), [PONG, 1], [CLOSE, 2]],
  )
  assert.ok(sent.every((payload, i) => payload.equals(seen[i + 1]?.payload as Buffer)))
  await node.until(() => node.records.length === 1, 'a record')
  const [record] = node.records
  assert.deepEqual([record?.response_code, record?.response_flags], [101, '-'])
  const bytes = sent.reduce((sum, { length }) => sum + length, 0)
  assert.ok((record?.bytes_received ?? 0) > bytes && (record?.bytes_sent ?? 0) > bytes)
})

test('a tunnel outlives the time that its request had, and ends when nothing passes any more', async (t) => {
  const node = mesh(t, one(), { limits: { requestMs: 80, bodyMs: 80, idleMs: 400, sweepMs: 20 } })
  const server = await node.http('app-v1-1', () => {})
  server.on('upgrade', (_request, socket) => {
    socket.on('error', () => {})
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n')
    socket.pipe(socket)
  })
  const socket = await node.dial('web-1', APP)
  socket.write('GET / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n')
  await readUntil(socket, (got) => got.endsWith('\r\n\r\n'))
  for (let i = 0; i < 4; i++) {
    await sleep(60)
    socket.write('x')
    assert.equal(await readUntil(socket, (got) => got === 'x'), 'x')
  }
  assert.equal((await drainSocket(socket)).how, 'reset')
  await node.until(() => node.records.length === 1, 'a record')
  assert.deepEqual([node.records[0]?.response_code, node.records[0]?.response_flags], [101, 'SI'])
})

test('a reset of either end of a tunnel is a reset at the other', async (t) => {
  const node = mesh(t, one())
  const peers: Socket[] = []
  const server = await node.http('app-v1-1', () => {})
  server.on('upgrade', (_request, socket: Socket) => {
    peers.push(socket)
    socket.on('error', () => {})
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n')
  })
  for (const side of ['caller', 'callee'] as const) {
    const socket = await node.dial('web-1', APP)
    socket.write('GET / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n')
    await readUntil(socket, (got) => got.endsWith('\r\n\r\n'))
    const peer = peers.at(-1) as Socket
    const seen = drainSocket(side === 'caller' ? peer : socket)
    if (side === 'caller') socket.resetAndDestroy()
    else peer.resetAndDestroy()
    assert.equal((await seen).how, 'reset')
  }
  await node.until(() => node.records.length === 2, 'two records')
  assert.deepEqual(
    node.records.map(({ response_flags }) => response_flags),
    ['DC', 'UC'],
  )
})

test('an upgrade that is refused is an answer, and the connection serves on', async (t) => {
  const node = mesh(t, one())
  await node.http('app-v1-1', (request, response) => {
    response.writeHead(request.headers.upgrade === undefined ? 200 : 426, { 'content-length': 2 }).end('no')
  })
  const socket = await node.dial('web-1', APP)
  const asked = 'GET / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
  assert.equal((await ask(socket, asked)).status, 426)
  assert.equal((await ask(socket, 'GET / HTTP/1.1\r\nHost: app\r\n\r\n')).status, 200)
})

// ── CONNECT ──

async function forwardProxy(t: TestContext, status = '200 Connection established\r\nContent-Length: 5'): Promise<Mesh> {
  const node = mesh(t, one())
  const server = await node.http('app-v1-1', (_, response) => void response.end('plain'))
  server.on('connect', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    assert.deepEqual([request.url, request.headers.host], ['far.example:443', 'far.example:443'])
    socket.write(`HTTP/1.1 ${status}\r\n\r\nhello `)
    socket.write(head)
    socket.pipe(socket)
  })
  return node
}

test('CONNECT that the dialled server accepts becomes a tunnel, whatever length it speaks of', async (t) => {
  const node = await forwardProxy(t)
  const socket = await node.dial('web-1', APP)
  socket.write(`${CONNECT}ahead `)
  const text = await readUntil(socket, (got) => got.endsWith('hello ahead '))
  assert.match(text, /^HTTP\/1\.1 200 Connection established\r\n/)
  assert.doesNotMatch(text, /content-length|transfer-encoding/i)
  socket.write('GET / HTTP/1.1\r\n\r\n') // bytes now, no request
  assert.equal(await readUntil(socket, (got) => got.length === 18), 'GET / HTTP/1.1\r\n\r\n')
  socket.end('bye')
  assert.equal((await drainSocket(socket)).bytes.toString(), 'bye')
  await node.until(() => node.records.length === 1, 'a record')
  const [record] = node.records
  assert.deepEqual([record?.method, record?.response_code, record?.bytes_received], ['CONNECT', 200, 6 + 18 + 3])
})

test('CONNECT that is refused is an answer, and what came behind it is no request', async (t) => {
  let requests = 0
  const node = mesh(t, one())
  const server = await node.http('app-v1-1', (_, response) => {
    requests++
    response.end('smuggled')
  })
  server.on('connect', (_request, socket: Socket) => {
    socket.write('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno')
  })
  const socket = await node.dial('web-1', APP)
  socket.write(`${CONNECT}GET /smuggled HTTP/1.1\r\nHost: app\r\n\r\n`)
  const { bytes, how } = await drainSocket(socket)
  const answer = parseAnswer(bytes.toString())
  assert.deepEqual([answer.status, answer.body, answer.headers['connection'], how], [403, 'no', 'close', 'end'])
  assert.equal(requests, 0)
})

test('a rule that asks for a path does not take CONNECT', async (t) => {
  const paths = match({ uri: { kind: 'prefix', value: '/' } })
  const shared = one().virtualService({
    hosts: ['app'],
    http: [rule({ matches: [paths], destinations: [to('app')] })],
  })
  const node = mesh(t, shared)
  const socket = await node.dial('web-1', APP)
  socket.write(CONNECT)
  assert.equal(parseAnswer((await drainSocket(socket)).bytes.toString()).status, 404)
})

test('a tunnel that a new snapshot forbids before it began is reset at both ends', async (t) => {
  const places = one()
  const node = mesh(t, places, { captured: ['web-1'] })
  let closed = false
  const server = await node.http('app-v1-1', () => {})
  server.on('upgrade', (_request, socket) => {
    socket.on('error', () => {})
    socket.on('close', () => (closed = true))
    places.peerAuthentication({ mode: 'STRICT' })
    node.apply()
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n')
  })
  const socket = await node.dial('web-1', APP)
  socket.write('GET / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n')
  assert.equal((await drainSocket(socket)).how, 'reset')
  await node.until(() => closed && node.plane.node.live.size === 0, 'the end of both')
})
