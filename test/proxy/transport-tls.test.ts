// What every body of Transport promises of TLS, shown on both, and between the two.

import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { drainSocket } from './mesh.ts'
import { readClientHello } from '../../agent/proxy/transport/client-hello.ts'
import type { Channel } from '../../agent/proxy/transport/transport.ts'
import {
  asClient,
  asServer,
  CALLEE,
  CALLER,
  callee,
  channels,
  channelsApart,
  credentials,
  FOREIGN,
  handshake,
  listenTo,
  PAIRS,
  pour,
  ROOT,
  soon,
  transport,
  until,
  withSocket,
  write,
} from './secured.ts'

for (const { server: serverBody, client: clientBody, name } of PAIRS) {
  const pair = (t: TestContext, thrown?: unknown[]): Promise<[Channel, Channel]> =>
    channels(t, transport(serverBody, thrown), transport(clientBody))
  const secured = async (t: TestContext, serverHow?: object, clientHow?: object) =>
    handshake(await pair(t), serverHow, clientHow)

  test(`${name}: both ends are told who the other is, and nothing is read until they are resumed`, async (t) => {
    const { server, client } = await secured(t, {}, { serverName: 'callee.example' })
    assert.deepEqual(server.secured.peer?.uris, [CALLER])
    assert.deepEqual(client.secured.peer?.uris, [CALLEE])
    assert.equal(client.secured.peer?.chainPem.startsWith(callee.certificatePem as string), true)
    assert.match(client.secured.peer?.sha256 ?? '', /^[0-9a-f]{64}$/)
    assert.deepEqual([server.secured.alpn, client.secured.alpn], ['weft-tcp/1', 'weft-tcp/1'])
    assert.deepEqual([server.secured.version, client.secured.version], ['TLSv1.3', 'TLSv1.3'])
    assert.deepEqual([server.secured.resumed, server.secured.serverName], [false, 'callee.example'])
    write(client.channel, 'early')
    await soon()
    assert.deepEqual(server.heard, [])
    server.channel.resume()
    client.channel.resume()
    await until(() => server.heard.length > 0, 'bytes')
    write(server.channel, 'answer')
    await until(() => client.heard.length > 0, 'an answer')
    server.channel.hold()
    write(client.channel, 'later')
    await soon()
    assert.deepEqual([server.heard, client.heard], [['early'], ['answer']])
  })

  test(`${name}: much passes both ways at once, whole`, async (t) => {
    const size = 6 << 20
    const { server, client } = await secured(t)
    const arrived = new Map<Channel, number>()
    const wrong: number[] = []
    for (const [end, factor] of [
      [server, 31],
      [client, 17],
    ] as const) {
      end.channel.sink.bytes = (arena, from, to) => {
        let at = arrived.get(end.channel) ?? 0
        for (let i = from; i < to; i++, at++) if (arena[i] !== ((at * factor) & 0xff)) wrong.push(at)
        arrived.set(end.channel, at)
      }
      end.channel.resume()
    }
    pour(client, size, (i) => (i * 31) & 0xff)
    pour(server, size, (i) => (i * 17) & 0xff)
    await until(() => server.heard.includes('(closed)') && client.heard.includes('(closed)'), 'both ends')
    assert.deepEqual([wrong.length, arrived.get(server.channel), arrived.get(client.channel)], [0, size, size])
  })

  test(`${name}: a source is not read while its destination has a backlog, and is again once that is gone`, async (t) => {
    const near = transport(clientBody)
    const into = await handshake(await channels(t, transport(serverBody), near))
    const from = await handshake(await channels(t, near, transport(serverBody)))
    const source = from.server
    const size = 24 << 20
    source.channel.sink.bytes = (arena, at, to) => into.client.channel.write(arena, at, to, source.channel)
    source.channel.sink.end = () => into.client.channel.shutdown()
    let arrived = 0
    into.server.channel.sink.bytes = (_arena, at, to) => void (arrived += to - at)
    source.channel.resume()
    pour(from.client, size, () => 7)
    let movedMs = performance.now()
    // sockets that grow under a busy machine take a little more now and then
    const rests = (): boolean => {
      if (!into.client.channel.blocked || !source.channel.still) movedMs = performance.now()
      return performance.now() - movedMs > 300
    }
    await until(rests, 'a backlog, and a source that is left alone')
    const most = 1 << 20
    assert.ok(into.client.channel.backlog <= most, `${into.client.channel.backlog} bytes wait`)
    into.server.channel.resume()
    await until(() => into.server.heard.includes('(end)'), 'the end')
    assert.equal(arrived, size)
  })

  test(`${name}: either side may end first, and the other goes on`, async (t) => {
    for (const first of ['client', 'server'] as const) {
      const ends = await secured(t)
      const [one, other] = first === 'client' ? [ends.client, ends.server] : [ends.server, ends.client]
      one.channel.resume()
      other.channel.resume()
      write(one.channel, 'last')
      one.channel.shutdown()
      await until(() => other.heard.includes('(end)'), 'the end')
      await soon(20)
      write(other.channel, 'more')
      other.channel.shutdown()
      await until(() => one.heard.includes('(closed)') && other.heard.includes('(closed)'), 'both ends')
      assert.deepEqual(
        [one.heard, other.heard],
        [
          ['more', '(end)', '(closed)'],
          ['last', '(end)', '(closed)'],
        ],
      )
      assert.deepEqual([one.channel.dead, other.channel.dead], [true, true])
    }
  })

  test(`${name}: an end behind bytes that nobody has read yet is an end all the same`, async (t) => {
    const { server, client } = await secured(t)
    write(client.channel, 'x'.repeat(300_000))
    client.channel.shutdown()
    await soon(60)
    server.channel.resume()
    await until(() => server.heard.includes('(end)'), 'the end')
    assert.equal(server.heard.join('').length, 300_000 + '(end)'.length)
  })

  test(`${name}: a closed channel still delivers what was written, and an orderly end`, async (t) => {
    const { server, client } = await secured(t)
    const size = 4 << 20
    let arrived = 0
    client.channel.sink.bytes = (_arena, from, to) => void (arrived += to - from)
    server.channel.write(Buffer.alloc(size), 0, size, null)
    server.channel.close()
    client.channel.resume()
    await until(() => client.heard.length > 0, 'the end')
    assert.deepEqual([arrived, client.heard], [size, ['(end)']])
  })

  test(`${name}: a reset is a reset, behind what came before it`, async (t) => {
    const { server, client } = await secured(t)
    server.channel.resume()
    write(client.channel, 'x')
    await until(() => server.heard.length > 0, 'bytes')
    client.channel.reset()
    await until(() => server.channel.dead, 'the loss')
    assert.deepEqual(server.heard, ['x', '(lost ECONNRESET)'])
  })

  test(`${name}: FIN without TLS’s own word of the end is a loss`, async (t) => {
    const { pair, toServer, toClient } = await channelsApart(t, transport(serverBody), transport(clientBody))
    toServer.on('data', (chunk) => toClient.write(chunk))
    toClient.on('data', (chunk) => toServer.write(chunk))
    const { server, client } = await handshake(pair)
    server.channel.resume()
    client.channel.resume()
    write(client.channel, 'half of it')
    await until(() => server.heard.length > 0, 'bytes')
    toServer.end()
    toClient.end()
    await until(() => server.channel.dead && client.channel.dead, 'losses')
    assert.deepEqual(server.heard, ['half of it', '(lost TLS_TRUNCATED)'])
    assert.deepEqual(client.heard, ['(lost TLS_TRUNCATED)'])
  })

  test(`${name}: a record that was changed on its way is a loss`, async (t) => {
    const { pair, toServer, toClient } = await channelsApart(t, transport(serverBody), transport(clientBody))
    let isChanging = false
    toServer.on('data', (chunk) => toClient.write(chunk))
    toClient.on('data', (chunk: Buffer) => {
      if (isChanging) chunk[chunk.length - 1] = (chunk[chunk.length - 1] as number) ^ 1
      toServer.write(chunk)
    })
    const { server, client } = await handshake(pair)
    server.channel.resume()
    client.channel.resume()
    await soon()
    isChanging = true
    write(client.channel, 'secret')
    await until(() => server.channel.dead && client.channel.dead, 'losses')
    assert.deepEqual([server.heard, client.heard], [['(lost TLS_PROTOCOL)'], ['(lost TLS_ALERT)']])
  })

  test(`${name}: a handshake and what follows may come byte by byte`, async (t) => {
    const { pair, toServer, toClient } = await channelsApart(t, transport(serverBody), transport(clientBody))
    const trickle = (from: typeof toServer, to: typeof toServer): void => {
      const queue: Buffer[] = []
      from.on('data', (chunk: Buffer) => queue.push(chunk))
      const timer = setInterval(() => {
        for (let i = 0; i < 40 && queue.length > 0; i++) {
          const chunk = queue[0] as Buffer
          to.write(chunk.subarray(0, 1))
          if (chunk.length === 1) queue.shift()
          else queue[0] = chunk.subarray(1)
        }
      }, 1)
      t.after(() => clearInterval(timer))
    }
    trickle(toServer, toClient)
    trickle(toClient, toServer)
    const { server, client } = await handshake(pair)
    server.channel.resume()
    client.channel.resume()
    write(client.channel, 'one by one')
    await until(() => server.heard.join('') === 'one by one', 'bytes')
  })

  test(`${name}: bytes that were read before are the handshake’s first`, async (t) => {
    const [server, client] = await pair(t)
    const securing = client.secure(asClient({ alpn: ['weft-http/1'], serverName: 'callee.example' }))
    const got: Buffer[] = []
    const hello = await new Promise((resolve) => {
      server.sink.bytes = (arena, from, to) => {
        got.push(Buffer.from(arena.subarray(from, to)))
        const said = readClientHello(Buffer.concat(got))
        if (said === 'partial') return
        server.hold()
        resolve(said)
      }
      server.resume()
    })
    assert.deepEqual(hello, { alpn: ['weft-http/1'], serverName: 'callee.example' })
    const here = await server.secure(asServer({ ahead: Buffer.concat(got) }))
    const there = listenTo(await securing)
    there.channel.resume()
    assert.equal(here.alpn, 'weft-http/1')
    write(here.channel, 'hello')
    await until(() => there.heard.length > 0, 'bytes')
  })

  test(`${name}: bytes told of in the event that secures a channel are its handshake’s`, async (t) => {
    const [server, client] = await pair(t)
    const securing = client.secure(asClient())
    const here = await new Promise<Awaited<ReturnType<Channel['secure']>>>((resolve, reject) => {
      server.sink.bytes = (arena, from, to) => {
        server.secure(asServer({ ahead: arena.subarray(from, to) })).then(resolve, reject)
        arena.fill(0, from, to)
      }
      server.resume()
    })
    assert.deepEqual([here.alpn, (await securing).alpn], ['weft-tcp/1', 'weft-tcp/1'])
  })

  test(`${name}: what was written before is plain`, async (t) => {
    const [server, client] = await pair(t)
    write(client, 'STARTTLS')
    const securing = client.secure(asClient())
    const rest = await new Promise<Buffer>((resolve) => {
      server.sink.bytes = (arena, from, to) => {
        server.hold()
        assert.equal(arena.toString('latin1', from, from + 8), 'STARTTLS')
        resolve(Buffer.from(arena.subarray(from + 8, to)))
      }
      server.resume()
    })
    const here = await server.secure(asServer({ ahead: rest }))
    assert.equal(here.alpn, (await securing).alpn)
  })

  test(`${name}: many handshakes at once come to their end`, async (t) => {
    const [near, far] = [transport(serverBody), transport(clientBody)]
    const pairs = await Promise.all(Array.from({ length: 100 }, () => channels(t, near, far)))
    const ends = await Promise.all(pairs.map((each) => handshake(each)))
    for (const { server, client } of ends) {
      server.channel.resume()
      write(client.channel, 'x')
    }
    await until(() => ends.every(({ server }) => server.heard.length > 0), 'bytes of each')
  })

  test(`${name}: what a sink throws costs its own connection alone`, async (t) => {
    const thrown: unknown[] = []
    const near = transport(serverBody, thrown)
    const bad = await handshake(await channels(t, near, transport(clientBody)))
    const good = await handshake(await channels(t, near, transport(clientBody)))
    bad.server.channel.sink.bytes = () => {
      throw new Error('a bug')
    }
    for (const { server, client } of [bad, good]) {
      server.channel.resume()
      client.channel.resume()
    }
    write(bad.client.channel, 'x')
    write(good.client.channel, 'y')
    await until(() => bad.client.channel.dead && good.server.heard.length > 0, 'both')
    assert.deepEqual([bad.server.heard, bad.client.heard], [['(lost undefined)'], ['(lost ECONNRESET)']])
    assert.deepEqual([good.server.heard, thrown.length], [['y'], 1])
  })

  test(`${name}: a secured channel is pumped like a plain one, both into the other`, async (t) => {
    const near = transport(serverBody)
    const secured = await handshake(await channels(t, near, transport(clientBody)))
    const [plain, socket] = await withSocket(t, near)
    const size = 2 << 20
    let passed = 0
    const how = new Promise<string>((resolve) => {
      const sink = {
        passed: (_from: Channel, bytes: number) => void (passed += bytes),
        closed: () => resolve('closed'),
        lost: (_side: Channel, cause: Error) => resolve(String(cause)),
      }
      if (clientBody === 'native') plain.pump(secured.server.channel, sink)
      else secured.server.channel.pump(plain, sink)
    })
    const received = drainSocket(socket)
    socket.end(Buffer.alloc(size, 5))
    let back = 0
    secured.client.channel.sink.bytes = (_arena, from, to) => void (back += to - from)
    secured.client.channel.resume()
    pour(secured.client, size, () => 6)
    assert.equal((await received).bytes.length, size)
    assert.equal(await how, 'closed')
    await until(() => secured.client.heard.includes('(closed)'), 'both ends')
    assert.deepEqual([back, passed], [size, 2 * size])
  })

  test(`${name}: keys are changed on the way without a trace`, async (t) => {
    const rekeyBytes = 50_000
    const size = 3 << 20
    const { server, client } = await secured(
      t,
      { credentials: credentials(CALLEE, { rekeyBytes }) },
      { credentials: credentials(CALLER, { rekeyBytes }) },
    )
    let wrong = 0
    const arrived = [0, 0]
    for (const [i, { channel }] of [server, client].entries()) {
      channel.sink.bytes = (arena, from, to) => {
        for (let at = from; at < to; at++) if (arena[at] !== ((arrived[i] as number)++ & 0xff)) wrong++
      }
      channel.resume()
    }
    pour(server, size, (i) => i & 0xff)
    pour(client, size, (i) => i & 0xff)
    await until(() => server.heard.includes('(closed)') && client.heard.includes('(closed)'), 'both ends')
    assert.deepEqual([wrong, arrived], [0, [size, size]])
  })

  test(`${name}: other credentials are for new connections; the open ones live on`, async (t) => {
    const [near, far] = [transport(serverBody), transport(clientBody)]
    const old = await handshake(await channels(t, near, far))
    const renewed = credentials(CALLEE)
    const fresh = await handshake(await channels(t, near, far), { credentials: renewed })
    assert.notEqual(fresh.client.secured.peer?.serial, old.client.secured.peer?.serial)
    assert.equal(fresh.client.secured.peer?.chainPem.startsWith(renewed.certificatePem as string), true)
    old.server.channel.resume()
    write(old.client.channel, 'still here')
    await until(() => old.server.heard.length > 0, 'bytes')
  })

  test(`${name}: a session is resumed under its name, and not by another’s keys, roots or identity`, async (t) => {
    const [near, far] = [transport(serverBody), transport(clientBody)]
    const ticketSecret = Buffer.alloc(32, 1)
    const caller = credentials(CALLER)
    const resumed = async (serverCredentials: object, session: string | null, how: object = {}): Promise<boolean> => {
      const ends = await handshake(
        await channels(t, near, far),
        { credentials: serverCredentials },
        { credentials: caller, session, ...how },
      )
      const { server, client } = ends
      assert.deepEqual([server.secured.peer?.uris, client.secured.peer?.uris], [[CALLER], [CALLEE]])
      assert.equal(server.secured.resumed, client.secured.resumed)
      client.channel.resume()
      server.channel.resume()
      write(server.channel, 'x') // behind the ticket
      await until(() => client.heard.length > 0, 'bytes')
      return client.secured.resumed
    }
    const first = credentials(CALLEE, { ticketSecret })
    assert.equal(await resumed(first, CALLEE), false)
    for (let i = 0; i < 3; i++) assert.equal(await resumed(first, CALLEE), true, `attempt ${i}`)
    assert.equal(await resumed(first, 'another name'), false)
    assert.equal(await resumed(first, null), false)
    const renewed = credentials(CALLEE, { ticketSecret })
    assert.equal(await resumed(renewed, CALLEE), true) // the same identity, roots and secret: another worker's too
    assert.equal(await resumed(credentials(CALLEE, { ticketSecret: Buffer.alloc(32, 2) }), CALLEE), false)
    assert.equal(await resumed(credentials(CALLEE, { ticketSecret: Buffer.alloc(32, 2) }), CALLEE), true)
    const rootsPem = `${ROOT.certificatePem}${FOREIGN.certificatePem}`
    const otherRoots = credentials(CALLEE, { ticketSecret: Buffer.alloc(32, 2), rootsPem })
    assert.equal(await resumed(otherRoots, CALLEE), false)
    assert.equal(await resumed(credentials(CALLEE), CALLEE), false)
  })

  test(`${name}: no session outlives what was said, nor either certificate`, async (t) => {
    const [near, far] = [transport(serverBody), transport(clientBody)]
    await soon(1000 - (Date.now() % 1000)) // sessions and certificates count in whole seconds
    const soonOver = { notAfter: (Math.floor(Date.now() / 1000) + 2) * 1000 }
    const connect = async (server: object, client: object): Promise<boolean> => {
      const ends = await handshake(
        await channels(t, near, far),
        { credentials: server },
        { credentials: client, session: CALLEE },
      )
      ends.client.channel.resume()
      write(ends.server.channel, 'x')
      await until(() => ends.client.heard.length > 0, 'bytes')
      return ends.server.secured.resumed
    }
    const ticketSecret = Buffer.alloc(32, 3)
    const brief = credentials(CALLEE, { ticketSecret, ticketSeconds: 2 })
    const lasting = credentials(CALLEE, { ticketSecret })
    const ending = credentials(CALLEE, { ticketSecret }, soonOver)
    // as its client would have it: that of a session resumed is the session's own
    const briefly = credentials(CALLER, { ticketSeconds: 2 })
    const callers = [briefly, credentials(CALLER), credentials(CALLER)] as const
    const [one, two, three] = callers
    assert.deepEqual(
      [await connect(brief, one), await connect(lasting, two), await connect(ending, three)],
      [false, false, false],
    )
    assert.equal(await connect(lasting, two), true)
    await soon(1100)
    assert.equal(await connect(brief, one), true) // and no time anew
    await soon(1300)
    assert.equal(await connect(brief, one), false)
    assert.equal(await connect(lasting, two), true)
    assert.equal(await connect(credentials(CALLEE, { ticketSecret }), three), false)
  })
}
