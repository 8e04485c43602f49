// Every way in which a handshake can come to nothing: refused with its reason, and nothing else disturbed.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { inspect } from 'node:util'
import type { Channel, Transport } from '../../agent/proxy/transport/transport.ts'
import { authority, issue } from './certificates.ts'
import {
  asClient,
  asServer,
  CALLEE,
  CALLER,
  channels,
  channelsApart,
  credentials,
  FOREIGN,
  handshake,
  PAIRS,
  reasonOf,
  ROOT,
  soon,
  transport,
  until,
  withSocket,
  write,
} from './secured.ts'

const HOUR = 3600_000

/** A connection on the same transports, which must not notice. */
async function bystander(t: TestContext, near: Transport, far: Transport): Promise<() => Promise<void>> {
  const { server, client } = await handshake(await channels(t, near, far))
  server.channel.resume()
  return async () => {
    write(client.channel, 'undisturbed')
    await until(() => server.heard.length > 0, 'bytes of another connection')
    assert.deepEqual(server.heard, ['undisturbed'])
  }
}

for (const { server: serverBody, client: clientBody, name } of PAIRS) {
  const refused: readonly {
    readonly what: string
    readonly server?: object
    readonly client?: object
    /** What the side that judges says. */
    readonly serverSays?: string
    readonly clientSays?: string
  }[] = [
    {
      what: 'a caller’s certificate that has expired',
      client: { credentials: credentials(CALLER, {}, { notBefore: Date.now() - HOUR, notAfter: Date.now() - 5000 }) },
      serverSays: 'CALLER_TLS_FAILED expired',
    },
    {
      what: 'a caller’s certificate that is not valid yet',
      client: { credentials: credentials(CALLER, {}, { notBefore: Date.now() + HOUR }) },
      serverSays: 'CALLER_TLS_FAILED not-yet-valid',
    },
    {
      what: 'a caller’s certificate of a foreign authority',
      client: { credentials: credentials(CALLER, issue(FOREIGN, { uris: [CALLER] })) },
      serverSays: 'CALLER_TLS_FAILED untrusted',
    },
    {
      what: 'a caller’s certificate that is a server’s alone',
      client: { credentials: credentials(CALLER, {}, { usages: ['server'] }) },
      serverSays: 'CALLER_TLS_FAILED untrusted',
    },
    {
      what: 'a caller without a certificate',
      client: { credentials: credentials(CALLER, { certificatePem: null, privateKeyPem: null }) },
      serverSays: 'CALLER_TLS_FAILED no-certificate',
    },
    {
      what: 'a callee’s certificate that has expired',
      server: { credentials: credentials(CALLEE, {}, { notBefore: Date.now() - HOUR, notAfter: Date.now() - 5000 }) },
      clientSays: 'UPSTREAM_TLS_FAILED expired',
    },
    {
      what: 'a callee’s certificate of a foreign authority',
      server: { credentials: credentials(CALLEE, issue(FOREIGN, { uris: [CALLEE] })) },
      clientSays: 'UPSTREAM_TLS_FAILED untrusted',
    },
    {
      what: 'a callee’s certificate that is a client’s alone',
      server: { credentials: credentials(CALLEE, {}, { usages: ['client'] }) },
      clientSays: 'UPSTREAM_TLS_FAILED untrusted',
    },
    {
      what: 'a protocol that only one side speaks',
      client: { alpn: ['h2'] },
      serverSays: 'CALLER_TLS_FAILED no-protocol',
      clientSays: 'UPSTREAM_TLS_FAILED alert',
    },
  ]
  for (const { what, server, client, serverSays, clientSays } of refused) {
    test(`${name}: ${what} is refused with that reason`, async (t) => {
      const [near, far] = [transport(serverBody), transport(clientBody)]
      const other = await bystander(t, near, far)
      const [here, there] = await channels(t, near, far)
      const said = await Promise.all([
        reasonOf(here.secure(asServer(server))),
        reasonOf(there.secure(asClient(client))),
      ])
      if (serverSays !== undefined) assert.deepEqual([said[0], here.dead], [serverSays, true])
      if (clientSays !== undefined) assert.deepEqual([said[1], there.dead], [clientSays, true])
      await other()
    })
  }

  test(`${name}: a caller that is refused after its own part learns it as a loss, whomever it believes`, async (t) => {
    for (const rootsPem of [ROOT.certificatePem, null]) {
      const [here, there] = await channels(t, transport(serverBody), transport(clientBody))
      const foreign = credentials(CALLER, { ...issue(FOREIGN, { uris: [CALLER] }), rootsPem })
      const refusal = reasonOf(here.secure(asServer()))
      const { channel } = await there.secure(asClient({ credentials: foreign }))
      const lost = new Promise<NodeJS.ErrnoException>((resolve) => {
        channel.sink = { ...channel.sink, lost: resolve }
      })
      channel.resume()
      assert.equal(await refusal, 'CALLER_TLS_FAILED untrusted')
      // node:tls ends without a word, and a reset may overtake one
      assert.match((await lost).code ?? '', /^TLS_ALERT$|^TLS_TRUNCATED$|^ECONNRESET$/)
    }
  })

  test(`${name}: whoever asks for no certificate gets none, and takes an anonymous caller`, async (t) => {
    const anonymous = credentials(CALLER, { certificatePem: null, privateKeyPem: null })
    const { server, client } = await handshake(
      await channels(t, transport(serverBody), transport(clientBody)),
      { mutual: false },
      { credentials: anonymous },
    )
    assert.deepEqual([server.secured.peer, client.secured.peer?.uris], [null, [CALLEE]])
  })

  test(`${name}: a callee of any authority is taken by a client without roots, and its names are told`, async (t) => {
    const foreign = credentials(CALLEE, issue(FOREIGN, { uris: [CALLEE, 'urn:second'], dnsNames: ['a.example', 'b'] }))
    const { client } = await handshake(
      await channels(t, transport(serverBody), transport(clientBody)),
      { credentials: foreign, mutual: false },
      { credentials: credentials(CALLER, { rootsPem: null }) },
    )
    assert.equal(client.secured.peer, null)
    assert.deepEqual(client.secured.unverified?.uris, [CALLEE, 'urn:second'])
    assert.deepEqual(client.secured.unverified?.dnsNames, ['a.example', 'b'])
  })

  test(`${name}: roots may overlap, and an intermediate authority’s certificates lead to a root by their chain`, async (t) => {
    const middle = authority('middle', FOREIGN)
    const own = issue(middle, { uris: [CALLER] })
    const chain = { ...own, certificatePem: own.certificatePem + middle.certificatePem }
    const both = `${ROOT.certificatePem}${FOREIGN.certificatePem}`
    const { server } = await handshake(
      await channels(t, transport(serverBody), transport(clientBody)),
      { credentials: credentials(CALLEE, { rootsPem: both }) },
      { credentials: credentials(CALLER, chain) },
    )
    assert.deepEqual(server.secured.peer?.uris, [CALLER])
    assert.ok(server.secured.peer?.chainPem.includes(middle.certificatePem.trim()))
  })

  test(`${name}: TLS 1.2 is taken only where it is asked for`, async (t) => {
    const [near, far] = [transport(serverBody), transport(clientBody)]
    const old = { minVersion: 'TLSv1.2' } as const
    const { server } = await handshake(
      await channels(t, near, far),
      { credentials: credentials(CALLEE, old) },
      { credentials: credentials(CALLER, old) },
    )
    assert.equal(server.secured.version, 'TLSv1.3')
  })

  for (const side of ['server', 'client'] as const) {
    const secure = (channel: Channel, how: object = {}): Promise<string> =>
      reasonOf(channel.secure(side === 'server' ? asServer(how) : asClient(how)))
    const code = side === 'server' ? 'CALLER_TLS_FAILED' : 'UPSTREAM_TLS_FAILED'
    if ((side === 'server' ? clientBody : serverBody) === 'node') continue // the other end is none of ours
    const body = side === 'server' ? serverBody : clientBody
    const alone = async (t: TestContext): Promise<[Channel, Socket, () => Promise<void>]> => {
      const near = transport(body)
      const other = await bystander(t, near, near)
      return [...(await withSocket(t, near)), other]
    }

    test(`${body}, as ${side}: what is no TLS is refused`, async (t) => {
      for (const garbage of ['GET / HTTP/1.1\r\nHost: a\r\n\r\n', '\x16\x03\x01\x00\x05hello', '\0'.repeat(5000)]) {
        const [channel, peer, other] = await alone(t)
        const said = secure(channel)
        peer.write(garbage, 'latin1')
        peer.resume()
        assert.equal(await said, `${code} protocol`)
        await other()
      }
    })

    test(`${body}, as ${side}: a handshake that is cut short says how`, async (t) => {
      const [ended, endedPeer] = await alone(t)
      const truncated = secure(ended)
      endedPeer.end(Buffer.from([22, 3, 3, 0]))
      endedPeer.resume()
      assert.equal(await truncated, `${code} truncated`)
      const [broken, brokenPeer, other] = await alone(t)
      const reset = secure(broken)
      await soon(10)
      brokenPeer.resetAndDestroy()
      assert.equal(await reset, `${code} ECONNRESET`)
      await other()
    })

    test(`${body}, as ${side}: a peer that has ended before is not waited for`, async (t) => {
      const [channel, peer] = await alone(t)
      peer.end()
      const ended = new Promise<void>((resolve) => {
        channel.sink = { ...channel.sink, end: resolve }
      })
      channel.resume()
      await ended
      assert.equal(await secure(channel), `${code} truncated`)
    })

    test(`${body}, as ${side}: silence is waited for only so long`, async (t) => {
      const [channel, peer, other] = await alone(t)
      peer.resume()
      const begun = Date.now()
      assert.equal(await secure(channel, { timeoutMs: 80 }), `${code} timeout`)
      assert.ok(Date.now() - begun < 2000)
      assert.equal(channel.dead, true)
      await other()
    })

    test(`${body}, as ${side}: its owner may give it up amid the handshake`, async (t) => {
      for (const how of ['reset', 'close'] as const) {
        const [channel, peer, other] = await alone(t)
        peer.resume()
        const said = secure(channel)
        await soon(10)
        channel[how]()
        assert.equal(await said, `${code} given-up`)
        await other()
      }
    })

    test(`${body}, as ${side}: a handshake without end is bounded`, async (t) => {
      const [channel, peer, other] = await alone(t)
      const said = secure(channel)
      // records of a message that announces 16 MB
      const first = Buffer.concat([Buffer.from([22, 3, 3, 0x3f, 0, side === 'server' ? 1 : 2, 0xff, 0xff, 0xff])])
      peer.write(Buffer.concat([first, Buffer.alloc(0x3f00 - 4)]))
      const record = Buffer.concat([Buffer.from([22, 3, 3, 0x3f, 0]), Buffer.alloc(0x3f00)])
      for (let i = 0; i < 40; i++) peer.write(record)
      peer.resume()
      assert.match(await said, new RegExp(`^${code} (excess|protocol)$`))
      await other()
    })
  }

  test(`${name}: credentials that OpenSSL refuses cost their own connection alone`, async (t) => {
    const [near, far] = [transport(serverBody), transport(clientBody)]
    const other = await bystander(t, near, far)
    const [here, there] = await channels(t, near, far)
    const weak = credentials(CALLEE, {}, { rsaBits: 1024 })
    const said = Promise.all([
      reasonOf(here.secure(asServer({ credentials: weak }))),
      reasonOf(there.secure(asClient())),
    ])
    assert.equal((await said)[0], 'CALLER_TLS_FAILED credentials')
    await other()
  })

  test(`${name}: what is secured is not secured once more`, async (t) => {
    const { server } = await handshake(await channels(t, transport(serverBody), transport(clientBody)))
    assert.equal(await reasonOf(server.channel.secure(asServer())), 'CALLER_TLS_FAILED given-up')
    assert.equal(server.channel.dead, true)
  })

  test(`${name}: a handshake of which a part is lost is a failure on both sides`, async (t) => {
    const { pair, toServer, toClient } = await channelsApart(t, transport(serverBody), transport(clientBody))
    const said = Promise.all([reasonOf(pair[0].secure(asServer())), reasonOf(pair[1].secure(asClient()))])
    toClient.on('data', (chunk: Buffer) => toServer.write(chunk))
    toServer.once('data', (chunk: Buffer) => {
      toClient.end(chunk.subarray(0, 100))
      toServer.end()
      toServer.resume()
    })
    assert.deepEqual(await said, ['CALLER_TLS_FAILED truncated', 'UPSTREAM_TLS_FAILED truncated'])
  })
}

test('credentials that are printed show no secret', () => {
  const own = credentials(CALLER, { ticketSecret: Buffer.alloc(32, 0xab) })
  const printed = inspect(own, { depth: null, showHidden: true }) + JSON.stringify(own)
  assert.match(printed, /BEGIN CERTIFICATE/)
  assert.doesNotMatch(printed, /PRIVATE KEY|ab ab ab|171,171/)
})

test('credentials that cannot be used say so at once', () => {
  const [one, other] = [issue(ROOT), issue(ROOT)]
  assert.throws(() => credentials(CALLER, { ...one, privateKeyPem: other.privateKeyPem }), /not the certificate’s/)
  assert.throws(() => credentials(CALLER, { certificatePem: 'no PEM' }))
  assert.throws(() => credentials(CALLER, { rootsPem: 'no PEM' }))
})

test('native: who has given up by the time of its turn costs no handshake', async (t) => {
  const { pair, toServer, toClient } = await channelsApart(t, transport('native'), transport('native'))
  const [server, client] = pair
  void reasonOf(client.secure(asClient()))
  const [hello] = (await once(toClient, 'data')) as [Buffer]
  let answered = 0
  toServer.on('data', (bytes: Buffer) => (answered += bytes.length))
  toServer.end(hello)
  await soon()
  assert.equal(await reasonOf(server.secure(asServer())), 'CALLER_TLS_FAILED truncated')
  await soon()
  assert.equal(answered, 0)
})
