// What a DestinationRule says of requests to a host, end to end: who serves, on which connections, and how many at once.

import assert from 'node:assert/strict'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { test, type TestContext } from 'node:test'
import type { HttpRule, Retries } from '../../agent/model/policy.ts'
import { pool } from '../../agent/model/traffic-policy.fixture.ts'
import type { LoadBalancing, OutlierDetection } from '../../agent/model/traffic-policy.ts'
import { match, to, type PolicyWish, type World, world } from '../../agent/model/world.fixture.ts'
import { ask, type Mesh, mesh } from './mesh.ts'

const APP = { ip: '10.96.0.1', port: 80 }
const GET = 'GET / HTTP/1.1\r\nHost: app\r\n\r\n'
const UNSAID: LoadBalancing = { simple: null, hash: null, locality: null, warmup: null }
const OUTLIERS: OutlierDetection = {
  ...{ consecutive5xx: 2, consecutiveGateway: 0, consecutiveLocal: 5, splitsLocal: false, codes: [] },
  ...{ intervalMs: 10_000, baseEjectionMs: 30_000, maxEjectionPercent: 100, minHealthPercent: 0 },
}
const RETRIES: Retries = {
  ...{ attempts: 3, perTryMs: null, on: ['5xx'], statuses: [], backoffMs: 40 },
  ...{ ignorePrevious: null, remoteLocalities: null },
}

/** A pod in each of three places, of which the first is the caller's. */
const shop = (policy: PolicyWish, http: Partial<HttpRule> = {}): World =>
  world()
    .node('node-1', 'eu/a')
    .node('node-2', 'eu/b')
    .node('node-3', 'us/a')
    .service('app')
    .pods('app-v1')
    .pods('app-v2', { node: 'node-2' })
    .pods('app-v3', { node: 'node-3' })
    .pods('web', { behind: [] })
    .destinationRule({ host: 'app', policy })
    .virtualService({ hosts: ['app'], http: [{ destinations: [to('app')], ...http }] })

type Serve = (version: string, response: ServerResponse, request: IncomingMessage) => void

const ok: Serve = (version, response) => void response.end(version)

/** Each version answers as it is told to. */
async function served(t: TestContext, places: World, serve: Serve = ok): Promise<Mesh> {
  const node = mesh(t, places, { captured: ['web-1'] })
  for (const version of ['v1', 'v2', 'v3']) {
    await node.http(`app-${version}-1`, (request, response) => serve(version, response, request))
  }
  return node
}

async function askOften(node: Mesh, times: number, head = ''): Promise<{ status: number; body: string }[]> {
  const socket = await node.dial('web-1', APP)
  const answers: { status: number; body: string }[] = []
  for (let i = 0; i < times; i++) answers.push(await ask(socket, GET.replace('\r\n\r\n', `\r\n${head}\r\n`)))
  return answers
}

const bodies = (answers: readonly { body: string }[]): string[] => [...new Set(answers.map(({ body }) => body))].sort()

test('a cookie is issued once, and who brings it back has one endpoint; who brings none has any', async (t) => {
  const by = { kind: 'cookie', name: 'user', path: '/', ttlSeconds: 60, attributes: [['SameSite', 'Lax']] } as const
  const hash = { by, algorithm: { kind: 'ring', minimumSize: 1024 } } as const
  const node = await served(t, shop({ balancing: { ...UNSAID, hash } }))
  const seen = new Map<string, string>()
  for (let user = 0; user < 12; user++) {
    const first = await ask(await node.dial('web-1', APP), GET)
    const issued = first.headers['set-cookie'] ?? ''
    const cookie = /^(user="[^"]+"); Max-Age=60; Path=\/; SameSite=Lax; HttpOnly$/.exec(issued)?.[1]
    assert.ok(cookie, issued)
    seen.set(cookie, first.body)
    const again = await ask(
      await node.dial('web-1', APP),
      GET.replace('\r\n\r\n', `\r\nCookie: a=b; ${cookie}\r\n\r\n`),
    )
    assert.deepEqual([again.body, again.headers['set-cookie']], [first.body, undefined])
  }
  assert.equal(seen.size, 12)
  assert.deepEqual([...new Set(seen.values())].sort(), ['v1', 'v2', 'v3'])
})

for (const [what, kind, head, other] of [
  ['a header', { kind: 'header', name: 'x-user' }, 'X-User: ann\r\n', ''],
  ['the caller’s address', { kind: 'source-ip' }, '', null],
] as const) {
  test(`requests alike in ${what} have one endpoint, by a Maglev table too`, async (t) => {
    const hash = { by: kind, algorithm: { kind: 'maglev', tableSize: 251 } } as const
    const node = await served(t, shop({ balancing: { ...UNSAID, hash } }))
    assert.equal(bodies(await askOften(node, 12, head)).length, 1)
    if (other !== null) assert.equal(bodies(await askOften(node, 24, other)).length, 3)
  })
}

test('the caller’s own place serves, and the next one where it fails', async (t) => {
  let isWell = true
  const node = await served(t, shop({ outliers: OUTLIERS }), (version, response) => {
    response.statusCode = version === 'v1' && !isWell ? 500 : 200
    response.end(version)
  })
  assert.deepEqual(bodies(await askOften(node, 12)), ['v1'])
  isWell = false
  const failed = await askOften(node, 2)
  assert.deepEqual(
    failed.map(({ status }) => status),
    [500, 500],
  )
  assert.deepEqual(bodies(await askOften(node, 12)), ['v2'], 'the zone beside it, and not yet the other region')
  assert.equal(node.count('weft_outlier_ejections_total', { cause: 'consecutive_5xx' }), 1)
})

test('localities have the shares that a rule gives them', async (t) => {
  const to = [
    { locality: 'eu/b', weight: 75 },
    { locality: 'us/*', weight: 25 },
  ]
  const locality = { enabled: true, distribute: [{ from: 'eu/a', to }], failover: [], failoverPriority: [] }
  const node = await served(t, shop({ balancing: { ...UNSAID, locality } }))
  const answers = await askOften(node, 400)
  const near = answers.filter(({ body }) => body === 'v2').length
  assert.deepEqual(bodies(answers), ['v2', 'v3'])
  assert.ok(Math.abs(near - 300) < 45, `${near} of 400`) // five times the standard deviation
})

for (const [remoteLocalities, versions] of [
  [false, 'v1'],
  [true, 'v1,v2,v3'],
] as const) {
  test(`retries ask ${versions} where retryRemoteLocalities is ${remoteLocalities}`, async (t) => {
    const seen: string[] = []
    const rule = { retries: { ...RETRIES, attempts: 1, backoffMs: 1, remoteLocalities, ignorePrevious: false } }
    const places = shop({ outliers: { ...OUTLIERS, consecutive5xx: 0 } }, rule)
    const node = await served(t, places, (version, response) => {
      seen.push(version)
      response.statusCode = 500
      response.end()
    })
    await askOften(node, 24)
    assert.equal([...new Set(seen)].sort().join(), versions)
  })
}

test('a connection serves as many requests as it may, and is closed behind the last', async (t) => {
  const sockets = new Map<unknown, number>()
  const places = shop({ pool: pool({ maxPerConnection: 3 }) })
    .end('app-v2-1', 'gone')
    .end('app-v3-1', 'gone')
  const node = mesh(t, places, { captured: ['web-1'] })
  await node.http('app-v1-1', ({ socket }, response) => {
    sockets.set(socket, (sockets.get(socket) ?? 0) + 1)
    response.end()
  })
  await askOften(node, 8)
  assert.deepEqual([...sockets.values()], [3, 3, 2])
})

for (const [httpIdleMs, connections] of [
  [30, 2],
  [5000, 1],
] as const) {
  test(`an unused connection is kept as long as its rule says: ${httpIdleMs} ms`, async (t) => {
    const sockets = new Set<unknown>()
    const places = shop({ pool: pool({ httpIdleMs }) })
      .end('app-v2-1', 'gone')
      .end('app-v3-1', 'gone')
    const node = mesh(t, places, { captured: ['web-1'] })
    await node.http('app-v1-1', ({ socket }, response) => {
      sockets.add(socket)
      response.end()
    })
    const socket = await node.dial('web-1', APP)
    await ask(socket, GET)
    await new Promise((resolve) => setTimeout(resolve, 200))
    await ask(socket, GET)
    assert.equal(sockets.size, connections)
  })
}

test('more requests than may be under way are 503 UO at once', async (t) => {
  const held: ServerResponse[] = []
  const node = await served(t, shop({ pool: pool({ maxRequests: 2 }) }), (_, response) => void held.push(response))
  const asking = [0, 1].map(async () => ask(await node.dial('web-1', APP), GET))
  await node.until(() => held.length === 2, 'two are under way')
  const [refused] = await askOften(node, 1)
  assert.deepEqual([refused?.status, refused?.body.split(':', 1)[0]], [503, 'OVERFLOW'])
  for (const response of held) response.end('served')
  assert.deepEqual(bodies(await Promise.all(asking)), ['served'])
  await node.until(() => node.records.length === 3, 'three records')
  assert.equal(node.records[0]?.response_flags, 'UO')
  assert.equal(node.count('weft_overflow_total', { limit: 'requests' }), 1)
})

for (const [limit, policy] of [
  ['retries', { pool: pool({ maxRetries: 1 }) }],
  ['retry_budget', { retryBudget: { percent: 0, minConcurrency: 1, intervalMs: 0 } }],
] as const) {
  test(`retries beyond what may be under way are not made: ${limit}`, async (t) => {
    let asked = 0
    const node = await served(t, shop(policy, { retries: RETRIES }), (_, response) => {
      asked++
      response.statusCode = 503
      response.end('busy')
    })
    const answers = await Promise.all([0, 1, 2].map(async () => ask(await node.dial('web-1', APP), GET)))
    assert.deepEqual(bodies(answers), ['busy'], 'what the try before came to')
    assert.equal(node.count('weft_overflow_total', { limit }), 2, 'one has its three retries')
    assert.equal(asked, 3 + 3)
    await node.until(() => node.records.length === 3, 'three records')
    assert.deepEqual(node.records.map(({ response_flags: flags }) => flags).sort(), ['UO', 'UO', 'URX'])
  })
}

test('the record has the names of the rule and of the entry that matched, and of a rule that delegates', async (t) => {
  const prefix = (name: string, value: string) => [match({ name, uri: { kind: 'prefix', value } })]
  const instead = { kind: 'delegate', namespace: 'default', name: 'team' } as const
  const destinations = [to('app')]
  const rewrite = { uri: null, authority: null, regex: { match: '^/x/', by: '/' } }
  const places = shop({}, { name: 'shop', matches: prefix('', '/x/'), instead, destinations: [] })
  places.virtualService({
    ...{ name: 'team', hosts: [] },
    http: [{ name: 'cart', matches: prefix('v2', '/x/cart'), destinations, rewrite }],
  })
  const node = await served(t, places, (_, response, request) => void response.end(request.url))
  const answer = await ask(await node.dial('web-1', APP), GET.replace(' / ', ' /x/cart?a=b '))
  assert.equal(answer.body, '/cart?a=b')
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.route_name, 'shop-cart.v2')
})
