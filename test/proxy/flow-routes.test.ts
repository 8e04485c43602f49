// Flows by the rules of VirtualServices: by what was dialled, who dials, and whom TLS asks for.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer as createPlainServer, type Server, type Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls, createServer, type TLSSocket } from 'node:tls'
import { flowMatch, hostOf, to, type World, world } from '../../agent/model/world.fixture.ts'
import { authority, issue } from './certificates.ts'
import { ending, type Mesh, mesh, readUntil } from './mesh.ts'

const ROOT = authority('root')
const DB = '10.96.0.1'
const OUTSIDE = { ip: '10.244.77.7', port: 8443 }

/** Ports: declared opaque, undeclared, declared TLS by name. */
const PORTS = [
  { port: 9000, protocol: 'opaque' as const, targetPort: 8080 },
  { port: 9001, targetPort: 8080 },
  { port: 443, name: 'tls-api', protocol: 'opaque' as const, targetPort: 8443 },
  { port: 9443, targetPort: 8443 },
]

function places(): World {
  return world()
    .service('db', { ports: PORTS })
    .service('other', { ports: PORTS })
    .pods('db-v1')
    .pods('db-v2')
    .pods('other-v1')
    .pods('web', { behind: [] })
    .pods('batch', { behind: [] })
    .destinationRule({ host: 'db', subsets: [{ name: 'v1' }, { name: 'v2' }] })
}

const SERVERS = ['db-v1-1', 'db-v2-1', 'other-v1-1']

/** Each pod answers by its name. */
async function answering(node: Mesh): Promise<void> {
  for (const pod of SERVERS) await node.tcp(pod, (socket) => socket.on('data', () => socket.end(pod)))
}

async function answer(node: Mesh, pod: string, port: number): Promise<string> {
  const socket = await node.dial(pod, { ip: DB, port })
  socket.write('who?')
  return readUntil(socket, (got) => got.endsWith('-1'))
}

test('tcp rules go by port, labels and weight; what none of them takes goes to the service', async (t) => {
  const all = places().virtualService({
    hosts: ['db'],
    tcp: [
      { matches: [flowMatch({ port: 9001 })], destinations: [to('other', { port: 9000 })] },
      {
        matches: [flowMatch({ sourceLabels: { app: 'batch' } })],
        destinations: [to('db', { subset: 'v1', weight: 0 }), to('db', { subset: 'v2', weight: 100 })],
      },
    ],
  })
  const node = mesh(t, all, { captured: ['web-1', 'batch-1'] })
  await answering(node)
  assert.equal(await answer(node, 'web-1', 9001), 'other-v1-1')
  for (let i = 0; i < 5; i++) assert.equal(await answer(node, 'batch-1', 9000), 'db-v2-1')
  const seen = new Set<string>()
  for (let i = 0; i < 20; i++) seen.add(await answer(node, 'web-1', 9000))
  assert.deepEqual([...seen].sort(), ['db-v1-1', 'db-v2-1'])
  await node.until(() => node.records.length === 26, 'a record each')
  const [first, second] = node.records
  assert.deepEqual([first?.route_name, first?.upstream_cluster], ['tcp[0]', `outbound|9000||${hostOf('other')}`])
  assert.deepEqual([second?.route_name, second?.upstream_cluster], ['tcp[1]', `outbound|9000|v2|${hostOf('db')}`])
  const labels = { reporter: 'source', destination_service: hostOf('other') }
  assert.equal(node.count('istio_tcp_connections_opened_total', labels), 1)
})

test('tcp rules go by the networks of both ends', async (t) => {
  const all = places()
  const node = mesh(t, all, { captured: ['web-1', 'batch-1'] })
  await answering(node)
  all.virtualService({
    hosts: ['db'],
    tcp: [
      {
        matches: [
          flowMatch({ sourceSubnets: [`${node.addressOf('batch-1')}/32`], destinationSubnets: ['10.96.0.0/16'] }),
        ],
        destinations: [to('other')],
      },
      { matches: [flowMatch({ destinationSubnets: ['10.97.0.0/16'] })], destinations: [to('other')] },
      { matches: [], destinations: [to('db', { subset: 'v1' })] },
    ],
  })
  node.apply()
  assert.equal(await answer(node, 'batch-1', 9000), 'other-v1-1')
  assert.equal(await answer(node, 'web-1', 9000), 'db-v1-1')
})

test('a rule’s unknown destination is a reset, and the record says why', async (t) => {
  const all = places().virtualService({ hosts: ['db'], tcp: [{ matches: [], destinations: [to('nowhere')] }] })
  const node = mesh(t, all, { captured: ['web-1'] })
  assert.equal(await ending(node.dial('web-1', { ip: DB, port: 9000 })), 'reset')
  await node.until(() => node.records.length === 1, 'a record')
  assert.deepEqual([node.records[0]?.response_flags, node.records[0]?.weft_reason], ['NC', 'NO_CLUSTER'])
})

/** A TLS server in a pod that answers by its name. */
async function secured(t: TestContext, node: Mesh, pod: string): Promise<void> {
  const { certificatePem: cert, privateKeyPem: key } = issue(ROOT, { dnsNames: ['*.example.com'] })
  const server: Server = createServer({ cert, key }, (socket) => socket.end(pod))
  server.on('tlsClientError', () => undefined)
  server.listen(8443, node.addressOf(pod))
  await once(server, 'listening')
  t.after(() => server.close())
}

async function tlsAnswer(socket: Socket, servername: string): Promise<string> {
  const tls: TLSSocket = connectTls({
    socket,
    servername,
    ca: ROOT.certificatePem,
    checkServerIdentity: () => undefined,
  })
  const [bytes] = (await once(tls, 'data')) as [Buffer]
  tls.destroy()
  return bytes.toString()
}

const BY_NAME = {
  hosts: ['db'],
  tls: [
    { matches: [flowMatch({ serverNames: ['one.example.com'] })], destinations: [to('db', { subset: 'v1' })] },
    { matches: [flowMatch({ serverNames: ['*.other.example.com'] })], destinations: [to('other')] },
  ],
}

for (const [port, what] of [
  [443, 'declared TLS'],
  [9443, 'undeclared'],
] as const) {
  test(`tls rules go by server name, on a port that is ${what}`, async (t) => {
    const node = mesh(t, places().virtualService(BY_NAME), { captured: ['web-1'] })
    for (const pod of SERVERS) await secured(t, node, pod)
    const answer = async (name: string) => tlsAnswer(await node.dial('web-1', { ip: DB, port }), name)
    for (let i = 0; i < 4; i++) assert.equal(await answer('One.Example.com'), 'db-v1-1')
    assert.equal(await answer('x.other.example.com'), 'other-v1-1')
    const seen = new Set<string>()
    for (let i = 0; i < 20; i++) seen.add(await answer('two.example.com'))
    assert.deepEqual([...seen].sort(), ['db-v1-1', 'db-v2-1'], 'what no rule takes goes to the service')
    await node.until(() => node.records.length === 25, 'a record each')
    const [first] = node.records
    assert.deepEqual([first?.requested_server_name, first?.route_name], ['one.example.com', 'tls[0]'])
    assert.equal(node.records.at(-1)?.requested_server_name, 'two.example.com')
    assert.equal(node.count('weft_server_names_total', { outcome: 'read' }), 25)
  })
}

test('on a port that declares something else a server name is read where rules look at it, and only then', async (t) => {
  const all = places()
  const node = mesh(t, all, { captured: ['web-1'], limits: { sniffMs: 60_000 } })
  await node.tcp('other-v1-1', (socket) => socket.write('220 ready\r\n'))
  for (const pod of ['db-v1-1', 'db-v2-1']) await node.tcp(pod, (socket) => socket.write('220 ready\r\n'))
  const greeted = await node.dial('web-1', { ip: DB, port: 9000 })
  assert.equal(await readUntil(greeted, (got) => got.endsWith('\n')), '220 ready\r\n', 'nobody is kept waiting')
  all.virtualService(BY_NAME)
  node.apply()
  const asked = await node.dial('web-1', { ip: DB, port: 9000 })
  connectTls({ socket: asked, servername: 'x.other.example.com' }).on('error', () => undefined)
  await node.until(() => node.count('weft_server_names_total', { outcome: 'read' }) === 1, 'a server name')
  const plain = await node.dial('web-1', { ip: DB, port: 9000 })
  plain.write('EHLO') // what is no TLS is not held back either
  assert.equal(await readUntil(plain, (got) => got.endsWith('\n')), '220 ready\r\n')
})

test('a server that speaks first waits for a moment alone where rules look at server names', async (t) => {
  const node = mesh(t, places().virtualService(BY_NAME), { captured: ['web-1'], limits: { sniffMs: 50 } })
  for (const pod of SERVERS) await node.tcp(pod, (socket) => socket.write('220 ready\r\n'))
  const socket = await node.dial('web-1', { ip: DB, port: 9000 })
  assert.equal(await readUntil(socket, (got) => got.endsWith('\n')), '220 ready\r\n')
})

test('a first message of TLS that comes in pieces is waited for, and one that is late goes without its name', async (t) => {
  const node = mesh(t, places().virtualService(BY_NAME), { captured: ['web-1'], limits: { sniffMs: 300 } })
  const heard: Buffer[] = []
  for (const pod of SERVERS) {
    await node.tcp(pod, (socket) => socket.on('data', (bytes: Buffer) => heard.push(bytes)), 8443)
  }
  const hello = await helloOf('x.other.example.com')
  const slow = await node.dial('web-1', { ip: DB, port: 443 })
  for (let at = 0; at < hello.length; at += Math.ceil(hello.length / 5)) {
    slow.write(hello.subarray(at, at + Math.ceil(hello.length / 5)))
    await sleep(10)
  }
  await node.until(() => Buffer.concat(heard).length === hello.length, 'all of it')
  assert.deepEqual(Buffer.concat(heard), hello)
  slow.resetAndDestroy()
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.route_name, 'tls[1]')
  heard.length = 0
  const late = await node.dial('web-1', { ip: DB, port: 443 })
  late.write(hello.subarray(0, 50))
  await node.until(() => Buffer.concat(heard).length === 50, 'what there is')
  late.write(hello.subarray(50))
  await node.until(() => Buffer.concat(heard).length === hello.length, 'the rest')
  late.resetAndDestroy()
  await node.until(() => node.records.length === 2, 'a record')
  assert.deepEqual([node.records[1]?.route_name, node.records[1]?.requested_server_name], [null, null])
  assert.equal(node.count('weft_server_names_total', { outcome: 'late' }), 1)
  assert.equal([...node.plane.node.pods.values()][0]?.budget.held, 0)
})

/** The first message of a client. */
async function helloOf(servername: string): Promise<Buffer> {
  const server = createPlainServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connectTls({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, servername })
  client.on('error', () => undefined)
  const [socket] = (await once(server, 'connection')) as [Socket]
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  client.destroy()
  socket.destroy()
  server.close()
  return bytes
}

test('of TLS that comes in from outside the record has the server name, and no rule looks at it', async (t) => {
  const node = mesh(t, places().virtualService(BY_NAME), { captured: ['db-v2-1'] })
  await secured(t, node, 'db-v2-1')
  assert.equal(await tlsAnswer(await node.reach('db-v2-1', 8443), 'one.example.com'), 'db-v2-1')
  await node.until(() => node.records.length === 1, 'a record')
  const [record] = node.records
  assert.deepEqual([record?.requested_server_name, record?.weft_direction], ['one.example.com', 'inbound'])
})

test('an address that nothing stands for is known by the server name', async (t) => {
  const all = places()
    .pods('outside', { ips: [OUTSIDE.ip], behind: [] })
    .virtualService({
      hosts: ['moved.example.com'],
      tls: [
        { matches: [flowMatch({ serverNames: ['moved.example.com'] })], destinations: [to('other', { port: 443 })] },
      ],
    })
  const node = mesh(t, all, { captured: ['web-1'] })
  const inventory = all.inventory(2)
  node.plane.apply({ ...inventory, workloads: inventory.workloads.filter(({ name }) => name !== 'outside-1') })
  for (const pod of ['other-v1-1', 'outside-1']) await secured(t, node, pod)
  const answer = async (name: string) => tlsAnswer(await node.dial('web-1', OUTSIDE), name)
  assert.equal(await answer('moved.example.com'), 'other-v1-1')
  assert.equal(await answer('else.example.com'), 'outside-1')
  await node.until(() => node.records.length === 2, 'a record each')
  assert.deepEqual(
    node.records.map((record) => [record.requested_server_name, record.upstream_cluster]),
    [
      ['moved.example.com', `outbound|443||${hostOf('other')}`],
      ['else.example.com', 'PassthroughCluster'],
    ],
  )
})
