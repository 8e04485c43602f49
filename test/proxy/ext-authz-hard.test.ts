// CUSTOM policies under callers, and authorizers, that mean no good.

import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Condition } from '../../agent/model/authorization/policy.ts'
import { rule, to } from '../../agent/model/world.fixture.ts'
import { ask, parseAnswer, readUntil } from './mesh.ts'
import { allows, GUARD, GUARDED, guarded, post } from './guarded.ts'
import { get, PLACES } from './shop.ts'

const MB = 1024 * 1024

function header(name: string, value: string): Condition {
  return { field: 'test', attribute: { kind: 'request.header', name }, values: [value], notValues: [] }
}

for (const providers of [1, 2]) {
  test(`a body is not read on while ${providers === 1 ? 'an authorizer is' : 'a second authorizer is'} waited for`, async (t) => {
    const waiting: ServerResponse[] = []
    const body = { maxBytes: 1000, allowPartial: true }
    const other = { ...GUARD, name: 'other', body, timeoutMs: 10_000 }
    const { dial, seen, callee, world } = await guarded(
      t,
      'one node',
      (_, response) => {
        if (waiting.length < providers - 1) response.end()
        waiting.push(response)
      },
      {
        guard: { body, timeoutMs: 10_000 },
        more: (of) => {
          if (providers === 1) return of
          return of
            .settings({ authorizers: [{ ...GUARD, body, timeoutMs: 10_000 }, other] })
            .authorizationPolicy({ ...GUARDED, provider: 'other' })
        },
      },
    )
    const socket = await dial()
    const size = 64 * MB
    const head = `POST /g HTTP/1.1\r\nHost: shop\r\nContent-Length: ${size}\r\n\r\n`
    socket.write(Buffer.concat([Buffer.from(head), Buffer.alloc(32 * 1024)]))
    socket.write(Buffer.alloc(size - 32 * 1024))
    await callee.until(() => waiting.length === providers, 'the last question')
    await sleep(300)
    const held = callee.plane.node.pods.get(world.pod('web-1').uid)!.budget.held
    assert.ok(held < 2 * MB, `${held} bytes are held`)
    waiting.at(-1)?.end()
    assert.match(await readUntil(socket, (text) => text.includes('by shop')), / 200 /)
    assert.equal(seen[0]?.bodyBytes, size)
  })
}

test('what nobody can be asked about is denied, also where an authorizer fails open', async (t) => {
  const guard = { failOpen: true, includeRequestHeadersInCheck: ['*'] }
  const { dial, seen, asked } = await guarded(t, 'one node', allows, {
    guard: { ...guard, pathPrefix: `/${'p'.repeat(10_000)}` },
    more: (of) => of.authorizationPolicy({ ...GUARDED, rules: [{ from: [], to: [], when: [] }] }),
  })
  assert.equal((await ask(await dial(), 'CONNECT shop:80 HTTP/1.1\r\nHost: shop:80\r\n\r\n')).status, 403)
  assert.equal((await ask(await dial(), get('/g', `x-long: ${'x'.repeat(58_000)}`))).status, 403)
  assert.deepEqual([seen, asked], [[], []])
})

for (const place of PLACES) {
  test(`${place}: letters beyond ASCII reach an authorizer, an application and a caller as they were sent`, async (t) => {
    const name = Buffer.from('Zoë 雪').toString('latin1')
    const { dial, asked, seen } = await guarded(
      t,
      place,
      ({ url }, response) => {
        const fields = { 'x-user': name, 'x-told': name, date: 'Thu, 01 Jan 1970 00:00:00 GMT' }
        response.writeHead(url === '/g/no' ? 401 : 200, fields).end()
      },
      {
        guard: {
          includeRequestHeadersInCheck: ['*'],
          includeAdditionalHeadersInCheck: [['x-more', 'Zoë 雪']],
          headersToUpstreamOnAllow: ['x-user'],
          headersToDownstreamOnAllow: ['x-told'],
        },
        more: (of) =>
          of.authorizationPolicy({
            action: 'DENY',
            selector: { app: 'shop' },
            rules: [{ from: [], to: [], when: [header('x-user', 'Zoë*'), header('x-deny', 'yes')] }],
          }),
      },
    )
    const socket = await dial()
    const id = 'x-request-id: one'
    socket.write(get('/g', 'x-mine: Zoë 雪', id))
    const answer = parseAnswer(await readUntil(socket, (text) => text.includes('by shop')))
    assert.deepEqual([answer.status, answer.headers['x-told']], [200, name])
    const { 'x-mine': mine, 'x-more': more, 'x-request-id': told } = asked[0]!.headers
    assert.deepEqual([mine, more, told], [name, name, 'one'])
    assert.deepEqual([seen[0]?.headers['x-mine'], seen[0]?.headers['x-user']], [name, name])
    assert.equal((await ask(socket, get('/g', 'x-deny: yes'))).body, 'RBAC: access denied', 'judged as it is sent')
    socket.write(get('/g/no'))
    const denial = await readUntil(socket, (text) => text.endsWith('\r\n\r\n'))
    assert.match(denial, new RegExp(`x-told: ${name}\r\n`))
    assert.equal(denial.match(/^date: /gim)?.length, 1)
  })
}

test('no caller says how much of a body was asked about', async (t) => {
  const body = { maxBytes: 3, allowPartial: true }
  const guard = { body, includeRequestHeadersInCheck: ['*'] }
  const { dial, asked } = await guarded(t, 'one node', allows, { guard })
  await ask(await dial(), post('/g', 'long', 'x-envoy-auth-partial-body: false'))
  assert.equal(asked[0]?.headers['x-envoy-auth-partial-body'], 'true')
})

test('what an authorizer has said of one try is not told of another', async (t) => {
  const other = { serviceAccount: 'shop', node: 'node-2', captured: 'weft-agent-b', behind: ['shop'] }
  const defaults = { perTryMs: null, statuses: [], ignorePrevious: null, remoteLocalities: null }
  const { dial, servers, asked } = await guarded(
    t,
    'one node',
    (_, response) => response.writeHead(200, { 'x-told': 'guarded' }).end(),
    {
      guard: { headersToDownstreamOnAllow: ['x-told'] },
      more: (of) =>
        of.pods('shop-v2', { ...other, labels: { app: 'open' } }).virtualService({
          hosts: ['shop'],
          http: [
            rule({ destinations: [to('shop')], retries: { ...defaults, attempts: 1, on: ['5xx'], backoffMs: 1 } }),
          ],
        }),
    },
  )
  servers
    .get('shop-v1-1')!
    .removeAllListeners('request')
    .on('request', (_, response: ServerResponse) => {
      response.writeHead(503).end()
    })
  for (let i = 0; i < 10; i++) {
    const { body, headers } = await ask(await dial(), get('/g'))
    assert.deepEqual([body, headers['x-told']], ['by shop-v2-1', undefined])
  }
  assert.notEqual(asked.length, 0)
})

test('authorizers that guard each other do not ask for ever', async (t) => {
  const other = { ...GUARD, name: 'other', host: 'other.default.svc.cluster.local' }
  const rules = [{ from: [], to: [], when: [] }]
  const { dial, asked, seen } = await guarded(t, 'one node', allows, {
    more: (of) =>
      of
        .service('other')
        .pods('other-v1', { serviceAccount: 'other', node: 'node-2', captured: 'weft-agent-b' })
        .settings({ authorizers: [GUARD, other] })
        .authorizationPolicy({ ...GUARDED, provider: 'other', selector: { app: 'guard' }, rules })
        .authorizationPolicy({ ...GUARDED, provider: 'guard', selector: { app: 'other' }, rules }),
  })
  assert.equal((await ask(await dial(), get('/g'))).status, 200)
  assert.deepEqual([asked.length, seen.map(({ url }) => url)], [1, ['/g', '/g']])
})

test('a question is put once more where a kept connection had been closed', async (t) => {
  let isClosing = false
  const { dial, asked } = await guarded(t, 'one node', (_, response) => {
    if (isClosing) response.socket?.destroy()
    else response.end()
    isClosing = false
  })
  const socket = await dial()
  assert.equal((await ask(socket, get('/g'))).status, 200)
  isClosing = true
  assert.equal((await ask(socket, get('/g'))).status, 200)
  assert.equal(asked.length, 3)
})

test('an authorizer is asked where it can be reached', async (t) => {
  const { dial, servers, callee } = await guarded(t, 'one node', allows, {
    more: (of) => of.pods('guard-v2', { serviceAccount: 'guard', node: 'node-2', behind: ['guard'] }),
  })
  servers.get('guard-v2-1')!.close()
  for (let i = 0; i < 10; i++) assert.equal((await ask(await dial(), get('/g'))).status, 200)
  assert.notEqual(callee.count('weft_retries_total'), 0)
})
