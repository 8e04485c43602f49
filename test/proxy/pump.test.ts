// What a pump promises, on every body of Transport, whichever ends are TLS, and where the addon gets no pipes.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { native } from '../../agent/kernel/native.ts'
import { seeded } from '../../agent/model/request.fixture.ts'
import { Budget } from '../../agent/proxy/transport/budget.ts'
import type { Channel, Transport } from '../../agent/proxy/transport/transport.ts'
import { nativeTransport } from '../../agent/proxy/transport/transport-native.ts'
import { nodeTransport } from '../../agent/proxy/transport/transport-node.ts'
import { NETWORK } from '../network.ts'
import { issue } from './certificates.ts'
import { descriptors, Ground, Heard, type Pair, type Peer, PLAIN, type Secure, until } from './pumped.ts'
import { asClient, CALLEE, ROOT } from './secured.ts'

const IP = `${NETWORK}9.2`
const MB = 1 << 20
/** What a direction may hold: a pipe, or a few buffers. */
const MOST_HELD = 256 * 1024

type Make = (onBug: (thrown: unknown) => void) => Transport
const BODIES: Readonly<Record<string, Make>> = {
  native: (onBug) => nativeTransport(native(), onBug),
  'native without pipes': (onBug) => nativeTransport(native(), onBug, 0),
  node: nodeTransport,
}

/** A body, and which ends of its pumps are TLS. */
interface Case {
  readonly name: string
  readonly make: Make
  readonly secure: Secure
}

const CASES: readonly Case[] = Object.entries(BODIES).flatMap(([body, make]) => [
  { name: body, make, secure: PLAIN },
  ...(body === 'native without pipes' ? [] : securedCases(body, make)),
])

function securedCases(body: string, make: Make): Case[] {
  return [
    { name: `${body}, TLS at a`, make, secure: { a: true, b: false } },
    { name: `${body}, TLS at b`, make, secure: { a: false, b: true } },
    { name: `${body}, TLS at both`, make, secure: { a: true, b: true } },
  ]
}

async function ground(t: TestContext, make: Make, secure = PLAIN): Promise<Ground> {
  const transport = make((thrown) => assert.fail(String(thrown)))
  const made = await Ground.make(transport, IP, secure)
  const ticker = setInterval(() => made.transport.tick(performance.now()), 10)
  t.after(() => {
    clearInterval(ticker)
    made.close()
  })
  return made
}

function cleaned(t: TestContext, pair: Pair): Pair {
  t.after(() => {
    for (const { socket } of [pair.a, pair.b]) socket.destroy()
    for (const channel of pair.channels) channel.reset()
  })
  return pair
}

/** Sends more than the pump takes while nobody reads at the other end, until nothing passes any more. */
async function stall(from: Peer, { heard }: Pair): Promise<void> {
  for (let i = 0; i < 24; i++) void from.send(MB)
  for (let [passed, rests] = [-1, 0]; rests < 15; rests++) {
    await sleep(10)
    const now = heard.bytes[0] + heard.bytes[1]
    if (now !== passed) rests = 0
    passed = now
  }
  assert.ok(from.socket.writableLength > 0, 'all was taken')
}

function arrived({ a, b }: Pair): boolean {
  return a.got === b.sent && b.got === a.sent
}
const state = (pair: Pair) => (): unknown =>
  [pair.a, pair.b].map(({ sent, got, ended, lost }) => ({ sent, got, ended, lost })).concat(pair.heard as never)

/** Both ends hear an end in order, nothing is lost, and every byte was counted. */
async function endsWell(pair: Pair): Promise<void> {
  const { a, b, heard } = pair
  a.socket.end()
  b.socket.end()
  await until(() => heard.end !== null && a.ended && b.ended, state(pair))
  assert.deepEqual([heard.end, a.wrongAt, b.wrongAt], ['closed', null, null])
  assert.deepEqual([a.got, b.got], [b.sent, a.sent])
  assert.deepEqual(heard.bytes, [a.sent, b.sent])
}

for (const { name: body, make, secure } of CASES) {
  const isOnNodeTls = make === nodeTransport && secure !== PLAIN
  /** Not all that node:tls holds is counted. */
  const isCounted = (held: number): boolean => held > 0 || isOnNodeTls
  const pumped = async (t: TestContext): Promise<Pair & { ground: Ground }> => {
    const on = await ground(t, make, secure)
    return { ...cleaned(t, await on.pumped()), ground: on }
  }

  test(`${body}: a pump carries both ways, whatever the sizes, and counts to the byte`, async (t) => {
    const pair = await pumped(t)
    const seed = Date.now() >>> 0
    t.diagnostic(`seed ${seed}`)
    const random = seeded(seed)
    const pour = async (peer: Peer): Promise<void> => {
      for (let i = 0; i < 120; i++) {
        await peer.send(1 + Math.floor(2 ** (random() * 18)))
        if (random() < 0.2) await sleep(random() * 3)
      }
    }
    await Promise.all([pour(pair.a), pour(pair.b)])
    await endsWell(pair)
    assert.equal(pair.ground.transport.stagedBytes, 0)
  })

  test(`${body}: small messages after much, and much after small ones`, async (t) => {
    const pair = await pumped(t)
    const pingPong = async (): Promise<void> => {
      for (let i = 0; i < 40; i++) {
        await pair.a.send(64)
        await until(() => pair.b.got === pair.a.sent, state(pair))
        await pair.b.send(64)
        await until(() => pair.a.got === pair.b.sent, state(pair))
      }
    }
    for (const peer of [pair.a, pair.b]) {
      await pingPong()
      await peer.send(8 * MB)
      await until(() => arrived(pair), state(pair))
    }
    await pingPong()
    await endsWell(pair)
  })

  for (const [first, second] of [['a', 'b'] as const, ['b', 'a'] as const]) {
    test(`${body}: when ${first} half-closes a pump, all it sent arrives ahead and the other direction goes on`, async (t) => {
      const pair = await pumped(t)
      await pair[first].send(3 * MB)
      pair[first].socket.end()
      await until(() => pair[second].ended, state(pair))
      assert.equal(pair[second].got, 3 * MB)
      await pair[second].send(2 * MB)
      await until(() => pair[first].got === 2 * MB, state(pair))
      assert.deepEqual([pair[first].ended, pair.heard.end], [false, null])
      await endsWell(pair)
    })

    test(`${body}: when ${first} resets, what it sent ahead arrives ahead of a reset`, async (t) => {
      const pair = await pumped(t)
      await pair[first].send(100_000)
      // a socket of node:tls that is lost forgets what it has not decrypted: the other end's here, not the pump
      if (secure[second]) await until(() => pair[second].got === 100_000, state(pair))
      else await sleep(20)
      pair[first].reset()
      await until(() => pair.heard.end !== null && pair[second].lost !== null, state(pair))
      assert.deepEqual([pair.heard.end, pair[second].lost], [`${first} ECONNRESET`, 'ECONNRESET'])
      assert.deepEqual([pair[second].got, pair[second].wrongAt], [100_000, null])
      assert.deepEqual(pair.heard.bytes, first === 'a' ? [100_000, 0] : [0, 100_000])
    })

    test(`${body}: a reset of ${first} behind its half-close is a reset`, async (t) => {
      const pair = await pumped(t)
      pair[first].socket.end()
      await until(() => pair[second].ended, state(pair))
      pair[first].reset()
      await sleep(20)
      await pair[second].send(10)
      await until(() => pair.heard.end !== null, state(pair))
      assert.match(pair.heard.end as string, new RegExp(`^${first} (ECONNRESET|EPIPE)$`))
    })

    test(`${body}: a reader at ${second} that stops holds back the writer, and then gets all`, async (t) => {
      const pair = await pumped(t)
      pair[second].socket.pause()
      await stall(pair[first], pair)
      const held = pair.ground.transport.stagedBytes
      const most = isOnNodeTls ? 2 * MOST_HELD : MOST_HELD // a turn of node:tls may bring more than one piece
      assert.ok(isCounted(held) && held <= most, `${held} bytes are held`)
      await pair[second].send(70_000) // the other direction is none of its
      await until(() => pair[first].got === 70_000, state(pair))
      pair[second].socket.resume()
      await endsWell(pair)
      assert.equal(pair.ground.transport.stagedBytes, 0)
    })

    // under node:tls the loss of a connection overtakes what is not decrypted yet
    if (isOnNodeTls && secure[first]) continue
    test(`${body}: what ${first} sent ahead of its reset is heard, though it could not be written to any more`, async (t) => {
      const on = await ground(t, make, secure)
      const pair = cleaned(t, await on.pair())
      await pair[first].send(50_000)
      await pair[second].send(5)
      await sleep(10)
      pair[first].reset()
      await sleep(10)
      pair.channels[0].pump(pair.channels[1], pair.heard)
      await until(() => pair.heard.end !== null && pair[second].lost !== null, state(pair))
      assert.match(pair.heard.end as string, new RegExp(`^${first} `))
      assert.deepEqual([pair[second].got, pair[second].lost], [50_000, 'ECONNRESET'])
    })
  }

  test(`${body}: what was written ahead of a pump leaves first, and a FIN that was read ahead is passed on`, async (t) => {
    const on = await ground(t, make, secure)
    const pair = cleaned(t, await on.pair())
    const [a, b] = pair.channels
    let ended = false
    a.sink = { ...a.sink, end: () => (ended = true) }
    pair.a.socket.end()
    a.resume()
    await until(() => ended, state(pair))
    const ahead = pair.a.next(6 * MB)
    b.write(ahead, 0, ahead.length, a)
    a.pump(b, pair.heard)
    await until(() => pair.b.ended, state(pair))
    assert.deepEqual([pair.b.got, pair.b.wrongAt], [6 * MB, null])
    await pair.b.send(1000)
    pair.b.socket.end()
    await until(() => pair.heard.end !== null && pair.a.ended, state(pair))
    assert.deepEqual([pair.heard.end, pair.heard.bytes, pair.a.got], ['closed', [0, 1000], 1000])
    assert.equal(on.transport.stagedBytes, 0)
  })

  test(`${body}: both ends of a pump that is stopped amid a stalled transfer are reset, and nothing stays held`, async (t) => {
    const pair = await pumped(t)
    const pipes = descriptors().pipes
    pair.b.socket.pause()
    await stall(pair.a, pair)
    for (const channel of pair.channels) channel.reset()
    pair.b.socket.resume()
    // an answer of TLS's that fails takes the error, and node:tls reads an end behind it
    const isGone = (end: 'a' | 'b'): boolean => pair[end].lost !== null || (secure[end] && pair[end].ended)
    await until(() => isGone('a') && isGone('b'), state(pair))
    assert.deepEqual([pair.heard.end, pair.ground.transport.stagedBytes], [null, 0])
    assert.ok(pair.heard.bytes[0] > 0 && pair.heard.bytes[0] < pair.a.sent, `${pair.heard.bytes[0]}`)
    // a pipe with bytes in it is not kept for others
    assert.equal(descriptors().pipes, pipes)
  })

  test(`${body}: what pumps hold counts for the pod, and who holds more than it may is given up`, async (t) => {
    const on = await ground(t, make, secure)
    const budget = new Budget(300 * 1024)
    const pairs: Pair[] = []
    for (let i = 0; i < 12; i++) pairs.push(cleaned(t, await on.pumped(budget)))
    for (const pair of pairs) {
      pair.b.socket.pause()
      for (let i = 0; i < 24; i++) void pair.a.send(MB)
    }
    const seen = (): unknown => [budget, ...pairs.map(({ heard }) => heard)]
    await until(() => pairs.some(({ heard }) => heard.end !== null), seen)
    assert.ok(pairs.every(({ heard }) => heard.end === null || heard.end === 'b BUFFER_LIMIT'))
    await sleep(50)
    assert.ok(isCounted(budget.held) && budget.held <= budget.limit + 64 * 1024, `${budget.held}`)
    for (const { channels } of pairs) for (const channel of channels) channel.reset()
    assert.equal(budget.held, 0)
  })

  test(`${body}: time is not up for a pump through which bytes pass`, async (t) => {
    const pair = await pumped(t)
    const before = pair.channels[0].activeAt
    await sleep(60)
    await pair.a.send(5)
    await until(() => pair.b.got === 5, state(pair))
    await sleep(30)
    const [activeAt, nowMs] = [Math.max(...pair.channels.map((end) => end.activeAt)), pair.ground.transport.nowMs]
    assert.ok(activeAt >= before + 40 && activeAt < nowMs, `${before} ${activeAt} ${nowMs}`)
  })
}

test('native: a direction has a pipe while much is under way, and gives it back empty', async (t) => {
  const pair = cleaned(t, await (await ground(t, BODIES['native'] as Make)).pumped())
  const before = descriptors().pipes
  pair.b.socket.pause()
  await stall(pair.a, pair)
  assert.equal(descriptors().pipes, before + 2)
  pair.b.socket.resume()
  await until(() => arrived(pair), state(pair))
  pair.a.socket.pause()
  await stall(pair.b, pair)
  assert.equal(descriptors().pipes, before + 2) // the same
  pair.a.socket.resume()
  await endsWell(pair)
})

test('native: a reset that stands behind a FIN not yet read is a reset, behind what was sent ahead of both', async (t) => {
  const on = await ground(t, BODIES['native'] as Make)
  const pair = cleaned(t, await on.pair())
  await pair.a.send(1000)
  await new Promise<void>((resolve) => pair.a.socket.end(() => resolve()))
  await sleep(10)
  pair.a.reset()
  await sleep(10)
  pair.channels[0].pump(pair.channels[1], pair.heard)
  await until(() => pair.b.lost !== null, state(pair))
  assert.deepEqual([pair.heard.end, pair.b.lost, pair.b.got], ['a EPIPE', 'ECONNRESET', 1000])
})

const { certificatePem: cert, privateKeyPem: key } = issue(ROOT, { uris: [CALLEE] })

/** A thread of its own in which one port gives bytes without end, and the other takes them. */
const FLOOD = `
const { parentPort, workerData: { host, tls } } = require('node:worker_threads')
const serve = tls === null ? require('node:net').createServer : (on) => require('node:tls').createServer(tls, on)
const chunk = Buffer.alloc(1 << 20)
const give = (socket) => { while (socket.write(chunk)); socket.once('drain', () => give(socket)) }
const servers = [give, (socket) => socket.resume()].map((act) =>
  serve((socket) => { socket.on('error', () => {}); act(socket) }).listen({ port: 0, host }))
Promise.all(servers.map((server) => new Promise((resolve) => server.once('listening', resolve))))
  .then(() => parentPort.postMessage(servers.map((server) => server.address().port)))
`

for (const [body, tls] of [
  ['native', null],
  ['native', { cert, key }],
  ['native without pipes', null],
] as const) {
  test(`${body}: flows ${tls === null ? '' : 'of TLS '}that never pause leave others, and timers, their turn`, async (t) => {
    const on = await ground(t, BODIES[body] as Make)
    const pair = cleaned(t, await on.pumped())
    const worker = new Worker(FLOOD, { eval: true, workerData: { host: IP, tls } })
    t.after(() => worker.terminate())
    const ports = (await once(worker, 'message'))[0] as [number, number]
    const end = async (port: number): Promise<Channel> => {
      const channel = await on.dial(port)
      return tls === null ? channel : (await channel.secure(asClient({ alpn: [] }))).channel
    }
    const floods: Heard[] = []
    for (let i = 0; i < 4; i++) {
      const [from, to] = await Promise.all([end(ports[0]), end(ports[1])])
      floods.push(new Heard(from))
      from.pump(to, floods[i] as Heard)
      t.after(() => [from, to].forEach((channel) => channel.reset()))
    }
    await until(
      () => floods.every(({ bytes }) => bytes[0] > 4 * MB),
      () => floods,
    )
    const before = floods.map(({ bytes }) => bytes[0])
    const began = performance.now()
    for (let i = 1; i <= 50; i++) {
      await pair.a.send(64)
      await until(() => pair.b.got === 64 * i, state(pair))
    }
    const tookMs = performance.now() - began
    t.diagnostic(
      `50 messages in ${tookMs.toFixed(0)} ms beside ${floods.map(({ bytes }, i) => Math.round((bytes[0] - (before[i] as number)) / MB)).join(', ')} MB`,
    )
    assert.ok(tookMs < 5000, `${tookMs} ms`)
    // what has passed is told at the next tick
    await until(
      () => floods.every(({ bytes }, i) => bytes[0] > (before[i] as number)),
      () => floods,
    )
    assert.ok(floods.every(({ end }) => end === null))
  })
}

test('native: where the process may open no more files, a pump copies', async (t) => {
  const pair = cleaned(t, await (await ground(t, BODIES['native'] as Make)).pumped())
  const before = descriptors().pipes
  const limits = limiter()
  t.after(() => limits.lift())
  await limits.set(8)
  pair.b.socket.pause()
  await stall(pair.a, pair)
  pair.b.socket.resume()
  await until(() => arrived(pair), state(pair))
  await limits.lift()
  assert.equal(descriptors().pipes, before)
  await endsWell(pair)
})

/** Bounds the descriptors of this process, by a program started ahead: with none left it could not be. */
function limiter(): { set: (most: number) => Promise<void>; lift: () => Promise<void> } {
  const loop = 'while read limit; do prlimit --pid $PPID --nofile=$limit: && echo done; done'
  const shell = spawn('sh', ['-c', loop], { stdio: ['pipe', 'pipe', 'inherit'] })
  const soft = /open files\s+(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] as string
  const say = async (limit: string): Promise<void> => {
    shell.stdin.write(`${limit}\n`)
    await once(shell.stdout, 'data')
  }
  return {
    set: (most) => say(String(most)),
    lift: async () => {
      if (shell.stdin.writableEnded) return
      await say(soft)
      shell.stdin.end()
    },
  }
}
