// Ports of pods through the lab's API: with the client library, with the client of `weft`, and bare. kubectl is not among
// them: it speaks SPDY, of its own or within a WebSocket, and is told that this is not served.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Duplex, PassThrough } from 'node:stream'
import { buffer, text } from 'node:stream/consumers'
import { after, before, test } from 'node:test'
import { KubeConfig, PortForward } from '@kubernetes/client-node'
import { connectAsUser, type UserClient } from '../../agent/kube/user-client.ts'
import { startApi, type Api } from '../../lab/api/server.ts'
import { createStore, type Store } from '../../lab/api/store.ts'
import { kubeconfig } from '../../lab/state.ts'
import { Caller } from './requests.ts'

const POD = { namespace: 'default', pod: 'web' }
const PATH = '/api/v1/namespaces/default/pods/web/portforward'
const HANDSHAKE = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
  'sec-websocket-protocol': 'v4.channel.k8s.io',
}
const NEVER = new AbortController().signal
/** What the port 1 of the pod says; port 2 is one where nobody listens, 3 falls silent, 4 takes nothing. */
const pod = createServer({ allowHalfOpen: true })
const sockets: Socket[] = []
let store: Store
let api: Api
let folder: string
let client: UserClient

before(async () => {
  pod.on('connection', (socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
  })
  pod.listen(0, '127.0.0.1')
  await once(pod, 'listening')
  store = createStore()
  store.create('pods', { metadata: { name: 'web', namespace: 'default' }, spec: podSpec('node-1') })
  store.create('pods', { metadata: { name: 'waiting', namespace: 'default' }, spec: podSpec() })
  api = await startApi({
    store,
    administratorToken: 'of-the-administrator',
    dialPod: async ({ metadata }, port) => {
      if (port === 2) throw new Error(`dial tcp 127.0.0.1:${port}: connect: connection refused`)
      assert.equal(metadata.name, 'web')
      const socket = connect((pod.address() as AddressInfo).port, '127.0.0.1')
      await once(socket, 'connect')
      return socket
    },
  })
  folder = await mkdtemp(join(tmpdir(), 'weft-forward-'))
  await writeFile(join(folder, 'kubeconfig'), kubeconfig(api.url, { token: 'of-the-administrator' }))
  client = connectAsUser(join(folder, 'kubeconfig'))
})
after(async () => {
  await api.close()
  pod.close()
  for (const socket of sockets) socket.destroy()
  await rm(folder, { recursive: true })
})

function podSpec(nodeName?: string): object {
  return { containers: [{ name: 'main', image: 'none' }], ...(nodeName === undefined ? {} : { nodeName }) }
}

/** The next connection into the pod. */
async function called(): Promise<Socket> {
  const [socket] = (await once(pod, 'connection')) as [Socket]
  return socket
}

test('the client library’s PortForward carries bytes both ways, and ends as the pod does', async () => {
  const config = new KubeConfig()
  config.loadFromClusterAndUser({ name: 'lab', server: api.url, skipTLSVerify: true }, { name: 'lab' })
  const [output, errors, input] = [new PassThrough(), new PassThrough(), new PassThrough()]
  const calling = called()
  const opened = await new PortForward(config).portForward('default', 'web', [1], output, errors, input)
  const socket = await calling
  input.write('question')
  const [asked] = (await once(socket, 'data')) as [Buffer]
  assert.equal(asked.toString(), 'question')
  const link = opened as { onclose: ((event: { code: number; wasClean?: boolean }) => void) | null }
  const closed = new Promise<{ code: number }>((resolve) => (link.onclose = resolve))
  socket.end('answer')
  assert.equal((await closed).code, 1000)
  output.end()
  assert.equal(await text(output), 'answer')
  errors.end()
  assert.equal(await text(errors), '')
  input.destroy()
})

test('Node’s own WebSocket gets both channels of each port, and is told by the second where one is not reached', async () => {
  const calling = called()
  const socket = new WebSocket(`${api.url.replace('http', 'ws')}${PATH}?ports=1&ports=2`, ['v4.channel.k8s.io'])
  socket.binaryType = 'arraybuffer'
  const heard = new Map<number, string>()
  socket.onmessage = ({ data }) => {
    const [channel = -1, ...rest] = Buffer.from(data as ArrayBuffer)
    heard.set(channel, (heard.get(channel) ?? '') + Buffer.from(rest).toString('latin1'))
  }
  const closed = once(socket, 'close')
  await once(socket, 'open')
  assert.equal(socket.protocol, 'v4.channel.k8s.io')
  const inPod = await calling
  inPod.end('hello')
  await closed
  const { uid } = store.get('pods', 'default', 'web')!.metadata
  assert.deepEqual(Object.fromEntries(heard), {
    0: '\x01\x00hello',
    1: '\x01\x00',
    2: '\x02\x00',
    3: `\x02\x00error forwarding port 2 to pod web, uid ${uid}: dial tcp 127.0.0.1:2: connect: connection refused`,
  })
})

test('the stream of `weft` carries megabytes both ways whole, however slowly they are taken', async () => {
  const calling = called()
  const stream = await client.forward({ ...POD, port: 1 }, NEVER)
  const socket = await calling
  const sent = Buffer.alloc(5_000_000, 'abcdefg')
  stream.write(sent)
  let length = 0
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    assert.ok(chunk.equals(sent.subarray(length, length + chunk.length)))
    length += chunk.length
    if (length === sent.length) break
    if (length % 7 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  assert.equal(length, sent.length)
  const next = called()
  const back = await client.forward({ ...POD, port: 1 }, NEVER)
  ;(await next).end(sent)
  assert.ok((await buffer(back)).equals(sent))
})

test('what the client does not take is not read from the pod either', async () => {
  const calling = called()
  const stream = await client.forward({ ...POD, port: 1 }, NEVER)
  const socket = await calling
  const piece = Buffer.alloc(1_000_000)
  let taken = 0
  // kernels and streams hold some; without a bound this would never be refused
  for (let at = 0; at < 100 && taken === at; at++) {
    if (socket.write(piece) || (await drainedWithin(socket, 300))) taken++
  }
  assert.ok(taken < 100, `${taken} MB were taken that nobody reads`)
  const closed = closeOf(socket)
  stream.destroy()
  await closed
})

/** Also where it closes with an error. */
function closeOf(stream: Duplex): Promise<void> {
  return new Promise((resolve) => void stream.on('close', resolve))
}

async function drainedWithin(socket: Socket, ms: number): Promise<boolean> {
  const signal = AbortSignal.timeout(ms)
  return once(socket, 'drain', { signal }).then(
    () => true,
    () => false,
  )
}

test('an end of the client is an end in the pod, in order; so is a client that breaks off', async () => {
  for (const end of ['end', 'destroy'] as const) {
    const calling = called()
    const stream = await client.forward({ ...POD, port: 1 }, NEVER)
    const socket = await calling
    stream.on('error', () => undefined).resume()
    const ended = once(socket.resume(), 'end')
    if (end === 'end') stream.end('last')
    else stream.destroy()
    await ended
    socket.end()
  }
})

test('a port where nobody listens is an error of the stream in the words of the pod’s side; an abort is one, too', async () => {
  const refused = await client.forward({ ...POD, port: 2 }, NEVER)
  await assert.rejects(
    text(refused),
    /^Error: error forwarding port 2 to pod web, uid \S+: dial tcp .*: connection refused$/,
  )
  const abort = new AbortController()
  const calling = called()
  const stream = await client.forward({ ...POD, port: 1 }, abort.signal)
  const socket = await calling
  const reading = text(stream)
  abort.abort(new Error('enough'))
  await assert.rejects(reading, /enough/)
  socket.destroy()
})

test('what is not there or not scheduled, no port and many ports are refused with the API’s words', async () => {
  await assert.rejects(client.forward({ ...POD, pod: 'gone', port: 1 }, NEVER), {
    status: 404,
    message: /"gone" not found/,
  })
  await assert.rejects(client.forward({ ...POD, pod: 'waiting', port: 1 }, NEVER), {
    status: 400,
    message: /host assigned/,
  })
  const rows: [query: string, headers: Record<string, string>, words: RegExp][] = [
    ['', {}, /"ports" is required/],
    ['?ports=0', {}, /unable to parse "0" as a port/],
    ['?ports=65536', {}, /unable to parse/],
    [`?${Array.from({ length: 17 }, () => 'ports=1').join('&')}`, {}, /at most 16 ports/],
    ['?ports=1', { 'sec-websocket-protocol': 'SPDY/3.1+portforward.k8s.io' }, /is v4.channel.k8s.io/],
    ['?ports=1', { 'sec-websocket-key': 'short' }, /no WebSocket handshake/],
    ['?ports=1', { upgrade: 'SPDY/3.1' }, /SPDY\/3.1 is not served for port-forward/],
    ['?ports=1', { upgrade: '', connection: 'close' }, /Upgrade request required/],
  ]
  for (const [query, headers, words] of rows) {
    const { code, message } = await asked('GET', query, { ...HANDSHAKE, ...headers })
    assert.equal(code, 400, query)
    assert.match(message, words)
  }
  assert.match((await asked('POST', '', { ...HANDSHAKE, upgrade: 'SPDY/3.1' })).message, /SPDY/)
})

async function asked(method: string, query: string, headers: Record<string, string>) {
  const given = Object.entries(headers).filter(([, value]) => value !== '')
  const request = http.request(api.url + PATH + query, { method, headers: Object.fromEntries(given) })
  request.end()
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  const { message } = JSON.parse(await text(response)) as { message: string }
  return { code: response.statusCode, message }
}

test('it takes the rights to get and to create pods/portforward', async () => {
  const account = { namespace: 'default', name: 'kai' }
  store.create('serviceaccounts', { metadata: account })
  const admin = new Caller(api.url)
  const { body } = await admin.post('/api/v1/namespaces/default/serviceaccounts/kai/token', {})
  await writeFile(join(folder, 'kai'), kubeconfig(api.url, { token: body.status.token }))
  const kai = connectAsUser(join(folder, 'kai'))
  assert.equal(await kai.bearer(), body.status.token)
  const role = { metadata: account, rules: [{ apiGroups: [''], resources: ['pods/portforward'], verbs: ['get'] }] }
  const refused = { status: 403, message: /cannot (get|create) resource "pods\/portforward"/ }
  await assert.rejects(kai.forward({ ...POD, port: 1 }, NEVER), refused)
  store.create('roles.rbac.authorization.k8s.io', role)
  const subjects = [{ kind: 'ServiceAccount', ...account }]
  const roleRef = { kind: 'Role', name: 'kai' }
  store.create('rolebindings.rbac.authorization.k8s.io', { metadata: account, subjects, roleRef })
  await assert.rejects(kai.forward({ ...POD, port: 1 }, NEVER), refused)
  store.modify('roles.rbac.authorization.k8s.io', 'default', 'kai', (object) => {
    object['rules'][0].verbs.push('create')
  })
  const calling = called()
  const stream = await kai.forward({ ...POD, port: 1 }, NEVER)
  ;(await calling).end('open')
  assert.equal(await text(stream), 'open')
})

test('the administrator’s token is known to the API and to its reviews, for the API alone', async () => {
  const caller = new Caller(api.url, 'of-the-administrator')
  assert.equal((await caller.get('/api/v1/pods')).code, 200)
  const reviews = '/apis/authentication.k8s.io/v1/tokenreviews'
  const review = async (spec: object) => (await caller.post(reviews, { spec })).body.status
  const { authenticated, user } = await review({ token: 'of-the-administrator' })
  assert.deepEqual([authenticated, user.username], [true, 'kubernetes-admin'])
  assert.ok(!(await review({ token: 'of-the-administrator', audiences: ['mesh'] })).authenticated)
  assert.ok(!(await review({ token: 'of-the-administrato' })).authenticated)
})

test('port-forwards that are open end with the API', async () => {
  const other = await startApi({
    store,
    dialPod: async () => {
      const socket = connect((pod.address() as AddressInfo).port, '127.0.0.1')
      await once(socket, 'connect')
      return socket
    },
  })
  await writeFile(join(folder, 'other'), kubeconfig(other.url, { token: '' }))
  const calling = called()
  const stream = await connectAsUser(join(folder, 'other')).forward({ ...POD, port: 1 }, NEVER)
  const socket = await calling
  const ended = once(socket.resume(), 'end')
  const broken = closeOf(stream.resume())
  await other.close()
  await ended
  await broken
  socket.destroy()
})
