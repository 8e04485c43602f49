// The PROXY protocol as an application sees it, by every way that it is reached.

import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { TLSSocket } from 'node:tls'
import { materialOf, type OwnTls } from '../../agent/model/client-tls.ts'
import { identityOf } from '../../agent/model/identity.ts'
import { DEFAULT_MESH_SETTINGS } from '../../agent/model/mesh-settings.ts'
import { type PodsWish, type PolicyWish, type World, world } from '../../agent/model/world.fixture.ts'
import { clientTls } from '../../agent/model/traffic-policy.fixture.ts'
import { authority, issue } from './certificates.ts'
import { ask, type Mesh, mesh, readUntil } from './mesh.ts'

const ROOT = authority('root')
const WEB = { ip: '10.96.0.1', port: 80 }
const RAW = { ip: '10.96.0.2', port: 9000 }
const ANY = { ip: '10.96.0.3', port: 7000 }
const GET = 'GET / HTTP/1.1\r\nhost: web\r\n\r\n'
const SIGNATURE = '\r\n\r\n\0\r\nQUIT\n'

/** A server behind three services: HTTP, opaque, undeclared. */
function places(policy: PolicyWish, server: PodsWish = {}): World {
  const all = world()
    .service('web')
    .service('raw', { ports: [{ port: 9000, protocol: 'opaque', targetPort: 8080 }] })
    .service('any', { ports: [{ port: 7000, targetPort: 8080 }] })
    .pods('caller', { serviceAccount: 'shop', captured: 'weft-agent-a' })
    .pods('server-v1', { serviceAccount: 'web', behind: ['web', 'raw', 'any'], ...server })
  for (const host of ['web', 'raw', 'any']) all.destinationRule({ host, policy })
  return all
}

/** Answers requests with what stood ahead of the first of them, and anything else with that and what it was. */
function telling(socket: Socket): void {
  let text = ''
  let header: string | null = null
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1')
    if (header === null) {
      const length = lengthOf(text)
      if (length < 0) return
      header = text.slice(0, length)
      text = text.slice(length)
    }
    if (text === '') return
    const told = `${Buffer.from(header, 'latin1').toString('hex')} from ${socket.remotePort}`
    if (!text.startsWith('GET')) socket.end(`${told} ${text}`)
    else if (text.endsWith('\r\n\r\n')) socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${told.length}\r\n\r\n${told}`)
    if (text.endsWith('\r\n\r\n')) text = ''
  })
}

/** Of the header that a text begins with, -1 where it is not there yet. */
function lengthOf(text: string): number {
  if (text.startsWith('PROXY ')) return text.indexOf('\n') + 1 || -1
  if (!text.startsWith(SIGNATURE)) return text.length < SIGNATURE.length && SIGNATURE.startsWith(text) ? -1 : 0
  return text.length < 28 ? -1 : 28 // IPv4 alone
}

/** What is to be told of a caller. */
function expected(node: Mesh, { localPort }: Socket, to: typeof WEB, version: 1 | 2): string {
  const ip = node.addressOf('caller-1')
  if (version === 1) return Buffer.from(`PROXY TCP4 ${ip} ${to.ip} ${localPort} ${to.port}\r\n`).toString('hex')
  const body = Buffer.alloc(16)
  Buffer.from([...ip.split('.'), ...to.ip.split('.')].map(Number)).copy(body, 4)
  body.set([0x21, 0x11, 0, 12])
  const ports = Buffer.alloc(4)
  ports.writeUInt16BE(localPort ?? 0, 0)
  ports.writeUInt16BE(to.port, 2)
  return Buffer.concat([Buffer.from(SIGNATURE, 'latin1'), body.subarray(0, 12), ports]).toString('hex')
}

const toldIn = (text: string): string => text.split(' ')[0] ?? ''

/** Each way of each service: what the application is told. */
async function tell(node: Mesh, version: 1 | 2): Promise<void> {
  for (const to of [RAW, ANY]) {
    const socket = await node.dial('caller-1', to)
    socket.write('bytes')
    const got = await readUntil(socket, (text) => text.endsWith('bytes'))
    assert.equal(toldIn(got), expected(node, socket, to, version))
  }
  for (const to of [WEB, ANY]) {
    const [one, other] = [await node.dial('caller-1', to), await node.dial('caller-1', to)]
    const answers: string[] = []
    for (const socket of [one, one, other, one]) {
      const { status, body } = await ask(socket, GET)
      assert.equal(status, 200, body)
      assert.equal(toldIn(body), expected(node, socket, to, version))
      answers.push(body)
    }
    assert.equal(answers[0], answers[1], 'its connection is kept')
    assert.equal(answers[0], answers[3])
    assert.notEqual(answers[0], answers[2], 'and is no other caller’s')
    one.end()
    other.end()
  }
}

for (const version of [1, 2] as const) {
  test(`version ${version} to a pod that is not of the mesh`, async (t) => {
    const node = mesh(t, places({ proxyProtocol: version }, { joined: false }), { captured: ['caller-1'] })
    await node.tcp('server-v1-1', telling)
    await tell(node, version)
    await node.until(() => node.plane.node.pools.idle === 0, 'no connection is kept that tells of who is gone')
  })

  test(`version ${version} to a pod of the same node`, async (t) => {
    const node = mesh(t, places({ proxyProtocol: version }, { captured: 'weft-agent-a' }))
    await node.tcp('server-v1-1', telling)
    await tell(node, version)
  })

  test(`version ${version} to a pod of another node, by the mesh's TLS`, async (t) => {
    const there = { captured: 'weft-agent-b', node: 'node-2' }
    const { here, other } = nodes(t, places({ proxyProtocol: version }, there))
    await other.tcp('server-v1-1', telling)
    await tell(here, version)
    assert.ok(other.count('weft_tls_handshakes_total', { side: 'server' }) > 0)
  })
}

function nodes(t: TestContext, all: World): { here: Mesh; other: Mesh } {
  const other = mesh(t, all, { captured: ['server-v1-1'] })
  const here = mesh(t, all, { captured: ['caller-1'], beyond: () => other })
  for (const [node, pod] of [
    [here, 'caller-1'],
    [other, 'server-v1-1'],
  ] as const) {
    const uri = identityOf(all.pod(pod), DEFAULT_MESH_SETTINGS) ?? ''
    const rootsPem = ROOT.certificatePem
    node.plane.identify({ uri, ...issue(ROOT, { uris: [uri] }), rootsPem, ticketSecret: new Uint8Array(32).fill(7) })
  }
  return { here, other }
}

test('a policy of the server’s own says nothing of what arrives there', async (t) => {
  const node = mesh(t, places({ proxyProtocol: 1 }), { captured: ['server-v1-1'] })
  await node.tcp('server-v1-1', telling)
  const { status, body } = await ask(await node.reach('server-v1-1'), GET)
  assert.deepEqual([status, toldIn(body)], [200, ''])
})

test('a header stands ahead of the TLS that a rule asks for', async (t) => {
  const tls: OwnTls = { ...clientTls('SIMPLE', { insecureSkipVerify: true }), mode: 'SIMPLE' }
  const node = mesh(t, places({ proxyProtocol: 2, tls }, { joined: false }), { captured: ['caller-1'] })
  node.plane.equip({ name: materialOf(tls), certificatePem: null, privateKeyPem: null, trust: { kind: 'anyone' } })
  const { certificatePem: cert, privateKeyPem: key } = issue(ROOT, { dnsNames: ['server'] })
  const headers: string[] = []
  await node.tcp('server-v1-1', (socket) => {
    socket.once('readable', () => {
      headers.push((socket.read(28) as Buffer).toString('hex'))
      new TLSSocket(socket, { isServer: true, cert, key }).once('data', function (this: TLSSocket) {
        this.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
      })
    })
  })
  const socket = await node.dial('caller-1', WEB)
  assert.equal((await ask(socket, GET)).body, 'ok')
  assert.deepEqual(headers, [expected(node, socket, WEB, 2)])
})
