// What the mesh adds to requests and responses, and what it leaves alone: as Istio's sidecars do by default.

import assert from 'node:assert/strict'
import type { IncomingHttpHeaders } from 'node:http'
import { test, type TestContext } from 'node:test'
import { rule, to, world } from '../../agent/model/world.fixture.ts'
import { ask, type Mesh, mesh } from './mesh.ts'

const APP = { ip: '10.96.0.1', port: 80 }
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

function one() {
  return world().service('app').pods('app-v1').pods('web', { behind: [] })
}

/** An application that notes what fields it was sent. */
async function noting(node: Mesh): Promise<IncomingHttpHeaders[]> {
  const seen: IncomingHttpHeaders[] = []
  await node.http('app-v1-1', (request, response) => {
    seen.push(request.headers)
    response.setHeader('server', 'an application')
    if (request.url === '/slow') setTimeout(() => response.end('late'), 150)
    else response.end('ok')
  })
  return seen
}

const get = (headers = '', path = '/'): string => `GET ${path} HTTP/1.1\r\nHost: app\r\n${headers}\r\n`

for (const direction of ['outbound', 'inbound'] as const) {
  const dialled = (node: Mesh) => (direction === 'outbound' ? node.dial('web-1', APP) : node.reach('app-v1-1'))

  test(`${direction}: a request without them gets x-request-id, x-forwarded-proto and what is proved of its caller, and nothing else`, async (t) => {
    const node = mesh(t, one())
    const seen = await noting(node)
    await ask(await dialled(node), get())
    const [headers = {}] = seen
    const proved = direction === 'outbound' ? ['x-forwarded-client-cert'] : [] // who calls from outside is nobody
    assert.deepEqual(Object.keys(headers).sort(), ['host', ...proved, 'x-forwarded-proto', 'x-request-id'])
    assert.equal(headers['x-forwarded-proto'], 'http')
    assert.match(String(headers['x-request-id']), UUID)
    await node.until(() => node.records.length === 1, 'a record')
    assert.equal(node.records[0]?.request_id, headers['x-request-id'])
  })

  test(`${direction}: what a hop ahead has said stays as it is`, async (t) => {
    const node = mesh(t, one())
    const seen = await noting(node)
    const given = 'X-Request-Id: mine\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.1, 192.0.2.2\r\n'
    await ask(await dialled(node), get(`${given}Via: 1.1 gateway\r\nX-Envoy-Original-Path: /o\r\n`))
    const [headers = {}] = seen
    assert.deepEqual(
      ['x-request-id', 'x-forwarded-proto', 'x-forwarded-for', 'via', 'x-envoy-original-path'].map((n) => headers[n]),
      ['mine', 'https', '192.0.2.1, 192.0.2.2', '1.1 gateway', '/o'],
    )
    await node.until(() => node.records.length === 1, 'a record')
    const [record] = node.records
    assert.deepEqual([record?.request_id, record?.x_forwarded_for], ['mine', '192.0.2.1, 192.0.2.2'])
  })

  test(`${direction}: a response is the application's, field by field`, async (t) => {
    const node = mesh(t, one())
    await noting(node)
    const { headers } = await ask(await dialled(node), get())
    assert.equal(headers['server'], 'an application')
    assert.deepEqual(Object.keys(headers).sort(), ['content-length', 'date', 'server'])
  })
}

test('each request without an id gets one of its own', async (t) => {
  const node = mesh(t, one())
  const seen = await noting(node)
  const socket = await node.dial('web-1', APP)
  for (let i = 0; i < 20; i++) await ask(socket, get())
  assert.equal(new Set(seen.map((headers) => headers['x-request-id'])).size, 20)
})

const TIMEOUT = 'x-envoy-upstream-rq-timeout-ms'

async function ruled(t: TestContext, timeoutMs: number | null): Promise<{ node: Mesh; seen: IncomingHttpHeaders[] }> {
  const shop = one().virtualService({ hosts: ['app'], http: [rule({ timeoutMs, destinations: [to('app')] })] })
  const node = mesh(t, shop)
  return { node, seen: await noting(node) }
}

for (const [what, timeoutMs, asked, status] of [
  ['shorter than no time-out', null, '50', 504],
  ['longer than the rule’s', 50, '5000', 200],
  ['for ever', 50, '0', 200],
  ['that is no number', 50, 'soon', 504],
] as const) {
  test(`a time-out that the caller asks for itself, ${what}, is ${status}, and goes no further`, async (t) => {
    const { node, seen } = await ruled(t, timeoutMs)
    const answer = await ask(await node.dial('web-1', APP), get(`${TIMEOUT}: ${asked}\r\n`, '/slow'))
    assert.equal(answer.status, status)
    assert.equal(seen[0]?.[TIMEOUT], undefined)
  })
}

test('a time-out that somebody outside asks of a pod is not heard', async (t) => {
  const { node } = await ruled(t, null)
  assert.equal((await ask(await node.reach('app-v1-1'), get(`${TIMEOUT}: 50\r\n`, '/slow'))).status, 200)
})
