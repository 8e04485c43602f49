// What rules answer in place of any upstream, and what they change in heads on the way: bytes and records looked at together.

import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { CorsPolicy, HeaderChanges, HttpRule } from '../../agent/model/policy.ts'
import { match, rule, to, world } from '../../agent/model/world.fixture.ts'
import { ask, type Mesh, mesh, parseAnswer, readUntil } from './mesh.ts'

const SHOP = { ip: '10.96.0.1', port: 80 }
const ORIGIN = 'https://shop.example'
const get = (headers = '', method = 'GET'): string => `${method} /a?b HTTP/1.1\r\nHost: shop\r\n${headers}\r\n`
const change = (wish: Partial<HeaderChanges>): HeaderChanges => ({ remove: [], set: [], add: [], ...wish })

/** A service whose requests a rule decides. */
function ruled(t: TestContext, ...rules: Partial<HttpRule>[]): Mesh {
  const built = world().service('shop').pods('shop-v1').pods('web', { behind: [] })
  return mesh(t, built.virtualService({ hosts: ['shop'], http: rules.map((wish) => rule(wish)) }))
}

/** The last record, of so many. */
async function lastOf(node: Mesh, count: number) {
  await node.until(() => node.records.length === count, `${count} records`)
  return node.records[count - 1]
}

const answers = (status: number, body: string | Uint8Array | null) => {
  return { kind: 'answer', status, body: typeof body === 'string' ? Buffer.from(body) : body } as const
}

test('a direct response is its status and text, and the connection stays good', async (t) => {
  const node = ruled(t, { name: 'down', instead: answers(503, 'back soon: ü') })
  const socket = await node.dial('web-1', SHOP)
  for (const count of [1, 2]) {
    const answer = await ask(socket, get())
    assert.equal(answer.status, 503)
    assert.equal(Buffer.from(answer.body, 'latin1').toString(), 'back soon: ü')
    assert.equal(answer.headers['content-type'], 'text/plain')
    const record = await lastOf(node, count)
    assert.deepEqual(
      [record?.response_code, record?.response_flags, record?.response_code_details, record?.route_name],
      [503, '-', 'direct_response', 'down'],
    )
    assert.deepEqual([record?.bytes_sent, record?.upstream_host, record?.weft_reason], [13, null, null])
  }
  assert.equal(node.count('istio_requests_total', { response_code: '503', response_flags: '-', reporter: 'source' }), 2)
  assert.equal(node.count('weft_failures_total'), 0)
})

test('a direct response is any bytes, as long as they are, of the kind that its rule says', async (t) => {
  const body = Buffer.alloc(300_000, 'x')
  body[0] = 0xff
  const response = change({ set: [['content-type', 'image/png']] })
  const node = ruled(t, { instead: answers(200, body), headers: { request: null, response } })
  const answer = await ask(await node.dial('web-1', SHOP), get())
  assert.deepEqual(Buffer.from(answer.body, 'latin1'), body)
  assert.equal(answer.headers['content-type'], 'image/png')
})

test('to HEAD a direct response is what it would be, without the body', async (t) => {
  const node = ruled(t, { instead: answers(200, 'four') })
  const socket = await node.dial('web-1', SHOP)
  socket.write(get('', 'HEAD') + get())
  const text = await readUntil(socket, (got) => got.endsWith('four'))
  const [head = '', second = ''] = text.split(/(?<=\r\n\r\n)(?=HTTP)/)
  assert.equal(parseAnswer(head).headers['content-length'], '4')
  assert.equal(parseAnswer(second).body, 'four')
  await node.until(() => node.records.length === 2, 'two records')
  assert.deepEqual(
    node.records.map((record) => record.bytes_sent),
    [0, 4],
  )
})

test('a direct response to an upload that has not come is the connection’s last', async (t) => {
  const node = ruled(t, { instead: answers(200, 'no need') })
  const socket = await node.dial('web-1', SHOP)
  const answer = await ask(socket, get('Content-Length: 100000\r\n', 'POST'))
  assert.deepEqual([answer.status, answer.headers['connection']], [200, 'close'])
})

test('a redirect says where to', async (t) => {
  const instead = {
    kind: 'redirect',
    uri: '/new',
    prefix: null,
    authority: null,
    port: null,
    scheme: 'https',
    code: 308,
  } as const
  const node = ruled(t, { instead })
  const answer = await ask(await node.dial('web-1', SHOP), get())
  assert.equal(answer.status, 308)
  assert.deepEqual(Object.keys(answer.headers).sort(), ['content-length', 'date', 'location'])
  assert.equal(answer.headers['location'], 'https://shop/new?b')
  const record = await lastOf(node, 1)
  assert.deepEqual([record?.response_flags, record?.response_code_details], ['-', 'direct_response'])
})

const cors: CorsPolicy = {
  origins: [{ kind: 'regex', value: 'https://[a-z]+\\.example' }],
  methods: ['GET', 'PUT'],
  headers: ['*'],
  exposed: ['x-seen'],
  maxAgeSeconds: 600,
  credentials: true,
  forwardsUnmatched: false,
}

test('a preflight is answered here, and nobody asks the application', async (t) => {
  const node = ruled(t, {
    cors,
    destinations: [to('shop')],
    headers: { request: null, response: change({ set: [['x-a', '1']] }) },
  })
  await node.http('shop-v1-1', () => assert.fail('nobody comes here'))
  const socket = await node.dial('web-1', SHOP)
  const preflight = (origin: string): string =>
    get(
      `Origin: ${origin}\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-mine\r\n`,
      'OPTIONS',
    )
  const { status, headers } = await ask(socket, preflight(ORIGIN))
  assert.equal(status, 200)
  const { date, ...said } = headers
  assert.ok(date)
  assert.deepEqual(said, {
    'content-length': '0',
    'access-control-allow-origin': ORIGIN,
    'access-control-allow-credentials': 'true',
    'access-control-allow-methods': 'GET,PUT',
    'access-control-allow-headers': 'x-mine',
    'access-control-max-age': '600',
  })
  const record = await lastOf(node, 1)
  assert.deepEqual([record?.response_flags, record?.response_code_details], ['-', 'cors_response'])
  const other = await ask(socket, preflight('https://other.example.org'))
  assert.deepEqual([other.status, Object.keys(other.headers).sort()], [200, ['content-length', 'date']])
})

test('who may read an answer is said on whichever comes: the application’s, an abort, a direct response', async (t) => {
  const path = (value: string) => [match({ uri: { kind: 'prefix', value } })]
  const abort = { percent: 100, status: 418, grpcStatus: null }
  const node = ruled(
    t,
    { matches: path('/abort'), cors, fault: { delay: null, abort }, destinations: [to('shop')] },
    { matches: path('/direct'), cors, instead: answers(200, 'direct') },
    { cors, destinations: [to('shop')] },
  )
  await node.http('shop-v1-1', (_, response) => {
    response.setHeader('access-control-allow-origin', 'https://application.example')
    response.end('ok')
  })
  const socket = await node.dial('web-1', SHOP)
  for (const [target, status] of [
    ['/', 200],
    ['/abort', 418],
    ['/direct', 200],
  ] as const) {
    // prettier-ignore
    const asked = (origin: string): string => `GET ${target} HTTP/1.1\r\nHost: shop\r\nOrigin: ${origin}\r\n\r\n`
    const answer = await ask(socket, asked(ORIGIN))
    assert.equal(answer.status, status)
    assert.equal(answer.headers['access-control-allow-origin'], ORIGIN, target)
    assert.equal(answer.headers['access-control-expose-headers'], 'x-seen')
    const { headers } = await ask(socket, asked('http://evil.example'))
    assert.notEqual(headers['access-control-allow-origin'], ORIGIN)
    assert.equal(headers['access-control-expose-headers'], undefined)
  }
})

test('an abort by gRPC’s status is one for a gRPC call, and one of HTTP for others', async (t) => {
  const abort = { percent: 100, status: 503, grpcStatus: 14 }
  const node = ruled(t, { fault: { delay: null, abort }, destinations: [to('shop')] })
  const socket = await node.dial('web-1', SHOP)
  for (const [type, isCall] of [
    ['application/grpc', true],
    ['application/grpc+proto', true],
    ['application/grpc-web', false],
    ['text/plain', false],
  ] as const) {
    // prettier-ignore
    const { status, headers, body } = await ask(socket, get(`Content-Type: ${type}\r\n`, 'POST'))
    const { date: _, ...said } = headers
    const call = { 'content-type': 'application/grpc', 'grpc-status': '14', 'grpc-message': 'fault filter abort' }
    const plain = { 'content-type': 'text/plain', 'content-length': '18' }
    assert.deepEqual([status, said], isCall ? [200, { ...call, 'content-length': '0' }] : [503, plain], type)
    assert.equal(body, isCall ? '' : 'fault filter abort')
  }
  const record = await lastOf(node, 4)
  assert.deepEqual([record?.response_flags, record?.response_code_details], ['FI', 'fault_filter_abort'])
})

test('heads are changed both ways, by the destination and then by the rule; the record keeps what came', async (t) => {
  const headers = {
    request: change({ remove: ['x-gone'], set: [['x-set', 'rule'], ['x-request-id', 'ruled'], ['user-agent', 'ruled']], add: [['x-added', 'rule']] }), // prettier-ignore
    response: change({ remove: ['server'], set: [['x-app', 'rule']], add: [['x-app', 'more']] }),
  }
  const own = { request: change({ set: [['x-set', 'own'], ['x-own', 'own']], add: [['x-added', 'own']] }), response: null } // prettier-ignore
  const node = ruled(t, { headers, destinations: [to('shop', { headers: own })] })
  let raw: string[] = []
  await node.http('shop-v1-1', (request, response) => {
    raw = request.rawHeaders
    response.setHeader('server', 'an application')
    response.setHeader('x-app', ['1', '2'])
    response.end('ok')
  })
  const socket = await node.dial('web-1', SHOP)
  socket.write(get('X-Gone: 1\r\nX-SET: came\r\nX-Added: came\r\nUser-Agent: me\r\nX-Request-Id: mine\r\n'))
  const text = await readUntil(socket, (got) => got.endsWith('ok'))
  assert.deepEqual(
    [...text.matchAll(/^(server|x-app): (.*)\r$/gim)].map(([line]) => line.trim()),
    ['x-app: rule', 'x-app: more'],
  )
  const of = (name: string): string[] =>
    raw.filter((_, index) => index % 2 === 1 && raw[index - 1]?.toLowerCase() === name)
  assert.deepEqual(['x-gone', 'x-set', 'x-own', 'x-added', 'user-agent', 'x-request-id', 'host'].map(of), [
    [],
    ['rule'],
    ['own'],
    ['came', 'own', 'rule'],
    ['ruled'],
    ['ruled'],
    ['shop'],
  ])
  const record = await lastOf(node, 1)
  assert.deepEqual([record?.user_agent, record?.request_id, record?.authority], ['me', 'mine', 'shop'])
})

test('answers of the mesh’s own to what a rule has routed are changed as well, interim ones are not', async (t) => {
  const headers = { request: null, response: change({ set: [['x-rule', '1']] }) }
  const node = ruled(t, { headers, destinations: [to('shop')] })
  const failed = await ask(await node.dial('web-1', SHOP), get()) // nobody listens
  assert.deepEqual([failed.status, failed.headers['x-rule']], [503, '1'])
  await node.tcp('shop-v1-1', (socket) => {
    socket.once('data', () =>
      socket.write('HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'),
    )
  })
  const socket = await node.dial('web-1', SHOP)
  socket.write(get())
  const text = await readUntil(socket, (got) => got.endsWith('ok'))
  assert.match(text, /^HTTP\/1\.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP\/1\.1 200 OK\r\nx-rule: 1\r\n/)
})

test('changes beyond what fits the desk leave whole', async (t) => {
  const value = 'v'.repeat(15_000)
  const set = Array.from({ length: 6 }, (_, index) => [`x-${index}`, value] as const)
  const node = ruled(t, { headers: { request: null, response: change({ set }) }, destinations: [to('shop')] })
  await node.http('shop-v1-1', (_, response) => void response.end('ok'))
  const { headers, body } = await ask(await node.dial('web-1', SHOP), get())
  assert.deepEqual([headers['x-0'], headers['x-5'], body], [value, value, 'ok'])
})
