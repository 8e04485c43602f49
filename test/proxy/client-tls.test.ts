// TLS that DestinationRules ask for: what the caller's node says to the server, whom it takes, and what it never does in
// plaintext instead.

import assert from 'node:assert/strict'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo, Server } from 'node:net'
import { test, type TestContext } from 'node:test'
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls'
import { materialOf, type OwnTls } from '../../agent/model/client-tls.ts'
import { identityOf } from '../../agent/model/identity.ts'
import { DEFAULT_MESH_SETTINGS } from '../../agent/model/mesh-settings.ts'
import type { ClientTls } from '../../agent/model/traffic-policy.ts'
import { type DestinationRuleWish, hostOf, type World, world } from '../../agent/model/world.fixture.ts'
import { clientTls } from '../../agent/model/traffic-policy.fixture.ts'
import type { Trust } from '../../agent/proxy/plane/materials.ts'
import { type Authority, authority, type Issued, issue } from './certificates.ts'
import { ask, drainSocket, type Mesh, mesh, readUntil } from './mesh.ts'

const ROOT = authority('root')
const FOREIGN = authority('foreign')
const EXT = hostOf('ext')
const WEB = { ip: '10.96.0.1', port: 80 }
const DB = { ip: '10.96.0.2', port: 3306 }
const GET = 'GET / HTTP/1.1\r\nhost: ext\r\n\r\n'

const own = (mode: OwnTls['mode'] = 'SIMPLE', wish: Partial<ClientTls> = {}): OwnTls => ({
  ...clientTls(mode, { caCertificates: '/ca.pem', ...wish }),
  mode,
})

/** A caller, and a server that is not of the mesh behind two ports: HTTP, and undeclared but known to speak first. */
function outside(...rules: readonly Omit<DestinationRuleWish, 'host'>[]): World {
  const places = world()
    .service('ext')
    .service('db', { ports: [{ port: 3306 }] })
    .pods('caller', { serviceAccount: 'shop', captured: 'weft-agent-a' })
    .pods('server', { joined: false, behind: ['ext', 'db'] })
  for (const rule of rules) for (const host of ['ext', 'db']) places.destinationRule({ host, ...rule })
  return places
}

const by = (tls: ClientTls): Omit<DestinationRuleWish, 'host'> => ({ policy: { tls } })
const started = (t: TestContext, places: World): Mesh => mesh(t, places, { captured: ['caller-1'] })

interface Given {
  readonly trust?: Trust
  readonly shown?: Issued
}

const trusting = (...roots: readonly Authority[]): Trust => {
  return { kind: 'given', rootsPem: roots.map(({ certificatePem }) => certificatePem).join('') }
}

/** Tells a node what a rule's TLS is made of. */
function equip(node: Mesh, tls: OwnTls, { trust = trusting(ROOT), shown }: Given = {}): void {
  const { certificatePem = null, privateKeyPem = null } = shown ?? {}
  node.plane.equip({ name: materialOf(tls), certificatePem, privateKeyPem, trust })
  assert.deepEqual(node.faults, [])
}

async function listen(t: TestContext, server: Server, host: string, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  t.after(() => server.close())
  return (server.address() as AddressInfo).port
}

interface Heard {
  readonly serverNames: (string | false)[]
  readonly alpn: (string | false | null)[]
  /** Names of clients' certificates. */
  readonly clients: string[]
  handshakes: number
}

/** An HTTPS application; what it heard of its callers. */
async function https(
  t: TestContext,
  node: Mesh,
  issued: Issued,
  { pod = 'server-1', ...more }: TlsOptions & { pod?: string } = {},
): Promise<Heard> {
  const heard: Heard = { serverNames: [], alpn: [], clients: [], handshakes: 0 }
  const server = createHttpsServer(
    { cert: issued.certificatePem, key: issued.privateKeyPem, ...more, keepAliveTimeout: 30_000 },
    (_, response) => response.end('secret'),
  )
  server.on('secureConnection', (socket: TLSSocket) => {
    heard.handshakes++
    heard.serverNames.push((socket as unknown as { servername: string | false }).servername)
    heard.alpn.push(socket.alpnProtocol)
    const own = socket.getPeerX509Certificate()
    if (own !== undefined) heard.clients.push(own.subjectAltName ?? '')
  })
  server.on('tlsClientError', () => undefined)
  await listen(t, server, node.addressOf(pod), 8080)
  t.after(() => server.closeAllConnections())
  return heard
}

const EXT_CERTIFICATE = issue(ROOT, { dnsNames: [EXT] })

async function refused(node: Mesh, why: RegExp): Promise<void> {
  const answer = await ask(await node.dial('caller-1', WEB), GET)
  assert.equal(answer.status, 503)
  assert.match(answer.body, why)
}

test('SIMPLE: a request goes on by TLS, the server is asked for by its host, and the connection is kept', async (t) => {
  const tls = own()
  const node = started(t, outside(by(tls)))
  equip(node, tls)
  const heard = await https(t, node, EXT_CERTIFICATE, { ALPNProtocols: ['h2', 'http/1.1'] })
  const socket = await node.dial('caller-1', WEB)
  for (let i = 0; i < 3; i++) {
    const { status, body } = await ask(socket, GET)
    assert.deepEqual([status, body], [200, 'secret'])
  }
  assert.deepEqual(heard, { serverNames: [EXT], alpn: ['http/1.1'], clients: [], handshakes: 1 })
  assert.equal(node.count('weft_tls_handshakes_total', { side: 'originated', kind: 'full' }), 1)
  assert.equal(node.count('istio_requests_total', { response_code: '200', destination_principal: 'unknown' }), 3)
})

test('TLS 1.2 is enough for a server outside', async (t) => {
  const tls = own()
  const node = started(t, outside(by(tls)))
  equip(node, tls)
  await https(t, node, EXT_CERTIFICATE, { maxVersion: 'TLSv1.2' })
  assert.equal((await ask(await node.dial('caller-1', WEB), GET)).status, 200)
})

test('bytes of a server that speaks first come by TLS, with their end', async (t) => {
  const tls = own('SIMPLE', { sni: 'db.example' })
  const node = started(t, outside(by(tls)))
  equip(node, tls)
  const { certificatePem: cert, privateKeyPem: key } = issue(ROOT, { dnsNames: ['db.example'] })
  const names: unknown[] = []
  const server = createServer({ cert, key, allowHalfOpen: true }, (socket) => {
    names.push((socket as unknown as { servername: unknown }).servername, socket.alpnProtocol)
    socket.write('welcome\n')
    socket.on('data', (bytes) => socket.write(bytes))
    socket.on('end', () => socket.end('bye\n'))
    socket.on('error', () => undefined)
  })
  await listen(t, server, node.addressOf('server-1'), 3306)
  const socket = await node.dial('caller-1', DB)
  assert.equal(await readUntil(socket, (text) => text.endsWith('\n')), 'welcome\n')
  socket.write('ping')
  assert.equal(await readUntil(socket, (text) => text.length === 4), 'ping')
  socket.end()
  assert.deepEqual(await drainSocket(socket), { bytes: Buffer.from('bye\n'), how: 'end' })
  assert.deepEqual(names, ['db.example', false])
})

test('a server whose chain leads to no root of the rule’s gets no byte', async (t) => {
  const tls = own()
  const node = started(t, outside(by(tls)))
  equip(node, tls, { trust: trusting(FOREIGN) })
  const heard = await https(t, node, EXT_CERTIFICATE)
  await refused(node, /^UPSTREAM_TLS_FAILED: no TLS: .*leads to none of the roots/)
  assert.equal(node.records.at(-1)?.response_flags, 'UF,URX')
  equip(node, tls, { trust: { kind: 'public' } })
  await refused(node, /leads to none of the roots/)
  equip(node, tls)
  assert.equal((await ask(await node.dial('caller-1', WEB), GET)).status, 200)
  assert.equal(heard.serverNames.at(-1), EXT)
})

test('a server whose certificate is for another name gets no byte, unless the rule names that one', async (t) => {
  const [plain, named] = [own(), own('SIMPLE', { subjectAltNames: ['third.example', 'other.example'] })]
  const places = outside({ policy: { tls: plain }, subsets: [{ name: 'v1', policy: { tls: named } }] })
  const node = started(t, places)
  equip(node, plain) // the names are no part of it: both go by this
  const heard = await https(t, node, issue(ROOT, { dnsNames: ['other.example'] }))
  const expected = `the certificate is for other.example, and none of these was expected: ${EXT}`
  await refused(node, new RegExp(`^UPSTREAM_TLS_FAILED: ${expected}`))
  const destination = { host: EXT, subset: 'v1', port: null, weight: 1, headers: null }
  places.virtualService({ hosts: ['ext'], http: [{ destinations: [destination] }] })
  node.apply()
  assert.equal((await ask(await node.dial('caller-1', WEB), GET)).body, 'secret')
  assert.deepEqual(new Set(heard.serverNames), new Set([EXT]))
})

test('insecureSkipVerify takes any server, and says whom it asks for', async (t) => {
  const tls = own('SIMPLE', { insecureSkipVerify: true, sni: 'api.example' })
  const node = started(t, outside(by(tls)))
  equip(node, tls, { trust: { kind: 'anyone' } })
  const heard = await https(t, node, issue(FOREIGN, { dnsNames: ['nobody.example'], notAfter: Date.now() - 1000 }))
  assert.equal((await ask(await node.dial('caller-1', WEB), GET)).status, 200)
  assert.deepEqual(heard.serverNames, ['api.example'])
})

const MUTUAL = { requestCert: true, rejectUnauthorized: true, ca: ROOT.certificatePem }
const client = (uri: string, from: Authority = ROOT): Issued => issue(from, { uris: [uri], usages: ['client'] })

test('MUTUAL: the server sees the rule’s certificate, and refuses another', async (t) => {
  const tls = own('MUTUAL', { clientCertificate: '/c.pem', privateKey: '/k.pem' })
  const node = started(t, outside(by(tls)))
  equip(node, tls, { shown: client('urn:client:1') })
  const heard = await https(t, node, EXT_CERTIFICATE, MUTUAL)
  assert.equal((await ask(await node.dial('caller-1', WEB), GET)).status, 200)
  assert.deepEqual(heard.clients, ['URI:urn:client:1'])
  const stranger = started(t, outside(by(tls)))
  equip(stranger, tls, { shown: client('urn:client:1', FOREIGN) })
  const answer = await ask(await stranger.dial('caller-1', WEB), GET)
  assert.equal(answer.status, 503)
})

test('a certificate that is replaced is shown by the next connection; roots that go end what they stood for', async (t) => {
  const tls = own('MUTUAL', { credentialName: 'ext-tls', caCertificates: '' })
  const node = started(t, outside(by(tls)))
  const heard = await https(t, node, EXT_CERTIFICATE, MUTUAL)
  const socket = await node.dial('caller-1', WEB)
  const go = async (): Promise<number> => (await ask(socket, GET)).status
  equip(node, tls, { shown: client('urn:client:1') })
  assert.equal(await go(), 200)
  equip(node, tls, { shown: client('urn:client:2') })
  assert.equal(await go(), 200)
  assert.deepEqual(heard.clients, ['URI:urn:client:1'], 'what is kept goes on')
  equip(node, tls, { shown: client('urn:client:2'), trust: trusting(FOREIGN, ROOT) })
  assert.equal(await go(), 200)
  assert.equal(heard.handshakes, 1, 'a root more is no reason to leave')
  equip(node, tls, { shown: client('urn:client:3'), trust: trusting(ROOT) })
  assert.equal(await go(), 200)
  assert.deepEqual(heard.clients, ['URI:urn:client:1', 'URI:urn:client:3'])
  equip(node, tls, { shown: client('urn:client:3'), trust: trusting(FOREIGN) })
  assert.equal(await go(), 503)
  assert.equal(heard.handshakes, 2)
})

test('without its Secret nothing is dialled, and the reason is told; what was kept is not used either', async (t) => {
  const tls = own('SIMPLE', { credentialName: 'ext-ca', caCertificates: '' })
  const node = started(t, outside(by(tls)))
  const heard = await https(t, node, EXT_CERTIFICATE)
  await refused(node, /^UPSTREAM_TLS_FAILED: .*has not been read yet/)
  equip(node, tls)
  const socket = await node.dial('caller-1', WEB)
  assert.equal((await ask(socket, GET)).status, 200)
  node.plane.equip({ name: materialOf(tls), failure: 'credentialName "ext-ca": there is no Secret default/ext-ca' })
  await refused(node, /^UPSTREAM_TLS_FAILED: credentialName "ext-ca": there is no Secret default\/ext-ca/)
  assert.equal((await ask(socket, GET)).status, 503)
  const flow = await node.dial('caller-1', DB)
  flow.write('bytes')
  assert.equal((await drainSocket(flow)).how, 'reset')
  assert.equal(heard.handshakes, 1)
  node.plane.node.materials.forget(materialOf(tls))
  await refused(node, /has not been read yet/)
})

test('what cannot be used is told, and what was there before stays', async (t) => {
  const tls = own()
  const node = started(t, outside(by(tls)))
  equip(node, tls)
  await https(t, node, EXT_CERTIFICATE)
  const material = { name: materialOf(tls), certificatePem: null, privateKeyPem: null }
  node.plane.equip({ ...material, trust: { kind: 'given', rootsPem: 'no roots' } })
  assert.equal(node.faults.length, 1)
  assert.equal((await ask(await node.dial('caller-1', WEB), GET)).status, 200)
})

test('connections by two rules are two, whoever asks', async (t) => {
  const [one, other] = [own('SIMPLE', { sni: 'one.example' }), own('SIMPLE', { sni: 'other.example' })]
  const places = outside({
    policy: { tls: one },
    subsets: [{ name: 'v1', policy: { tls: other } }],
  }).virtualService({
    hosts: ['ext'],
    http: [
      {
        matches: [],
        destinations: [
          { host: EXT, subset: null, port: null, weight: 1, headers: null },
          { host: EXT, subset: 'v1', port: null, weight: 1, headers: null },
        ],
      },
    ],
  })
  const node = started(t, places)
  for (const tls of [one, other]) equip(node, tls)
  const heard = await https(t, node, issue(ROOT, { dnsNames: ['one.example', 'other.example'] }))
  const socket = await node.dial('caller-1', WEB)
  for (let i = 0; i < 12; i++) assert.equal((await ask(socket, GET)).status, 200)
  assert.deepEqual(heard.serverNames.toSorted(), ['one.example', 'other.example'])
})

test('a rule that comes while a plain connection is kept is not served by it', async (t) => {
  const tls = own()
  const places = outside()
  const node = started(t, places)
  equip(node, tls)
  let plain = 0
  const server = await node.http('server-1', (_, response) => {
    plain++
    response.end('plain')
  })
  const socket = await node.dial('caller-1', WEB)
  assert.equal((await ask(socket, GET)).body, 'plain')
  places.destinationRule({ host: 'ext', ...by(tls) })
  node.apply()
  assert.equal((await ask(socket, GET)).status, 503)
  assert.equal(plain, 1)
  assert.ok(server.listening)
})

test('ISTIO_MUTUAL towards what is not of the mesh is refused before a byte leaves', async (t) => {
  const node = started(t, outside(by(clientTls('ISTIO_MUTUAL'))))
  let heard = 0
  const server = await node.tcp('server-1', () => heard++)
  server.on('connection', () => heard++)
  await refused(
    node,
    /^UPSTREAM_NOT_SECURED: DestinationRule default\/dr-1 asks for ISTIO_MUTUAL, and no agent says that pod default\/server-1/,
  )
  const flow = await node.dial('caller-1', DB)
  flow.write('bytes')
  assert.equal((await drainSocket(flow)).how, 'reset')
  assert.equal(heard, 0)
})

// --- towards pods of the mesh

/** A caller on one node and a pod on another, behind a port that declares HTTP and one that declares nothing. */
function members(tls: ClientTls): World {
  const there = { serviceAccount: 'web', captured: 'weft-agent-b', node: 'node-2' }
  return world()
    .service('ext')
    .service('any', { ports: [{ port: 3306, targetPort: 8443 }] })
    .pods('caller', { serviceAccount: 'shop', captured: 'weft-agent-a' })
    .pods('web', { ...there, behind: ['ext', 'any'] })
    .destinationRule({ host: 'ext', policy: { tls } })
    .destinationRule({ host: 'any', policy: { tls } })
}

function nodes(t: TestContext, places: World): { here: Mesh; there: Mesh } {
  const there = mesh(t, places, { captured: ['web-1'] })
  const here = mesh(t, places, { captured: ['caller-1'], beyond: () => there })
  for (const [node, pod] of [
    [here, 'caller-1'],
    [there, 'web-1'],
  ] as const) {
    const uri = identityOf(places.pod(pod), DEFAULT_MESH_SETTINGS) ?? ''
    const rootsPem = ROOT.certificatePem
    node.plane.identify({ uri, ...issue(ROOT, { uris: [uri] }), rootsPem, ticketSecret: new Uint8Array(32) })
  }
  return { here, there }
}

test('DISABLE towards a captured pod is plaintext, and under STRICT it is refused', async (t) => {
  const places = members(clientTls('DISABLE'))
  const { here, there } = nodes(t, places)
  await there.http('web-1', (request, response) => response.end(String(request.headers['x-forwarded-client-cert'])))
  assert.equal((await ask(await here.dial('caller-1', WEB), GET)).body, 'undefined')
  assert.equal(there.count('weft_tls_handshakes_total'), 0)
  await there.tcp('web-1', (socket) => socket.on('data', (bytes) => socket.write(bytes)), 8443)
  const flow = await here.dial('caller-1', DB)
  flow.write('ping')
  assert.equal(await readUntil(flow, (text) => text.length === 4), 'ping')
  places.peerAuthentication({ mode: 'STRICT' })
  here.apply() // the callee's node does not know yet
  assert.equal((await drainSocket(flow)).how, 'reset')
  await refused(here, /^UPSTREAM_NOT_SECURED: .* asks for DISABLE, and pod default\/web-1 is under STRICT/)
})

test('ISTIO_MUTUAL towards a captured pod is the mesh’s TLS, also where it takes plaintext alone', async (t) => {
  const places = members(clientTls('ISTIO_MUTUAL')).peerAuthentication({ mode: 'DISABLE' })
  const { here, there } = nodes(t, places)
  await there.http('web-1', (request, response) => response.end(String(request.headers['x-forwarded-client-cert'])))
  assert.match((await ask(await here.dial('caller-1', WEB), GET)).body, /sa\/shop$/)
  assert.equal(there.count('weft_tls_handshakes_total', { side: 'server' }), 1)
})

test('SIMPLE towards a captured pod is the application’s own TLS, from end to end', async (t) => {
  const tls = own('SIMPLE', { sni: 'db.example' })
  const { here, there } = nodes(t, members(tls))
  equip(here, tls)
  const { certificatePem: cert, privateKeyPem: key } = issue(ROOT, { dnsNames: ['db.example'] })
  const server = createServer({ cert, key }, (socket) => {
    socket.on('error', () => undefined)
    socket.on('data', (bytes) => socket.end(bytes))
  })
  await listen(t, server, there.addressOf('web-1'), 8443)
  const flow = await here.dial('caller-1', DB)
  flow.write('ping')
  assert.equal((await drainSocket(flow)).bytes.toString(), 'ping')
  assert.equal(there.count('weft_tls_handshakes_total'), 0)
  await refused(here, /^UPSTREAM_NOT_SECURED: .* declares HTTP/)
})

test('SIMPLE on one node: the application there is spoken TLS to as any', async (t) => {
  const tls = own()
  const places = members(tls).peerAuthentication({ mode: 'STRICT' })
  const node = mesh(t, places)
  equip(node, tls)
  const heard = await https(t, node, EXT_CERTIFICATE, { pod: 'web-1' })
  assert.equal((await ask(await node.dial('caller-1', WEB), GET)).body, 'secret')
  assert.deepEqual(heard.serverNames, [EXT])
  assert.equal(node.count('istio_requests_total', { reporter: 'destination' }), 1)
})
