// What every body of Transport promises, shown on both.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { MeshError } from '../../agent/model/failure.ts'
import { must, native, NO_MARK } from '../../agent/kernel/native.ts'
import { UNBOUNDED } from '../../agent/proxy/transport/budget.ts'
import { type Channel, type ChannelSink, DEAF, type Transport } from '../../agent/proxy/transport/transport.ts'
import { nativeTransport } from '../../agent/proxy/transport/transport-native.ts'
import { nodeTransport } from '../../agent/proxy/transport/transport-node.ts'
import { NETWORK } from '../network.ts'
import { drainSocket } from './mesh.ts'

const IP = `${NETWORK}9.1`

function freshSocket(): number {
  return must(native().socketIn(-1, -1, 4, -1, NO_MARK), 'make a socket')
}

interface Pair {
  readonly channel: Channel
  readonly peer: Socket
  /** What the channel's sink heard, in order; bytes as text. */
  readonly heard: string[]
  readonly thrown: unknown[]
  readonly stagedBytes: () => number
}

async function connectedBy(make: Make, t: TestContext, sink: Partial<ChannelSink> = {}): Promise<Pair> {
  const thrown: unknown[] = []
  const transport = make((error) => thrown.push(error))
  const server = createServer({ allowHalfOpen: true })
  await new Promise<void>((resolve) => server.listen(0, IP, resolve))
  const peer = new Promise<Socket>((resolve) => server.once('connection', resolve))
  const { port } = server.address() as { port: number }
  const channel = await transport.connect(freshSocket(), { ip: IP, port }, { timeoutMs: 1000, budget: UNBOUNDED })
  const heard: string[] = []
  channel.sink = {
    bytes: (arena, from, to) => heard.push(arena.toString('latin1', from, to)),
    end: () => heard.push('(end)'),
    drained: () => heard.push('(drained)'),
    closed: () => heard.push('(closed)'),
    lost: (cause) => heard.push(`(lost ${(cause as NodeJS.ErrnoException).code})`),
    ...sink,
  }
  const other = await peer
  other.on('error', () => {})
  t.after(() => {
    other.destroy()
    channel.reset()
    server.close()
  })
  return { channel, peer: other, heard, thrown, stagedBytes: () => transport.stagedBytes }
}

/** Listens, tells its port, and sends urgent data in the midst of other, twice. Node cannot. */
const URGENT = `
  socket(my $s, PF_INET, SOCK_STREAM, 0); bind($s, pack_sockaddr_in(0, inet_aton($ARGV[0]))); listen($s, 1);
  $| = 1; print +(unpack_sockaddr_in(getsockname($s)))[0]; accept(my $c, $s);
  for (1, 2) { send($c, "before", 0); send($c, "!", MSG_OOB); send($c, "behind", 0); select(undef, undef, undef, 0.1) }
  sleep 20`

const soon = (ms = 30): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const write = (channel: Channel, text: string): void => channel.write(Buffer.from(text), 0, text.length, null)

type Make = (onBug: (thrown: unknown) => void) => Transport
const BODIES: Readonly<Record<string, Make>> = {
  native: (onBug) => nativeTransport(native(), onBug),
  node: nodeTransport,
}

for (const [body, make] of Object.entries(BODIES)) {
  const connected = (t: TestContext, sink?: Partial<ChannelSink>): Promise<Pair> => connectedBy(make, t, sink)

  test(`${body}: a new channel reads nothing until it is resumed`, async (t) => {
    const { channel, peer, heard } = await connected(t)
    peer.write('early')
    await soon()
    assert.deepEqual(heard, [])
    channel.resume()
    await soon()
    assert.deepEqual(heard, ['early'])
    channel.hold()
    peer.write('later')
    await soon()
    assert.deepEqual(heard, ['early'])
  })

  test(`${body}: urgent data, at which a read stops, hides nothing that comes behind it`, async (t) => {
    const peer = spawn('perl', ['-MSocket', '-e', URGENT, IP], { stdio: ['pipe', 'pipe', 'inherit'] })
    t.after(() => peer.kill('SIGKILL'))
    const [port] = (await once(peer.stdout, 'data')) as [Buffer]
    const to = { ip: IP, port: Number(port) }
    const channel = await make((error) => assert.fail(String(error))).connect(freshSocket(), to, {
      timeoutMs: 1000,
      budget: UNBOUNDED,
    })
    t.after(() => channel.reset())
    let heard = ''
    channel.sink = { ...DEAF, bytes: (arena, from, to) => (heard += arena.toString('latin1', from, to)) }
    channel.resume()
    for (let at = 0; at < 100 && heard.length < 24; at++) await soon()
    assert.equal(heard, 'beforebehindbeforebehind')
  })

  test(`${body}: all that one turn writes leaves in one piece`, async (t) => {
    const { channel, peer } = await connected(t)
    const pieces: string[] = []
    peer.on('data', (chunk: Buffer) => pieces.push(chunk.toString()))
    write(channel, 'head ')
    write(channel, 'body')
    await soon()
    assert.deepEqual(pieces, ['head body'])
  })

  test(`${body}: what is written is copied at once`, async (t) => {
    const { channel, peer } = await connected(t)
    const bytes = Buffer.from('kept')
    channel.write(bytes, 0, 4, null)
    bytes.fill('x')
    channel.shutdown()
    assert.equal((await drainSocket(peer)).bytes.toString(), 'kept')
  })

  test(`${body}: end, reset and an orderly close are told apart`, async (t) => {
    const ended = await connected(t)
    ended.channel.resume()
    ended.peer.end()
    await soon()
    assert.deepEqual(ended.heard, ['(end)'])
    ended.channel.shutdown()
    await soon()
    assert.deepEqual(ended.heard, ['(end)', '(closed)'])
    const broken = await connected(t)
    broken.channel.resume()
    broken.peer.resetAndDestroy()
    await soon()
    assert.deepEqual(broken.heard, ['(lost ECONNRESET)'])
    assert.equal(broken.channel.dead, true)
  })

  test(`${body}: a reset reaches the peer as a reset, also behind a half-close, also with a backlog`, async (t) => {
    const plain = await connected(t)
    const plainEnd = drainSocket(plain.peer)
    write(plain.channel, 'x')
    await soon()
    plain.channel.reset()
    assert.equal((await plainEnd).how, 'reset')

    const full = await connected(t)
    const chunk = Buffer.alloc(1 << 20)
    for (let i = 0; i < 16; i++) full.channel.write(chunk, 0, chunk.length, null)
    await soon()
    assert.ok(full.channel.backlog > 0)
    full.channel.reset()
    assert.equal((await drainSocket(full.peer)).how, 'reset')
    assert.equal(full.stagedBytes(), 0)

    const amid = await connected(t)
    const broken = new Promise<NodeJS.ErrnoException>((resolve) => amid.peer.on('error', resolve))
    amid.channel.shutdown()
    amid.channel.reset() // while shutdown(2) is under way, where the body does that elsewhere
    await soon()
    assert.equal(amid.channel.dead, true)
    amid.peer.write('anything')
    amid.peer.resume()
    const timer = setInterval(() => amid.peer.write('x'), 5)
    amid.peer.on('close', () => clearInterval(timer))
    const error = await broken
    assert.match(String(error.code), /ECONNRESET|EPIPE/)
  })

  test(`${body}: a source is not read while its destination has a backlog, and is again once that is gone`, async (t) => {
    const source = await connected(t, {
      bytes: (arena, from, to) => sink.channel.write(arena, from, to, source.channel),
    })
    const sink = await connected(t)
    source.channel.resume()
    const size = 48 << 20
    let taken = 0
    for (let i = 0; i < 48; i++) source.peer.write(Buffer.alloc(1 << 20), () => (taken += 1 << 20))
    source.peer.end(() => {})
    await soon(300)
    assert.ok(taken < size, `all ${taken} bytes were taken`)
    assert.ok(sink.channel.backlog <= 128 * 1024, `${sink.channel.backlog}`)
    let arrived = 0
    await new Promise<void>((resolve) => {
      sink.peer.on('data', (chunk: Buffer) => {
        arrived += chunk.length
        if (arrived === size) resolve()
      })
    })
  })

  test(`${body}: what a sink throws costs its own connection alone`, async (t) => {
    const bad = await connected(t, {
      bytes: () => {
        throw new Error('a bug')
      },
    })
    const good = await connected(t)
    bad.channel.resume()
    good.channel.resume()
    const end = drainSocket(bad.peer)
    bad.peer.write('x')
    good.peer.write('y')
    assert.equal((await end).how, 'reset')
    await soon()
    assert.deepEqual(good.heard, ['y'])
    assert.equal(bad.thrown.length, 1)
    assert.deepEqual(bad.heard, ['(lost undefined)'])
  })

  test(`${body}: a connection that is being made can be given up`, async (t) => {
    const server = createServer()
    const came: Socket[] = []
    server.on('connection', (socket) => came.push(socket.on('error', () => {})))
    await new Promise<void>((resolve) => server.listen(0, IP, resolve))
    t.after(() => server.close())
    const to = { ip: IP, port: (server.address() as { port: number }).port }
    const transport = make((error) => assert.fail(String(error)))
    const begun = (giveUp: () => void): void => giveUp()
    const attempt = transport.connect(freshSocket(), to, { timeoutMs: 60_000, budget: UNBOUNDED, begun })
    await assert.rejects(attempt, (error) => error instanceof MeshError && error.code === 'CONNECT_TIMEOUT')
    for (const socket of came) await drainSocket(socket) // it ends
  })

  test(`${body}: a connection refused or not answered says so`, async () => {
    const transport = make(() => {})
    await assert.rejects(
      transport.connect(freshSocket(), { ip: IP, port: 1 }, { timeoutMs: 1000, budget: UNBOUNDED }),
      (error) => error instanceof MeshError && error.code === 'CONNECT_REFUSED',
    )
    const closed = createServer()
    await new Promise<void>((resolve) => closed.listen({ port: 0, host: IP, backlog: 1 }, resolve))
    const { port } = closed.address() as { port: number }
    closed.close()
    await assert.rejects(
      transport.connect(freshSocket(), { ip: IP, port }, { timeoutMs: 1000, budget: UNBOUNDED }),
      (error) => error instanceof MeshError && error.code === 'CONNECT_REFUSED',
    )
  })

  test(`${body}: a closed channel still delivers what was written`, async (t) => {
    const { channel, peer } = await connected(t)
    const size = 8 << 20
    channel.write(Buffer.alloc(size), 0, size, null)
    channel.close()
    assert.equal((await drainSocket(peer)).bytes.length, size)
  })

  for (const [how, ending] of [
    ['reset', ['(lost ECONNRESET)']],
    ['close', ['(end)', '(lost EPIPE)']],
  ] as const) {
    test(`${body}: what a peer sent ahead of its ${how} is heard, though a write has failed meanwhile`, async (t) => {
      const { channel, peer, heard, stagedBytes } = await connected(t)
      peer.write('last words')
      await soon()
      if (how === 'reset') peer.resetAndDestroy()
      else peer.destroy()
      await soon()
      for (let i = 0; i < 3; i++) {
        write(channel, 'in vain')
        await soon(10)
      }
      assert.deepEqual(heard, [])
      channel.resume()
      await soon()
      assert.deepEqual(heard, ['last words', ...ending])
      assert.deepEqual([channel.dead, stagedBytes()], [true, 0])
    })
  }

  test(`${body}: a channel whose write failed behind a shutdown that waited for it can be reset`, async (t) => {
    const { channel, peer, stagedBytes } = await connected(t)
    peer.pause()
    const chunk = Buffer.alloc(1 << 20)
    for (let i = 0; i < 32 && !channel.blocked; i++) {
      channel.write(chunk, 0, chunk.length, null)
      await soon(5)
    }
    channel.shutdown()
    peer.resetAndDestroy()
    await soon()
    channel.reset()
    await soon(10)
    assert.deepEqual([channel.dead, stagedBytes()], [true, 0])
  })
}
