// What TLS adds to a pump: its own word of the end, what a handshake left, records that are none, keys that change.

import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import type { Channel } from '../../agent/proxy/transport/transport.ts'
import type { NativeTransport } from '../../agent/proxy/transport/transport-native.ts'
import {
  BODIES,
  type Body,
  CALLER,
  channels,
  channelsApart,
  credentials,
  type End,
  handshake,
  type Middle,
  pour,
  soon,
  transport,
  until,
  withSocket,
  write,
} from './secured.ts'

/** A pump from a secured channel to a plain one, and who is at both ends. */
interface Pumped {
  readonly client: End
  /** At the plain end. */
  readonly socket: Socket
  /** What it got. */
  readonly got: Buffer[]
  readonly middle: Middle
  /** How it ended. */
  readonly heard: { end: string | null; fromClient: number }
}

/** Passes on what both ends say. */
function passOn({ toServer, toClient }: Middle): void {
  toServer.on('data', (chunk: Buffer) => toClient.write(chunk))
  toClient.on('data', (chunk: Buffer) => toServer.write(chunk))
}

function join(server: Channel, plain: Channel): Pumped['heard'] {
  const heard: Pumped['heard'] = { end: null, fromClient: 0 }
  server.pump(plain, {
    passed: (from, bytes) => (heard.fromClient += from === server ? bytes : 0),
    closed: () => (heard.end = 'closed'),
    lost: (side, cause) =>
      (heard.end = `${side === server ? 'TLS' : 'plain'} ${(cause as NodeJS.ErrnoException).code}`),
  })
  return heard
}

async function pumped(t: TestContext, body: Body): Promise<Pumped> {
  const near = transport(body)
  const middle = await channelsApart(t, near, transport('native'))
  passOn(middle)
  const { server, client } = await handshake(middle.pair)
  const [plain, socket] = await withSocket(t, near)
  const got: Buffer[] = []
  socket.on('data', (chunk: Buffer) => got.push(chunk))
  client.channel.resume()
  return { client, socket, got, middle, heard: join(server.channel, plain) }
}

const textOf = (got: readonly Buffer[]): string => Buffer.concat(got).toString()

for (const body of BODIES) {
  test(`${body}: FIN without TLS’s own word of the end is the loss of a pump`, async (t) => {
    const { client, socket, got, middle, heard } = await pumped(t, body)
    let isReset = false
    socket.on('error', ({ code }: NodeJS.ErrnoException) => (isReset = code === 'ECONNRESET'))
    write(client.channel, 'half of it')
    await until(() => got.length > 0, 'bytes')
    middle.toServer.end()
    await until(() => heard.end !== null && isReset, 'the loss')
    assert.deepEqual([heard, textOf(got)], [{ end: 'TLS TLS_TRUNCATED', fromClient: 10 }, 'half of it'])
  })

  test(`${body}: a pump says by TLS that it has ended, ahead of FIN`, async (t) => {
    const { client, socket, got, heard } = await pumped(t, body)
    socket.end('all of it')
    await until(() => client.heard.includes('(end)'), 'the end')
    assert.deepEqual(client.heard, ['all of it', '(end)'])
    write(client.channel, 'an answer')
    client.channel.shutdown()
    await until(
      () => heard.end !== null && client.heard.includes('(closed)') && textOf(got) === 'an answer',
      'both ends',
    )
    assert.deepEqual(heard, { end: 'closed', fromClient: 9 })
  })

  test(`${body}: a record that was changed on its way is the loss of a pump, behind those ahead of it`, async (t) => {
    const { client, got, middle, heard } = await pumped(t, body)
    write(client.channel, 'right')
    await until(() => got.length > 0, 'bytes')
    middle.toClient.removeAllListeners('data')
    middle.toClient.on('data', (chunk: Buffer) => {
      chunk[chunk.length - 1] = (chunk[chunk.length - 1] as number) ^ 1
      middle.toServer.write(chunk)
    })
    write(client.channel, 'wrong')
    await until(() => heard.end !== null && client.channel.dead, 'the loss')
    assert.match(heard.end as string, /^TLS TLS_PROTOCOL$/)
    assert.deepEqual([heard.fromClient, textOf(got)], [5, 'right'])
    // the peer is told why
    assert.match(client.heard.at(-1) as string, /^\(lost TLS_ALERT\)$/)
  })

  test(`${body}: what came with the handshake’s last words goes first`, async (t) => {
    const near = transport(body)
    const middle = await channelsApart(t, near, transport('native'))
    const { toServer, toClient } = middle
    toServer.on('data', (chunk: Buffer) => toClient.write(chunk))
    const kept: Buffer[] = []
    let isHello = true
    toClient.on('data', (chunk: Buffer) => {
      if (!isHello) kept.push(chunk)
      else toServer.write(chunk)
      isHello = false
    })
    const both = handshake(middle.pair)
    await until(() => kept.length > 0, 'the last flight')
    // the client has all that it needs: what it writes is behind its last flight
    const far = middle.pair[1]
    await soon(20)
    const lastFlight = Buffer.concat(kept).length
    write(far, 'first')
    await until(() => Buffer.concat(kept).length > lastFlight, 'bytes')
    toClient.removeAllListeners('data').on('data', (chunk: Buffer) => toServer.write(chunk))
    toServer.write(Buffer.concat(kept))
    const { server } = await both
    const [plain, socket] = await withSocket(t, near)
    const got: Buffer[] = []
    socket.on('data', (chunk: Buffer) => got.push(chunk))
    const heard = join(server.channel, plain)
    await until(() => textOf(got) === 'first', 'what came ahead')
    write(far, ', then this')
    await until(() => textOf(got) === 'first, then this', 'the rest')
    far.shutdown()
    socket.end()
    await until(() => heard.end !== null, 'the end')
    assert.deepEqual(heard, { end: 'closed', fromClient: 16 })
  })
}

test('native: keys change amid what is pumped, both ways, without a trace', async (t) => {
  const rekeyBytes = 50_000
  const near = transport('native')
  const { server, client } = await handshake(
    await channels(t, near, transport('native')),
    { credentials: credentials(CALLER, { rekeyBytes }) },
    { credentials: credentials(CALLER, { rekeyBytes }) },
  )
  const [plain, socket] = await withSocket(t, near)
  const heard = join(server.channel, plain)
  const size = 4 << 20
  let [wrong, back, there] = [0, 0, 0]
  client.channel.sink.bytes = (arena, from, to) => {
    for (let at = from; at < to; at++) if (arena[at] !== 5) wrong++
    back += to - from
  }
  socket.on('data', (chunk: Buffer) => {
    for (const byte of chunk) if (byte !== (there++ & 0xff)) wrong++
  })
  client.channel.resume()
  socket.end(Buffer.alloc(size, 5))
  pour(client, size, (i) => i & 0xff)
  await until(() => heard.end !== null && there === size && back === size, 'both ends')
  assert.deepEqual([wrong, heard], [0, { end: 'closed', fromClient: size }])
})

/** Has a pump answer `updates` requests for new keys, while the client reads nothing of it. */
async function keyUpdates(t: TestContext, updates: number): Promise<string | null> {
  const far = transport('native') as NativeTransport
  const near = transport('native')
  const greedy = credentials(CALLER, { rekeyBytes: 0 })
  const { server, client } = await handshake(await channels(t, near, far), {}, { credentials: greedy })
  const [plain, socket] = await withSocket(t, near)
  socket.resume()
  const heard = join(server.channel, plain)
  for (let sent = 0; sent < updates && heard.end === null; sent++) {
    write(client.channel, 'x')
    far.flush()
    if (sent % 500 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  await until(() => heard.end !== null || client.channel.backlog === 0, 'all read')
  return heard.end
}

test('native: a pumped peer that wants new keys again and again, and takes no answer, is given up', async (t) => {
  assert.equal(await keyUpdates(t, 1000), null)
  assert.equal(await keyUpdates(t, 1_000_000), 'TLS TLS_EXCESS')
})
