// Questions to authorizers as they are on the wire, and what becomes of them where connections, callers or bodies do not keep
// still.

import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { allows, guarded, post } from './guarded.ts'
import { ask, type Mesh, readUntil } from './mesh.ts'
import { get, PLACES } from './shop.ts'

const held = ({ plane }: Mesh): number =>
  [...plane.node.pods.values()].reduce((sum, { budget }) => sum + budget.held, 0)

/** How often a header stands in what came, and its values. */
const valuesOf = (raw: readonly string[], name: string): readonly string[] =>
  raw.flatMap((value, at) => (at % 2 === 1 && raw[at - 1]?.toLowerCase() === name ? [value] : []))

/** Bytes of UTF-8, one character each, as both ends of a test have them. */
const wire = (text: string): string => Buffer.from(text).toString('latin1')

const ALL = { includeRequestHeadersInCheck: ['*'] }

for (const place of PLACES) {
  test(`${place}: a question tells of the request, and of nothing that is its connection's or that its caller forged`, async (t) => {
    const { world, dial, asked } = await guarded(t, place, allows, {
      guard: { ...ALL, body: { maxBytes: 10, allowPartial: true } },
    })
    const forged = ['x-envoy-auth-partial-body: false', 'x-forwarded-client-cert: URI=spiffe://forged']
    const hop = ['Connection: x-hop', 'x-hop: 1', 'TE: trailers']
    const own = ['x-request-id: abc', 'x-forwarded-for: 192.0.2.1', 'x-two: 1', 'x-two: 2']
    assert.equal((await ask(await dial(), post('/g', 'x'.repeat(20), ...forged, ...hop, ...own))).status, 200)
    const { raw } = asked[0]!
    const told = (name: string): readonly string[] => valuesOf(raw, name)
    assert.deepEqual(told('x-request-id'), ['abc'])
    assert.deepEqual(told('x-envoy-auth-partial-body'), ['true'])
    assert.deepEqual([...told('x-hop'), ...told('te')], [])
    assert.deepEqual(told('x-forwarded-for'), [`192.0.2.1,${world.pod('shop-v1-1').ips[0]}`])
    assert.deepEqual(told('x-two'), ['1,2'])
    assert.ok(told('x-forwarded-client-cert').every((value) => !value.includes('forged')))
  })

  test(`${place}: a question that finds a kept connection closed is put once more, by a new one`, async (t) => {
    const served = new WeakSet<object>()
    const { dial, asked, seen, callee } = await guarded(t, place, (_, response) => {
      const socket = response.socket as Socket
      if (served.has(socket)) socket.destroy()
      else response.end()
      served.add(socket)
    })
    const socket = await dial()
    for (const request of [get('/g'), get('/g'), post('/g', 'body')])
      assert.equal((await ask(socket, request)).status, 200)
    assert.deepEqual([asked.length, seen.length], [5, 3], 'but for the first one each was put twice')
    assert.equal(callee.count('weft_ext_authz_total', { result: 'allowed' }), 3)
    assert.equal(callee.count('weft_retries_total', { why: 'STALE_CONNECTION' }), 2)
    assert.equal(callee.plane.node.load.size, 0)
  })
}

test('of a request without a body it is not told whether that was all', async (t) => {
  const { dial, asked } = await guarded(t, 'one node', allows, {
    guard: { ...ALL, body: { maxBytes: 10, allowPartial: true } },
  })
  const forged = 'x-envoy-auth-partial-body: true'
  assert.equal((await ask(await dial(), get('/g', forged))).status, 200)
  const socket = await dial()
  socket.write(post('/g', 'hello', 'Expect: 100-continue'))
  await readUntil(socket, (text) => text.includes('by shop'))
  assert.deepEqual(
    asked.map(({ headers, body }) => [headers['x-envoy-auth-partial-body'], headers['expect'], body]),
    [
      [undefined, undefined, ''],
      ['false', undefined, 'hello'],
    ],
  )
})

test('headers that the authorizer has removed do not reach the application', async (t) => {
  const gone = ['x-secret, Authorization', ' , host, content-length, x-other']
  const { dial, seen } = await guarded(t, 'one node', (_, response) => {
    response.writeHead(200, { 'x-envoy-auth-headers-to-remove': gone, 'x-user': 'ann' }).end()
  })
  const fields = ['x-secret: 1', 'authorization: Basic x', 'x-other: 2', 'x-kept: 3']
  assert.equal((await ask(await dial(), post('/g', 'abc', ...fields))).status, 200)
  const { headers, bodyBytes } = seen[0]!
  assert.deepEqual(
    ['x-secret', 'authorization', 'x-other', 'x-kept', 'x-user', 'host'].map((name) => headers[name]),
    [undefined, undefined, undefined, '3', undefined, 'shop'],
  )
  assert.equal(bodyBytes, 3)
})

test('text beyond ASCII is the same text behind an authorizer', async (t) => {
  const { dial, asked, seen } = await guarded(
    t,
    'one node',
    ({ url }, response) => {
      response.writeHead(url === '/g/no' ? 403 : 200, { 'x-user': wire('Jürgen 木') }).end()
    },
    { guard: { ...ALL, headersToUpstreamOnAllow: ['x-user'], headersToDownstreamOnAllow: ['x-user'] } },
  )
  const [socket, other] = [await dial(), await dial()]
  socket.write(get('/g', `x-name: ${wire('Émile')}`), 'latin1')
  const passed = await readUntil(socket, (text) => text.includes('by shop'))
  other.write(get('/g/no'))
  const denied = await readUntil(other, (text) => text.includes('\r\n\r\n'))
  assert.equal(asked[0]?.headers['x-name'], wire('Émile'))
  assert.equal(seen[0]?.headers['x-user'], wire('Jürgen 木'))
  for (const text of [passed, denied]) assert.ok(text.includes(`x-user: ${wire('Jürgen 木')}\r\n`), text)
})

test('a denial has one date, and of a body that is too long to be passed on nothing', async (t) => {
  const { dial, caller } = await guarded(t, 'one node', ({ url }, response) => {
    const body = 'x'.repeat(url === '/g/long' ? 64 * 1024 + 1 : 64 * 1024)
    response
      .writeHead(403, { 'x-envoy-auth-headers-to-remove': 'a', 'content-type': 'text/html', 'x-why': 'no' })
      .end(body)
  })
  for (const [path, length, type] of [
    ['/g', 64 * 1024, 'text/html'],
    ['/g/long', 0, undefined],
  ] as const) {
    const socket = await dial()
    const answer = await ask(socket, get(path))
    assert.deepEqual([answer.status, answer.body.length, answer.headers['content-type']], [403, length, type])
    assert.deepEqual([answer.headers['x-why'], answer.headers['x-envoy-auth-headers-to-remove']], ['no', undefined])
    socket.write(get(path))
    const text = await readUntil(socket, (got) => got.includes('\r\n\r\n'))
    assert.equal(text.toLowerCase().split('\r\ndate: ').length - 1, 1, text.slice(0, 300))
  }
  assert.deepEqual(caller.faults, [])
})

for (const failOpen of [false, true]) {
  test(`an authorizer that nobody can reach ${failOpen ? 'lets pass where it fails open' : 'denies'}`, async (t) => {
    const { dial, servers, callee } = await guarded(t, 'one node', allows, { guard: { failOpen } })
    await new Promise((closed) => servers.get('guard-v1-1')?.close(closed))
    assert.equal((await ask(await dial(), get('/g'))).status, failOpen ? 200 : 403)
    const record = callee.records.find(({ weft_reason: why }) => why === 'CONNECT_REFUSED')
    assert.equal(record?.upstream_cluster, 'outbound|80||guard.default.svc.cluster.local')
  })
}

test('a long body in chunks arrives whole behind the part that was asked about, trailers and all', async (t) => {
  const { dial, asked, seen, callee } = await guarded(t, 'one node', allows, {
    guard: { body: { maxBytes: 1000, allowPartial: true } },
  })
  const socket = await dial()
  const chunk = 'x'.repeat(65_536)
  socket.write('POST /g HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n')
  for (let i = 0; i < 80; i++) socket.write(`10000\r\n${chunk}\r\n`)
  socket.write('0\r\nx-end: 1\r\n\r\n')
  assert.match(await readUntil(socket, (text) => text.includes('by shop')), / 200 /)
  assert.deepEqual([asked[0]?.body.length, asked[0]?.headers['x-envoy-auth-partial-body']], [1000, 'true'])
  assert.equal(seen[0]?.bodyBytes, 80 * 65_536)
  assert.equal((await ask(socket, get('/else'))).status, 200)
  assert.equal(held(callee), 0)
})

test('what a question holds of a body counts for the pod, and is given back', async (t) => {
  let answerLate: (() => void) | null = null
  const { dial, callee } = await guarded(t, 'one node', (_, response) => (answerLate = () => response.end()), {
    guard: { timeoutMs: 5000, body: { maxBytes: 2 ** 20, allowPartial: false } },
  })
  const socket = await dial()
  socket.write(post('/g', 'x'.repeat(2 ** 20)))
  await callee.until(() => answerLate !== null, 'the question')
  assert.ok(held(callee) >= 2 * 2 ** 20, String(held(callee)))
  answerLate!()
  assert.match(await readUntil(socket, (text) => text.includes('by shop')), / 200 /)
  assert.equal(held(callee), 0)
})

test('who goes away once its body was read is not waited for', async (t) => {
  let isAsked = false
  const { dial, seen, callee } = await guarded(t, 'one node', () => (isAsked = true), {
    guard: { timeoutMs: 60_000, body: { maxBytes: 5000, allowPartial: false } },
  })
  const socket = await dial()
  socket.write(post('/g', 'x'.repeat(5000)))
  await callee.until(() => isAsked, 'the question')
  socket.resetAndDestroy()
  await callee.until(
    () => callee.records.filter(({ response_flags: flags }) => flags === 'DC').length === 2,
    'both ends',
  )
  assert.deepEqual([seen.length, held(callee), callee.plane.node.load.size], [0, 0, 0])
  assert.equal(callee.count('weft_ext_authz_total'), 0, 'nobody has answered')
})

/** A caller that is not read any more is not heard to go, as with whoever else holds it back: the question has its time. */
test('who goes away amid a body is waited for no longer than the question may take', async (t) => {
  let isAsked = false
  const { dial, seen, callee } = await guarded(t, 'one node', () => (isAsked = true), {
    guard: { timeoutMs: 300, body: { maxBytes: 1000, allowPartial: true } },
  })
  const socket = await dial()
  socket.write(`POST /g HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\n${'x'.repeat(2000)}`)
  await callee.until(() => isAsked, 'the question')
  socket.resetAndDestroy()
  await callee.until(() => callee.count('weft_ext_authz_total', { result: 'failed' }) === 1, 'the end of its time')
  await callee.until(() => callee.plane.node.live.size === 0, 'the end of the connection')
  assert.deepEqual([seen.length, held(callee), callee.plane.node.load.size], [0, 0, 0])
})

test('many at once are asked about by connections that are kept', async (t) => {
  const { dial, asked, seen, callee } = await guarded(t, 'two nodes', allows, { guard: { timeoutMs: 20_000 } })
  const sockets = await Promise.all(Array.from({ length: 40 }, () => dial()))
  for (let round = 0; round < 3; round++) {
    const answers = await Promise.all(sockets.map((socket) => ask(socket, get('/g'))))
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]))
  }
  assert.deepEqual([asked.length, seen.length], [120, 120])
  assert.equal(callee.count('weft_ext_authz_total', { provider: 'guard', result: 'allowed' }), 120)
  assert.ok(callee.families.length <= 80, `${callee.families.length} sockets to the shop and the authorizer`)
})
