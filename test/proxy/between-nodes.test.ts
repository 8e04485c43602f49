// Two nodes of one mesh: what passes between them is the mesh's TLS, and each end knows the other by its certificate.

import assert from 'node:assert/strict'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { Duplex } from 'node:stream'
import { test, type TestContext } from 'node:test'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import { type World, world } from '../../agent/model/world.fixture.ts'
import { authority, issue } from './certificates.ts'
import { ask, drainSocket, type Mesh, mesh, type MeshOptions, readUntil } from './mesh.ts'
import { identify, type Nodes, ROOT, twoNodes } from './nodes.ts'

const FOREIGN = authority('foreign')
const WEB = { ip: '10.96.0.1', port: 80 }
const DB = { ip: '10.96.0.2', port: 3306 }
const ANY = { ip: '10.96.0.3', port: 7000 }

/** A caller on one node, and on the other the pods behind three services: HTTP, a server that speaks first, undeclared. */
function places(captured: string | null = 'weft-agent-b'): World {
  const there = { namespace: 'default', serviceAccount: 'web', captured, node: 'node-2' }
  return world()
    .service('web')
    .service('db', { ports: [{ port: 3306 }] })
    .service('any', { ports: [{ port: 7000 }] })
    .pods('caller', { serviceAccount: 'shop', captured: 'weft-agent-a' })
    .pods('web-v1', { ...there, behind: ['web', 'db', 'any'] })
}

function nodes(t: TestContext, of: World, limits: MeshOptions['limits'] = {}): Nodes {
  return twoNodes(t, of, { callers: ['caller-1'], callees: ['web-v1-1'] }, limits)
}

const GET = 'GET / HTTP/1.1\r\nhost: web\r\n\r\n'
const SHOP = 'spiffe://cluster.local/ns/default/sa/shop'
const SERVER = 'spiffe://cluster.local/ns/default/sa/web'

/** An application that tells what it was told of its caller. */
async function telling(node: Mesh): Promise<void> {
  await node.http('web-v1-1', (request, response) => {
    response.end(String(request.headers['x-forwarded-client-cert'] ?? 'nobody'))
  })
}

test('between nodes a request goes by TLS, and the application is told who calls', async (t) => {
  const { here, there } = nodes(t, places())
  await telling(there)
  const socket = await here.dial('caller-1', WEB)
  const forged = GET.replace('\r\n\r\n', '\r\nX-Forwarded-Client-Cert: URI=spiffe://forged\r\n\r\n')
  const { status, body } = await ask(socket, forged)
  assert.equal(status, 200)
  assert.match(body, new RegExp(`^By=${SERVER};Hash=[0-9a-f]{64};Subject="";URI=${SHOP}$`))
  assert.equal(here.count('weft_tls_handshakes_total', { side: 'client', kind: 'full' }), 1)
  assert.equal(there.count('weft_tls_handshakes_total', { side: 'server', kind: 'full' }), 1)
  const ends = { source_principal: SHOP, destination_principal: SERVER }
  await there.until(
    () => there.count('istio_requests_total', { ...ends, connection_security_policy: 'mutual_tls' }) === 1,
    'its record',
  )
  assert.equal(here.count('istio_requests_total', { ...ends, reporter: 'source' }), 1)
  assert.equal(there.count('weft_protocol_outcomes_total', { outcome: 'declared_http' }), 1)
  // the connection is kept, and goes on
  assert.equal((await ask(socket, GET)).body, body)
  assert.equal(here.count('weft_tls_handshakes_total'), 1)
})

test('of two connections in a row the second resumes', async (t) => {
  const { here, there } = nodes(t, places(), { pooledIdleMs: 1 })
  await telling(there)
  assert.equal((await ask(await here.dial('caller-1', WEB), GET)).status, 200)
  await new Promise((resolve) => setTimeout(resolve, 50)) // the ticket comes, and the kept connection goes
  assert.equal((await ask(await here.dial('caller-1', WEB), GET)).status, 200)
  assert.equal(there.count('weft_tls_handshakes_total', { side: 'server', kind: 'resumed' }), 1)
})

test('bytes of a server that speaks first pass, with ends as they are', async (t) => {
  const { here, there } = nodes(t, places())
  await there.tcp(
    'web-v1-1',
    (socket) => {
      socket.write('welcome\n')
      socket.on('data', (bytes) => socket.write(bytes))
      socket.on('end', () => socket.end('bye\n'))
    },
    3306,
  )
  const socket = await here.dial('caller-1', DB)
  assert.equal(await readUntil(socket, (text) => text.endsWith('\n')), 'welcome\n')
  socket.write('ping')
  assert.equal(await readUntil(socket, (text) => text.length === 4), 'ping')
  socket.end()
  assert.deepEqual(await drainSocket(socket), { bytes: Buffer.from('bye\n'), how: 'end' })
  assert.equal(there.count('weft_tls_handshakes_total', { side: 'server' }), 1)
  await there.until(
    () =>
      there.count('istio_tcp_connections_closed_total', {
        connection_security_policy: 'mutual_tls',
        source_principal: SHOP,
      }) === 1,
    'its end',
  )
})

test('the caller’s node tells the protocol: the callee’s does not sniff again', async (t) => {
  const { here, there } = nodes(t, places())
  await there.http('web-v1-1', (_, response) => response.end('found'), 7000)
  assert.equal((await ask(await here.dial('caller-1', ANY), GET)).body, 'found')
  assert.equal(here.count('weft_protocol_outcomes_total', { outcome: 'sniffed_http' }), 1)
  assert.equal(there.count('weft_protocol_outcomes_total', { outcome: 'told_http' }), 1)
})

test('whoever is not the very identity that is expected gets no byte', async (t) => {
  const of = places()
  const { here, there } = nodes(t, of)
  let heard = 0
  await there.http('web-v1-1', (_, response) => {
    heard++
    response.end()
  })
  const refused = async (why: RegExp): Promise<void> => {
    const answer = await ask(await here.dial('caller-1', WEB), GET)
    assert.equal(answer.status, 503)
    assert.match(answer.body, why)
  }
  identify(there, of, 'web-v1-1', { uris: ['spiffe://cluster.local/ns/default/sa/other'] })
  await refused(/UPSTREAM_TLS_FAILED: spiffe:.*sa\/web was expected, and spiffe:.*sa\/other answered/)
  identify(there, of, 'web-v1-1', { uris: [SERVER, 'spiffe://cluster.local/ns/default/sa/other'] })
  await refused(/was expected, and/)
  identify(there, of, 'web-v1-1', { by: FOREIGN })
  await refused(/leads to none of the roots/)
  assert.equal(heard, 0)
})

test('a caller whose certificate is none of the mesh’s is refused, with a line in the books', async (t) => {
  const of = places()
  const { here, there } = nodes(t, of)
  await telling(there)
  identify(here, of, 'caller-1', { by: FOREIGN })
  assert.equal((await ask(await here.dial('caller-1', WEB), GET)).status, 503)
  await there.until(() => there.count('weft_failures_total', { reason: 'CALLER_TLS_FAILED' }) > 0, 'the failure')
  identify(here, of, 'caller-1', { uris: ['spiffe://elsewhere/ns/default/sa/shop'] })
  assert.equal((await ask(await here.dial('caller-1', WEB), GET)).status, 503)
  await there.until(
    () => there.records.some(({ weft_message: why }) => why?.includes('no member of the mesh') === true),
    'it',
  )
})

test('where nobody says that the pod takes TLS, it is plaintext, and nobody is told who calls', async (t) => {
  const { here, there } = nodes(t, places(null))
  await telling(there)
  assert.equal((await ask(await here.dial('caller-1', WEB), GET)).body, 'nobody')
  assert.equal(there.count('weft_tls_handshakes_total'), 0)
  assert.equal(here.count('istio_requests_total', { source_principal: 'unknown' }), 0, 'its own pod is proved')
  await there.until(
    () => there.count('istio_requests_total', { connection_security_policy: 'none' }) === 1,
    'its record',
  )
})

test('without a certificate of its own the caller’s node sends nothing', async (t) => {
  const of = places()
  const there = mesh(t, of, { captured: ['web-v1-1'] })
  const here = mesh(t, of, { captured: ['caller-1'], beyond: () => there })
  await telling(there)
  const answer = await ask(await here.dial('caller-1', WEB), GET)
  assert.equal(answer.status, 503)
  assert.match(answer.body, /UPSTREAM_NOT_SECURED: there is no certificate for the caller/)
})

test('a connection that secures what is over is left for a new one, and no request is lost', async (t) => {
  const of = places()
  const { here, there } = nodes(t, of)
  await telling(there)
  const socket = await here.dial('caller-1', WEB)
  identify(here, of, 'caller-1', { notAfter: Date.now() + 1500 }) // certificates count in whole seconds
  assert.equal((await ask(socket, GET)).status, 200)
  identify(here, of, 'caller-1')
  for (let i = 0; i < 20; i++) {
    assert.equal((await ask(socket, GET)).status, 200)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.equal(there.count('weft_tls_handshakes_total'), 2)
})

test('a root that is taken away ends what leads to it, one that is added does not', async (t) => {
  const of = places()
  const other = authority('other')
  const { here, there } = nodes(t, of)
  await telling(there)
  const socket = await here.dial('caller-1', WEB)
  const both = [ROOT, other]
  const go = async (): Promise<number> => {
    assert.equal((await ask(socket, GET)).status, 200)
    await new Promise((resolve) => setTimeout(resolve, 50))
    return there.count('weft_tls_handshakes_total')
  }
  assert.equal(await go(), 1)
  for (const [node, pod] of [
    [here, 'caller-1'],
    [there, 'web-v1-1'],
  ] as const)
    identify(node, of, pod, { roots: both })
  assert.equal(await go(), 1)
  for (const [node, pod] of [
    [here, 'caller-1'],
    [there, 'web-v1-1'],
  ] as const)
    identify(node, of, pod, { roots: both, by: other })
  for (const [node, pod] of [
    [here, 'caller-1'],
    [there, 'web-v1-1'],
  ] as const)
    identify(node, of, pod, { roots: [other], by: other })
  await go()
  assert.equal(await go(), 2)
  assert.equal(there.count('weft_tls_handshakes_total', { kind: 'resumed' }), 0)
})

test('with a root its sessions are gone: one of before is not resumed, and its certificate is refused', async (t) => {
  const of = places()
  const other = authority('other')
  const { there } = nodes(t, of)
  await there.tcp('web-v1-1', (socket) => socket.on('data', (bytes) => socket.write(bytes)), 7000)
  const both = { ca: [ROOT.certificatePem, other.certificatePem] }
  const pinged = async (how: ConnectionOptions): Promise<{ resumed: boolean; session: Buffer | null }> => {
    const tls = secured(await there.reach('web-v1-1', 7000), { ...both, ...how })
    let session: Buffer | null = null // that of before gives no other
    tls.on('session', (given: Buffer) => (session = given))
    await once(tls, 'secureConnect')
    tls.write('ping')
    await once(tls, 'data')
    const resumed = tls.isSessionReused()
    tls.destroy()
    return { resumed, session }
  }
  const { certificatePem: cert, privateKeyPem: key } = issue(ROOT, { uris: [SHOP] })
  const by = async (session: Buffer | null): Promise<boolean> =>
    (await pinged({ cert, key, ...(session && { session }) })).resumed
  const { session: first } = await pinged({ cert, key })
  assert.deepEqual([first !== null, await by(first), await by(first)], [true, true, true])
  // an overlap changes what is believed, and so begins anew too
  identify(there, of, 'web-v1-1', { roots: [other, ROOT], by: other })
  assert.equal(await by(first), false)
  const { session: second } = await pinged({ cert, key })
  assert.deepEqual([second !== null, await by(second)], [true, true])
  identify(there, of, 'web-v1-1', { roots: [other], by: other })
  for (const session of [null, first, second]) await assert.rejects(by(session), /alert|ECONNRESET|socket/i)
  await there.until(() => there.count('weft_failures_total', { reason: 'CALLER_TLS_FAILED' }) === 3, 'the refusals')
  const { certificatePem, privateKeyPem } = issue(other, { uris: [SHOP] })
  const renewed = { cert: certificatePem, key: privateKeyPem }
  assert.equal((await pinged({ ...renewed, ...(second && { session: second }) })).resumed, false, 'nor with a good one')
  assert.equal(there.count('weft_tls_handshakes_total', { side: 'server', kind: 'resumed' }), 3)
})

test('identities of a trust domain that the mesh had before are members, those of no other are', async (t) => {
  const of = places()
    .peerAuthentication({ mode: 'STRICT' })
    .settings({ trustDomainAliases: ['old.example'] })
  const { here, there } = nodes(t, of)
  await telling(there)
  const before = SHOP.replace('cluster.local', 'old.example')
  identify(here, of, 'caller-1', { uris: [before] })
  const { status, body } = await ask(await here.dial('caller-1', WEB), GET)
  assert.deepEqual([status, body.endsWith(`URI=${before}`)], [200, true], body)
  identify(there, of, 'web-v1-1', { uris: [SERVER.replace('cluster.local', 'old.example')] })
  assert.equal((await ask(await here.dial('caller-1', WEB), GET)).status, 200)
  of.settings({ trustDomainAliases: ['old.example', 'older.example'] })
  for (const node of [here, there]) node.apply()
  assert.equal((await ask(await here.dial('caller-1', WEB), GET)).status, 200)
  assert.equal(there.count('weft_tls_handshakes_total', { side: 'server' }), 1, 'a connection is kept')
  of.settings({ trustDomainAliases: ['older.example'] })
  for (const node of [here, there]) node.apply()
  assert.equal((await ask(await here.dial('caller-1', WEB), GET)).status, 503, 'what is kept proves nobody any more')
})

/** Whatever begins like TLS that is not the mesh's own is the application's. */
test('an application’s own TLS passes untouched, to an unproven caller as within the mesh', async (t) => {
  const of = places()
  const { there } = nodes(t, of)
  const seen: Buffer[] = []
  await there.tcp('web-v1-1', (socket) => socket.on('data', (bytes: Buffer) => seen.push(bytes)), 7000)
  const socket = await there.reach('web-v1-1', 7000)
  connectTls({ socket, ALPNProtocols: ['h2'], rejectUnauthorized: false }).on('error', () => {})
  await there.until(() => seen.length > 0, 'the hello at the application')
  assert.equal(Buffer.concat(seen)[0], 22)
  socket.destroy()
})

test('a ClientHello of the mesh that comes late still counts, until a byte was passed on', async (t) => {
  const of = places()
  const { there } = nodes(t, of, { sniffMs: 20 })
  await there.tcp('web-v1-1', (socket) => socket.on('data', (bytes) => socket.write(bytes)), 7000)
  const socket = await there.reach('web-v1-1', 7000)
  await new Promise((resolve) => setTimeout(resolve, 80))
  const tls = secured(socket)
  await once(tls, 'secureConnect')
  tls.write('ping')
  const [answer] = (await once(tls, 'data')) as [Buffer]
  assert.equal(answer.toString(), 'ping')
  tls.destroy()
  await there.until(
    () => there.count('istio_tcp_connections_closed_total', { source_principal: SHOP }) === 1,
    'its end',
  )
})

test('a ClientHello split at every byte is put together', async (t) => {
  const { there } = nodes(t, places())
  await there.tcp('web-v1-1', (socket) => socket.on('data', (bytes) => socket.write(bytes)), 7000)
  const socket = await there.reach('web-v1-1', 7000)
  socket.setNoDelay(true)
  let pieces = 0
  const byByte = new Duplex({
    read: () => {},
    write: (bytes: Buffer, _encoding, done) => {
      void (async () => {
        for (const byte of bytes) {
          pieces++
          socket.write(Buffer.of(byte))
          await new Promise((resolve) => setImmediate(resolve))
        }
        done()
      })()
    },
  })
  socket.on('data', (bytes) => byByte.push(bytes))
  const tls = secured(byByte)
  await once(tls, 'secureConnect')
  assert.ok(pieces > 200, `${pieces} pieces`)
  tls.write('ping')
  assert.equal(String(((await once(tls, 'data')) as [Buffer])[0]), 'ping')
  tls.destroy()
})

function secured(socket: Duplex, how: ConnectionOptions = {}): ReturnType<typeof connectTls> {
  const { certificatePem: cert, privateKeyPem: key } = issue(ROOT, { uris: [SHOP] })
  const checkServerIdentity = (): undefined => undefined
  const own = { ca: ROOT.certificatePem, cert, key, checkServerIdentity }
  return connectTls({ socket, ALPNProtocols: ['weft-tcp/1'], ...own, ...how })
}

test('two pods of one account on one node never share a connection', async (t) => {
  const of = places().pods('second', { serviceAccount: 'shop', captured: 'weft-agent-a', behind: [] })
  const there = mesh(t, of, { captured: ['web-v1-1'] })
  const here = mesh(t, of, { captured: ['caller-1', 'second-1'], beyond: () => there })
  identify(here, of, 'caller-1')
  identify(there, of, 'web-v1-1')
  await telling(there)
  for (const pod of ['caller-1', 'second-1', 'caller-1', 'second-1']) {
    assert.equal((await ask(await here.dial(pod, WEB), GET)).status, 200)
  }
  assert.equal(there.count('weft_proxy_connections_total'), 2)
  assert.equal(there.count('weft_tls_handshakes_total'), 2)
})

test('who knows the mesh’s protocol and roots, but has no key of a member, opens nothing', async (t) => {
  const { there } = nodes(t, places().peerAuthentication({ mode: 'STRICT' }))
  let heard = 0
  await there.tcp('web-v1-1', () => heard++, 7000)
  const checkServerIdentity = (): undefined => undefined
  const [outsider, member] = [issue(FOREIGN, { uris: [SHOP] }), issue(ROOT, { uris: [SHOP] })]
  const copied = { cert: member.certificatePem, key: withoutKey(member.certificatePem) }
  for (const shown of [{}, { cert: outsider.certificatePem, key: outsider.privateKeyPem }, copied]) {
    const socket = await there.reach('web-v1-1', 7000)
    const tls = connectTls({
      ...shown,
      socket,
      ALPNProtocols: ['weft-tcp/1'],
      ca: ROOT.certificatePem,
      checkServerIdentity,
    })
    tls.on('error', () => {})
    tls.write('bytes')
  }
  await there.until(() => there.count('weft_failures_total', { reason: 'CALLER_TLS_FAILED' }) === 3, 'the refusals')
  assert.equal(heard, 0)
  // with its key the copied one would have been taken
  const own = secured(await there.reach('web-v1-1', 7000))
  await once(own, 'secureConnect')
  own.write('bytes')
  await there.until(() => heard === 1, 'who has the key')
  own.destroy()
})

/**
 * A private key that OpenSSL takes for that of a copied certificate: the certificate's own point behind another secret, in
 * PKCS #8 of P-256, where the point stands last. What it signs is wrong.
 */
function withoutKey(certificatePem: string): string {
  const POINT_BYTES = 65
  const point = new X509Certificate(certificatePem).publicKey
    .export({ type: 'spki', format: 'der' })
    .subarray(-POINT_BYTES)
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'der' })
  const forged = Buffer.concat([other.subarray(0, -POINT_BYTES), point])
  return `-----BEGIN PRIVATE KEY-----\n${forged.toString('base64')}\n-----END PRIVATE KEY-----\n`
}

// --- what is taken, and what is not

/** Under STRICT at all ports of the pods called. */
function strict(captured: string | null = 'weft-agent-b'): World {
  return places(captured).peerAuthentication({ mode: 'STRICT' })
}

test('under STRICT plaintext gets no byte to the application, and a line in the books', async (t) => {
  const { here, there } = nodes(t, strict())
  let heard = 0
  await there.tcp('web-v1-1', () => heard++, 7000)
  await telling(there)
  for (const port of [8080, 7000]) {
    const socket = await there.reach('web-v1-1', port)
    socket.write(GET)
    assert.equal((await drainSocket(socket)).how, 'reset')
  }
  assert.equal(heard, 0)
  const refused = there.records.filter(({ weft_reason: reason }) => reason === 'PLAINTEXT_REFUSED')
  assert.equal(refused.length, 2)
  assert.match(refused[0]?.weft_message ?? '', /^127[0-9.]+ sent plaintext, and TLS is demanded \(STRICT\)$/)
  assert.equal((await ask(await here.dial('caller-1', WEB), GET)).status, 200) // by TLS it goes on
})

test('under STRICT a caller that says nothing, or half a ClientHello, is waited for, but not for ever', async (t) => {
  const { there } = nodes(t, strict(), { helloMs: 200 })
  let heard = 0
  await there.tcp('web-v1-1', () => heard++, 7000)
  for (const said of [null, Buffer.of(22, 3, 1, 2, 0, 1, 0, 1, 252)]) {
    const socket = await there.reach('web-v1-1', 7000)
    if (said !== null) socket.write(said)
    assert.equal((await drainSocket(socket)).how, 'reset')
  }
  assert.equal(heard, 0)
  assert.equal(there.count('weft_failures_total', { step: 'authenticate', reason: 'CALLER_TLS_FAILED' }), 2)
  assert.deepEqual(
    [...there.plane.node.pods.values()].map(({ budget }) => budget.held),
    [0],
  )
})

test('a pod under STRICT that nobody says is captured is refused before a byte leaves', async (t) => {
  const { here, there } = nodes(t, strict(null))
  let heard = 0
  const server = await there.tcp('web-v1-1', () => heard++, 7000)
  server.on('connection', () => heard++)
  const answer = await ask(await here.dial('caller-1', WEB), GET)
  assert.equal(answer.status, 503)
  assert.match(answer.body, /UPSTREAM_NOT_SECURED: pod default\/web-v1-1 is under STRICT, and no agent says/)
  const socket = await here.dial('caller-1', ANY)
  socket.write('bytes')
  assert.equal((await drainSocket(socket)).how, 'reset')
  assert.equal(heard, 0)
  assert.equal(there.count('weft_proxy_connections_total'), 0)
})

test('what was open in plaintext ends as STRICT comes, and what came by TLS goes on', async (t) => {
  const of = places()
  const { here, there } = nodes(t, of)
  await telling(there)
  await there.tcp('web-v1-1', (socket) => socket.on('data', (bytes) => socket.write(bytes)), 7000)
  const [flow, idle] = [await there.reach('web-v1-1', 7000), await there.reach('web-v1-1')]
  flow.write('ping')
  assert.equal(await readUntil(flow, (text) => text.length === 4), 'ping')
  assert.equal((await ask(idle, GET)).status, 200)
  const kept = await here.dial('caller-1', WEB)
  assert.equal((await ask(kept, GET)).status, 200)
  of.peerAuthentication({ mode: 'STRICT' })
  there.apply()
  here.apply()
  assert.equal((await drainSocket(flow)).how, 'reset')
  assert.equal((await drainSocket(idle)).how, 'end')
  assert.equal((await ask(kept, GET)).status, 200)
  await there.until(() => there.count('weft_failures_total', { reason: 'PLAINTEXT_REFUSED' }) === 1, 'the flow’s line')
})

test('under DISABLE nothing is secured, but the mesh’s TLS is understood all the same', async (t) => {
  const { here, there } = nodes(t, places().peerAuthentication({ mode: 'DISABLE' }))
  await telling(there)
  assert.equal((await ask(await here.dial('caller-1', WEB), GET)).body, 'nobody')
  await there.tcp('web-v1-1', (socket) => socket.on('data', (bytes) => socket.write(bytes)), 7000)
  const tls = secured(await there.reach('web-v1-1', 7000))
  await once(tls, 'secureConnect')
  tls.write('ping')
  assert.equal(String(((await once(tls, 'data')) as [Buffer])[0]), 'ping')
  tls.destroy()
})

for (const [what, first] of [
  ['that has begun and is not settled', 'G'],
  ['that has said nothing', ''],
] as const) {
  test(`STRICT comes into force amid a plaintext connection ${what}: no byte of it reaches the application`, async (t) => {
    const of = places()
    const { there } = nodes(t, of, { sniffMs: 60 })
    const seen: Buffer[] = []
    await there.tcp('web-v1-1', (socket) => socket.on('data', (bytes: Buffer) => seen.push(bytes)), 7000)
    const socket = await there.reach('web-v1-1', 7000)
    if (first !== '') socket.write(first)
    await new Promise((resolve) => setTimeout(resolve, first === '' ? 120 : 20))
    of.peerAuthentication({ mode: 'STRICT' })
    there.apply()
    socket.write('delete everything')
    assert.equal((await drainSocket(socket)).how, 'reset')
    assert.deepEqual(seen, [])
    await there.until(() => there.count('weft_failures_total', { reason: 'PLAINTEXT_REFUSED' }) === 1, 'its line')
  })
}

test('endpoints that may not be had in plaintext are passed over, and are no tries', async (t) => {
  const of = places()
  for (let i = 2; i <= 6; i++) of.pods(`web-v${i}`, { serviceAccount: 'web', captured: null, node: 'node-2' })
  of.peerAuthentication({ mode: 'STRICT' })
  const { here, there } = nodes(t, of)
  await telling(there)
  for (let i = 0; i < 30; i++) assert.equal((await ask(await here.dial('caller-1', WEB), GET)).status, 200)
})

test('a pod that leaves a mesh under STRICT is called in plaintext, and answers', async (t) => {
  const leaving = { serviceAccount: 'web', captured: null, joined: false, node: 'node-2' }
  const of = world()
    .service('web')
    .pods('caller', { serviceAccount: 'shop', captured: 'weft-agent-a' })
    .pods('web-v1', leaving)
  const { here, there } = nodes(t, of.peerAuthentication({ mode: 'STRICT' }))
  await telling(there)
  assert.equal((await ask(await here.dial('caller-1', WEB), GET)).body, 'nobody')
})

test('strangers who knock keep no pod from calling', async (t) => {
  const { here, there } = nodes(t, places(), { podHandshakes: 2 })
  await telling(there)
  const callers = await Promise.all([1, 2, 3, 4].map(() => here.reach('caller-1', 7000)))
  const hello = await helloOf()
  for (const socket of callers) socket.write(hello)
  await here.until(() => here.count('weft_failures_total', { reason: 'SOCKET_LIMIT' }) === 2, 'the bound')
  assert.equal((await ask(await here.dial('caller-1', WEB), GET)).status, 200)
})

/** A ClientHello of the mesh, and nothing behind it. */
async function helloOf(): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer>()
  const end = new Duplex({ read: () => {}, write: (bytes: Buffer, _encoding, done) => (resolve(bytes), done()) })
  secured(end).on('error', () => {})
  return promise
}
