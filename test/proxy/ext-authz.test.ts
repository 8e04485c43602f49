// CUSTOM policies: an authorizer is asked before a request goes on, and its word counts.

import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ask, ending, readUntil } from './mesh.ts'
import { allows, type Asked, GUARD, GUARDED, guarded, post } from './guarded.ts'
import { DB, get, PLACES } from './shop.ts'

for (const place of PLACES) {
  test(`${place}: what the authorizer allows goes on, with the headers that it gives`, async (t) => {
    const { dial, asked, seen, callee } = await guarded(
      t,
      place,
      (_, response) =>
        response
          .writeHead(200, { 'x-user': 'ann', 'x-other': 'kept back', 'set-cookie': ['a=1', 'b=2'] })
          .end('read by nobody'),
      {
        guard: {
          pathPrefix: '/check',
          includeRequestHeadersInCheck: ['cookie', 'x-in-*'],
          includeAdditionalHeadersInCheck: [['x-mesh', 'weft']],
          headersToUpstreamOnAllow: ['x-user'],
          headersToDownstreamOnAllow: ['set-cookie'],
        },
      },
    )
    const socket = await dial()
    const answer = await ask(
      socket,
      get('/g?a=b', 'cookie: c', 'x-in-a: 1', 'x-out: 2', 'authorization: Basic x', 'x-user: forged'),
    )
    assert.deepEqual([answer.status, answer.body, answer.headers['set-cookie']], [200, 'by shop-v1-1', 'b=2'])
    assert.deepEqual(
      [seen[0]?.url, seen[0]?.headers['x-user'], seen[0]?.headers['x-other']],
      ['/g?a=b', 'ann', undefined],
    )
    const { method, url, headers } = asked[0]!
    assert.deepEqual([method, url, headers.host], ['GET', '/check/g?a=b', 'shop'])
    const { cookie, authorization, 'x-in-a': own, 'x-out': out, 'x-mesh': mesh, 'content-length': length } = headers
    assert.deepEqual([cookie, authorization, own, out, mesh, length], ['c', 'Basic x', '1', undefined, 'weft', '0'])
    assert.equal((await ask(socket, get('/else'))).status, 200)
    assert.equal(asked.length, 1, 'about what the policy matches alone')
    assert.equal(callee.count('weft_ext_authz_total', { provider: 'guard', result: 'allowed' }), 1)
    const by = callee.records.find(({ path }) => path === '/check/g?a=b')
    assert.equal(by?.weft_source_workload, 'shop-v1', 'asked by the pod that is called')
  })

  test(`${place}: what it denies is answered as it says`, async (t) => {
    const { dial, seen, callee } = await guarded(t, place, (_, response) => {
      response
        .writeHead(401, { 'www-authenticate': 'Basic', 'x-why': 'no pass', 'content-type': 'text/html' })
        .end('<p>no</p>')
    })
    const answer = await ask(await dial(), get('/g'))
    assert.deepEqual([answer.status, answer.body, answer.headers['x-why']], [401, '<p>no</p>', 'no pass'])
    assert.deepEqual([answer.headers['www-authenticate'], answer.headers['content-type']], ['Basic', 'text/html'])
    assert.deepEqual(seen, [])
    await callee.until(
      () => callee.count('weft_authz_denied_total', { reason: 'authorizer', policy: 'ap-1' }) === 1,
      'a count',
    )
    const record = callee.records.find(({ response_flags: flags }) => flags === 'UAEX')
    assert.deepEqual([record?.response_code_details, record?.weft_policy], ['ext_authz_denied', 'default/ap-1'])
  })
}

test('of a denial those headers go on that are named, and those that a login needs', async (t) => {
  const fields = { 'www-authenticate': 'Basic', location: '/login', 'x-why': 'no', 'x-secret': 's' }
  const { dial } = await guarded(t, 'one node', (_, response) => response.writeHead(302, fields).end(), {
    guard: { headersToDownstreamOnDeny: ['x-w*'] },
  })
  const { status, headers } = await ask(await dial(), get('/g'))
  assert.deepEqual(
    [status, headers['location'], headers['www-authenticate'], headers['x-why'], headers['x-secret']],
    [302, '/login', 'Basic', 'no', undefined],
  )
})

const FAILURES: readonly [name: string, answer: (asked: Asked, response: ServerResponse) => unknown][] = [
  ['answers 503', (_, response) => response.writeHead(503).end()],
  ['is late', (_, response) => sleep(1000).then(() => response.end())],
  ['breaks off', (_, response) => response.socket?.destroy()],
]
for (const [name, answer] of FAILURES) {
  for (const failOpen of [false, true]) {
    test(`an authorizer that ${name} ${failOpen ? 'lets pass where it fails open' : 'is answered as its provider says'}`, async (t) => {
      const guard = { failOpen, statusOnError: 503 }
      const { dial, seen, callee } = await guarded(t, 'one node', answer, { guard })
      assert.equal((await ask(await dial(), get('/g'))).status, failOpen ? 200 : 503)
      assert.equal(seen.length, failOpen ? 1 : 0)
      assert.equal(callee.count('weft_ext_authz_total', { result: 'failed' }), 1)
    })
  }
}

test('an authorizer that nobody knows, or that is nowhere, denies', async (t) => {
  const unknown = [{ host: 'gone.default.svc.cluster.local' }, { port: 81 }, { name: 'other' }]
  const setting = await guarded(t, 'one node', allows)
  for (const guard of unknown) {
    setting.world.settings({ authorizers: [{ ...GUARD, ...guard }] })
    setting.apply()
    assert.equal((await ask(await setting.dial(), get('/g'))).status, 403, JSON.stringify(guard))
  }
  assert.deepEqual(setting.seen, [])
})

test('a body goes along as far as it may, and on to the application whole', async (t) => {
  const body = { maxBytes: 1000, allowPartial: true }
  const { dial, asked, seen } = await guarded(t, 'one node', allows, { guard: { body } })
  const long = 'x'.repeat(300_000)
  for (const [text, partial] of [
    ['short', 'false'],
    ['y'.repeat(1000), 'false'],
    ['z'.repeat(1001), 'true'],
    [long, 'true'],
  ] as const) {
    const answer = await ask(await dial(), post('/g', text))
    assert.equal(answer.status, 200)
    const last = asked.at(-1)!
    assert.deepEqual([last.body, last.headers['x-envoy-auth-partial-body']], [text.slice(0, 1000), partial])
    assert.equal(seen.at(-1)?.bodyBytes, text.length)
  }
  const chunked =
    'POST /g HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n'
  assert.equal((await ask(await dial(), chunked)).status, 200)
  assert.equal(asked.at(-1)?.body, 'abcdefg')
  const waiting = await dial()
  waiting.write('POST /g HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n')
  assert.match(await readUntil(waiting, (text) => text.endsWith('\r\n\r\n')), /^HTTP\/1\.1 100 /)
  assert.equal((await ask(waiting, 'hello')).status, 200)
  assert.equal(asked.at(-1)?.body, 'hello')
})

test('a body that is too long to be asked about is refused where a part will not do', async (t) => {
  const body = { maxBytes: 10, allowPartial: false }
  const { dial, seen, asked } = await guarded(t, 'one node', allows, { guard: { body } })
  assert.equal((await ask(await dial(), post('/g', 'x'.repeat(11)))).status, 413)
  assert.deepEqual([seen.length, asked.length], [0, 0])
  assert.equal((await ask(await dial(), post('/g', 'x'.repeat(10)))).status, 200)
})

test('who goes away meanwhile is not waited for, and the next request is asked about by a kept connection', async (t) => {
  let answerLate: (() => void) | null = null
  const { dial, seen, callee } = await guarded(
    t,
    'one node',
    (asked, response) => {
      if (asked.url === '/g/late') answerLate = () => response.end()
      else response.end()
    },
    { guard: { timeoutMs: 5000 } },
  )
  const socket: Socket = await dial()
  socket.write(get('/g/late'))
  await callee.until(() => answerLate !== null, 'the question')
  socket.resetAndDestroy()
  await callee.until(
    () => callee.records.some(({ path, response_flags: flags }) => path === '/g/late' && flags === 'DC'),
    'its end',
  )
  answerLate!()
  const again = await dial()
  for (let i = 0; i < 3; i++) assert.equal((await ask(again, get('/g'))).status, 200)
  assert.deepEqual(
    seen.map(({ url }) => url),
    ['/g', '/g', '/g'],
  )
})

test('so many questions are under way as may be', async (t) => {
  const waiting: ServerResponse[] = []
  const { dial, callee } = await guarded(t, 'one node', (_, response) => waiting.push(response), {
    guard: { timeoutMs: 5000 },
    limits: { podQuestions: 2 },
  })
  const sockets = await Promise.all([dial(), dial()])
  for (const socket of sockets) socket.write(get('/g'))
  await callee.until(() => waiting.length === 2, 'both questions')
  assert.equal((await ask(await dial(), get('/g'))).status, 403)
  for (const response of waiting) response.end()
  for (const socket of sockets) assert.match(await readUntil(socket, (text) => text.includes('by shop')), / 200 /)
})

test('a question is not asked about, whatever policies stand before the authorizer', async (t) => {
  const { dial, asked } = await guarded(t, 'one node', allows, {
    more: (of) => of.authorizationPolicy({ ...GUARDED, selector: { app: 'guard' } }),
  })
  assert.equal((await ask(await dial(), get('/g'))).status, 200)
  assert.equal(asked.length, 1)
})

test('the authorizer’s own policies are judged as of the pod that is called', async (t) => {
  const nobody = { action: 'DENY', selector: { app: 'guard' }, rules: [{ from: [], to: [], when: [] }] } as const
  const { dial, asked } = await guarded(t, 'one node', allows, { more: (of) => of.authorizationPolicy(nobody) })
  assert.equal((await ask(await dial(), get('/g'))).status, 403)
  assert.deepEqual(asked, [])
})

test('bytes that nobody reads are not let pass where somebody would have to be asked', async (t) => {
  const { dial } = await guarded(t, 'one node', allows)
  assert.equal(await ending(dial(DB)), 'reset')
})
