// TLS with others: ends that the mesh did not make, of either version, and one that wants more than it takes.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test, type TestContext } from 'node:test'
import { connect, createSecureContext, type SecureVersion, TLSSocket } from 'node:tls'
import type { Channel } from '../../agent/proxy/transport/transport.ts'
import type { NativeTransport } from '../../agent/proxy/transport/transport-native.ts'
import { issue } from './certificates.ts'
import {
  asClient,
  asServer,
  BODIES,
  CALLEE,
  CALLER,
  channels,
  credentials,
  handshake,
  listenTo,
  reasonOf,
  ROOT,
  transport,
  until,
  withSocket,
  write,
} from './secured.ts'

const { certificatePem: cert, privateKeyPem: key } = issue(ROOT, {
  uris: ['urn:outside'],
  dnsNames: ['outside.example'],
})
const outside = (maxVersion: SecureVersion) =>
  createSecureContext({ cert, key, ca: ROOT.certificatePem, minVersion: 'TLSv1.2', maxVersion })

/** Speaks, hears, ends first or last. */
async function converse(channel: Channel, peer: TLSSocket, heard: string[]): Promise<void> {
  channel.resume()
  peer.write('from outside')
  await until(() => heard.length > 0, 'bytes')
  const answer = once(peer, 'data')
  write(channel, 'from the mesh')
  assert.equal(String(((await answer) as [Buffer])[0]), 'from the mesh')
  const ended = once(peer, 'end')
  peer.resume()
  channel.shutdown()
  await ended
  peer.end('last words')
  await until(() => heard.includes('(closed)'), 'the end')
  assert.deepEqual(heard, ['from outside', 'last words', '(end)', '(closed)'])
}

for (const body of BODIES) {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const old = { minVersion: 'TLSv1.2' } as const

    test(`${body}: a server of ${version} is spoken with`, async (t) => {
      const [channel, socket] = await withSocket(t, transport(body))
      const peer = new TLSSocket(socket, { isServer: true, secureContext: outside(version), ALPNProtocols: ['a', 'b'] })
      const how = asClient({ credentials: credentials(CALLER, old), alpn: ['b'], serverName: 'outside.example' })
      const secured = listenTo(await channel.secure(how))
      assert.deepEqual([secured.secured.version, secured.secured.alpn], [version, 'b'])
      assert.deepEqual(secured.secured.peer?.dnsNames, ['outside.example'])
      await converse(secured.channel, peer, secured.heard)
    })

    test(`${body}: a client of ${version} is spoken with`, async (t) => {
      const [channel, socket] = await withSocket(t, transport(body))
      const peer = connect({ socket, secureContext: outside(version), rejectUnauthorized: false })
      const how = asServer({ credentials: credentials(CALLEE, old), alpn: [] })
      const secured = listenTo(await channel.secure(how))
      assert.deepEqual([secured.secured.version, secured.secured.alpn], [version, null])
      assert.deepEqual(secured.secured.peer?.uris, ['urn:outside'])
      await converse(secured.channel, peer, secured.heard)
    })
  }

  test(`${body}: between meshes nothing older than TLS 1.3 is spoken`, async (t) => {
    const [client, toServer] = await withSocket(t, transport(body))
    const server = new TLSSocket(toServer, { isServer: true, secureContext: outside('TLSv1.2') })
    server.on('error', () => {})
    server.on('_tlsError', () => toServer.destroySoon())
    assert.match(await reasonOf(client.secure(asClient())), /^UPSTREAM_TLS_FAILED (alert|protocol)$/)
    const [channel, toClient] = await withSocket(t, transport(body))
    connect({ socket: toClient, secureContext: outside('TLSv1.2') }).on('error', () => {})
    assert.equal(await reasonOf(channel.secure(asServer())), 'CALLER_TLS_FAILED protocol')
  })

  test(`${body}: a session of TLS 1.2 is resumed too`, async (t) => {
    const old = { minVersion: 'TLSv1.2', ticketSecret: Buffer.alloc(32, 9) } as const
    const own = { server: credentials(CALLEE, old), near: transport(body) }
    const session = async (known?: Buffer): Promise<{ session: Buffer; resumed: boolean }> => {
      const [channel, socket] = await withSocket(t, own.near)
      const peer = connect({ socket, secureContext: outside('TLSv1.2'), rejectUnauthorized: false, session: known })
      peer.on('error', () => {})
      const given = once(peer, 'secureConnect')
      const secured = await channel.secure(asServer({ credentials: own.server, alpn: [] }))
      await given
      assert.deepEqual(secured.peer?.uris, ['urn:outside'])
      assert.equal(peer.isSessionReused(), secured.resumed)
      return { session: peer.getSession() as Buffer, resumed: secured.resumed }
    }
    const first = await session()
    assert.equal(first.resumed, false)
    assert.equal((await session(first.session)).resumed, true)
  })
}

/** Has the server read and answer `updates` requests for new keys, while the client reads nothing of it. */
async function keyUpdates(t: TestContext, updates: number): Promise<string[]> {
  const far = transport('native') as NativeTransport
  const greedy = credentials(CALLER, { rekeyBytes: 0 })
  const { server, client } = await handshake(await channels(t, transport('native'), far), {}, { credentials: greedy })
  server.channel.sink.bytes = () => {}
  server.channel.resume()
  for (let sent = 0; sent < updates && !server.channel.dead; sent++) {
    write(client.channel, 'x')
    far.flush()
    if (sent % 500 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  await until(() => server.channel.dead || client.channel.backlog === 0, 'all read')
  return server.heard
}

test('native: a peer that wants new keys again and again, and takes no answer, is given up', async (t) => {
  assert.deepEqual(await keyUpdates(t, 1000), [])
  assert.deepEqual((await keyUpdates(t, 1_000_000)).at(-1), '(lost TLS_EXCESS)')
})
