// The node proxy of the lab's API against a server that plays a node's agent, on the wire.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { ANSWER_LIMIT_BYTES, type DialNode, nodeTarget, splitId } from '../../lab/api/http/node-proxy.ts'
import { startApi, type Api } from '../../lab/api/server.ts'
import { createStore } from '../../lab/api/store.ts'

const asks: string[] = []
const dialled: string[] = []

function play(request: IncomingMessage, response: ServerResponse): void {
  asks.push(`${request.method} ${request.url} host=${request.headers.host} accept=${request.headers.accept}`)
  if (request.url === '/breaks') {
    response.writeHead(200, { 'content-length': 100 })
    response.write('half', () => response.destroy())
  } else if (request.url === '/hangs-up') request.socket.destroy()
  else if (request.url === '/long') response.end('x'.repeat(ANSWER_LIMIT_BYTES + 1))
  else if (request.url === '/absent') response.writeHead(404, { 'content-type': 'text/plain' }).end('one of /status')
  else response.writeHead(200, { 'content-type': 'application/json', 'content-length': 12 }).end('{"node":"a"}')
}

const node = createServer(play)
let api: Api

/** Port 1 is one where nothing listens; every other leads to the server that plays the node. */
const dialNode: DialNode = async (name, address, port) => {
  dialled.push(`${name} ${address} ${port}`)
  if (port === 1) throw new Error(`dial tcp ${address}:1: connect: connection refused`)
  const socket = connect((node.address() as AddressInfo).port, '127.0.0.1')
  await once(socket, 'connect')
  return socket
}

before(async () => {
  node.listen(0, '127.0.0.1')
  await once(node, 'listening')
  const store = createStore()
  store.create('nodes', { metadata: { name: 'a' } })
  store.create('nodes', { metadata: { name: 'bare' } })
  const addresses = [
    { type: 'Hostname', address: 'a' },
    { type: 'InternalIP', address: '10.89.0.11' },
  ]
  store.modify('nodes', null, 'a', (object) => void (object.status = { addresses }), { subresource: 'status' })
  api = await startApi({ store, dialNode })
})
after(async () => {
  await api.close()
  node.closeAllConnections()
  node.close()
})

async function ask(id: string, path: string, method = 'GET'): Promise<{ code: number; type: string; body: string }> {
  const headers = { accept: 'application/json' }
  const response = await fetch(`${api.url}/api/v1/nodes/${id}/proxy${path}`, { method, headers })
  return { code: response.status, type: response.headers.get('content-type') ?? '', body: await response.text() }
}

test('a request goes to the port at the node’s InternalIP, with its path and query, and the answer comes back', async () => {
  const answer = await ask('http:a:15020', '/status?x=1%202')
  assert.deepEqual(answer, { code: 200, type: 'application/json', body: '{"node":"a"}' })
  assert.equal(dialled.at(-1), 'a 10.89.0.11 15020')
  assert.equal(asks.at(-1), 'GET /status?x=1+2 host=10.89.0.11:15020 accept=application/json')
  assert.equal((await ask('a:15020', '')).code, 200)
  assert.match(asks.at(-1) ?? '', /^GET \/ /)
})

test('HEAD gives the headers alone; what is not 200 comes as it is', async () => {
  const head = await fetch(`${api.url}/api/v1/nodes/http:a:15020/proxy/status`, { method: 'HEAD' })
  assert.deepEqual([head.status, head.headers.get('content-length'), await head.text()], [200, '12', ''])
  assert.deepEqual(await ask('http:a:15020', '/absent'), { code: 404, type: 'text/plain', body: 'one of /status' })
})

test('a node that is not reached is a 503 in the words of Kubernetes, one that is not there a 404', async () => {
  const refused = await ask('http:a:1', '/status')
  const { reason, message } = JSON.parse(refused.body) as { reason: string; message: string }
  assert.deepEqual([refused.code, reason], [503, 'ServiceUnavailable'])
  assert.equal(message, 'error trying to reach service: dial tcp 10.89.0.11:1: connect: connection refused')
  assert.equal((await ask('http:a:15020', '/hangs-up')).code, 503)
  assert.match((await ask('http:bare:15020', '/')).body, /node bare has no InternalIP/)
  assert.match((await ask('http:b:15020', '/')).body, /nodes \\"b\\" not found/)
})

test('an answer that breaks off or is too long is a 502, and nothing of it is passed on', async () => {
  for (const path of ['/breaks', '/long']) {
    const { code, body } = await ask('http:a:15020', path)
    assert.deepEqual([code, (JSON.parse(body) as { reason: string }).reason], [502, 'BadGateway'], path)
  }
})

test('other methods, https and the kubelet’s port are refused in words', async () => {
  assert.equal((await ask('http:a:15020', '/status', 'POST')).code, 405)
  assert.match((await ask('https:a:15020', '/status')).body, /ask for http:NODE:PORT/)
  assert.match((await ask('a', '/pods')).body, /there is no kubelet/)
  assert.equal((await ask('http:a:99999', '/')).code, 400)
})

test('an id is scheme, name and port, as Kubernetes splits it', () => {
  assert.deepEqual(splitId('http:node-1:15020'), { scheme: 'http', name: 'node-1', port: '15020' })
  assert.deepEqual(splitId('node-1:15020'), { scheme: '', name: 'node-1', port: '15020' })
  assert.deepEqual(splitId('node-1'), { scheme: '', name: 'node-1', port: '' })
  for (const id of ['', ':80', 'ftp:a:80', 'a:b', 'http:a:80:90']) assert.throws(() => splitId(id), /invalid/, id)
})

test('only a node’s proxy is one', () => {
  assert.deepEqual(nodeTarget('/api/v1/nodes/http%3Aa%3A80/proxy/x%2Fy'), { id: 'http:a:80', path: '/x%2Fy' })
  for (const path of [
    '/api/v1/nodes/a',
    '/api/v1/nodes/a/proxyx',
    '/api/v1/nodes/%zz/proxy/',
    '/api/v1/pods/a/proxy',
  ]) {
    assert.equal(nodeTarget(path), undefined, path)
  }
})
