// Copies of requests: what mirrors get, and that nothing of them reaches who asked.

import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { HttpRule } from '../../agent/model/policy.ts'
import { pool } from '../../agent/model/traffic-policy.fixture.ts'
import { type PolicyWish, rule, to, world } from '../../agent/model/world.fixture.ts'
import type { Limits } from '../../agent/proxy/plane/limits.ts'
import type { OutlierDetection } from '../../agent/model/traffic-policy.ts'
import { ask, type Mesh, mesh } from './mesh.ts'

const SHOP = { ip: '10.96.0.1', port: 80 }
const get = (path = '/'): string => `GET ${path} HTTP/1.1\r\nHost: shop\r\n\r\n`
const post = (body: string): string => `POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: ${body.length}\r\n\r\n${body}`

/** Three failures in a row, of whoever. */
const OUTLIERS: OutlierDetection = {
  ...{ consecutive5xx: 3, consecutiveGateway: 0, consecutiveLocal: 0, splitsLocal: false, codes: [] },
  ...{ intervalMs: 10_000, baseEjectionMs: 30_000, maxEjectionPercent: 100, minHealthPercent: 0 },
}

interface Seen {
  readonly url: string | undefined
  readonly headers: NodeJS.Dict<string | string[]>
  readonly body: string
}

interface Setting {
  readonly limits?: Partial<Limits>
  readonly captured?: readonly string[]
  readonly strict?: boolean
  /** How the mirror is talked to. */
  readonly policy?: PolicyWish
  /** What the mirror does with a request, besides noting it. */
  readonly does?: (end: () => void) => void
}

const DESTINATION = { host: 'copy.default.svc.cluster.local', subset: null, port: null }

/** A shop whose requests are copied; where the mirror is `dead`, nobody listens there. */
async function mirrored(t: TestContext, percent: number, wish: Partial<HttpRule> = {}, how: Setting = {}) {
  const built = world().service('shop').service('copy').pods('shop-v1').pods('copy-v1').pods('web', { behind: [] })
  if (how.strict === true) built.peerAuthentication({ mode: 'STRICT' })
  if (how.policy !== undefined) built.destinationRule({ host: 'copy', policy: how.policy })
  const mirrors = [{ destination: DESTINATION, percent }]
  built.virtualService({ hosts: ['shop'], http: [rule({ mirrors, destinations: [to('shop')], ...wish })] })
  const { limits = {}, captured, does = (end) => end() } = how
  const node = mesh(t, built, { limits, ...(captured === undefined ? {} : { captured }) })
  const [asked, seen]: [Seen[], Seen[]] = [[], []]
  const noting = (into: Seen[], then: (end: () => void) => void) => async (pod: string) => {
    await node.http(pod, (request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        into.push({ url: request.url, headers: request.headers, body: Buffer.concat(chunks).toString() })
        then(() => response.end('answered'))
      })
    })
  }
  await noting(asked, (end) => end())('shop-v1-1')
  return { node, asked, seen, listen: () => noting(seen, does)('copy-v1-1') }
}

const results = (node: Mesh): Record<string, number> =>
  Object.fromEntries(
    ['answered', 'failed', 'timed-out', 'given-up', 'dropped']
      .map((result) => [result, node.count('weft_mirrors_total', { result })] as const)
      .filter(([, count]) => count > 0),
  )

test('a mirror gets the request as it leaves, with body and fields, and has its line and its count at its own end', async (t) => {
  const request = { remove: [], set: [['x-rule', '1'] as const], add: [] }
  const { node, asked, seen, listen } = await mirrored(t, 100, {
    headers: { request, response: null },
    rewrite: { uri: '/new/', authority: 'elsewhere', regex: null },
  })
  await listen()
  const socket = await node.dial('web-1', SHOP)
  assert.equal((await ask(socket, post('a body'))).body, 'answered')
  await node.until(() => results(node)['answered'] === 1, 'an answer of the mirror')
  assert.deepEqual(seen, asked)
  const [copy] = seen
  assert.deepEqual(
    [copy?.url, copy?.body, copy?.headers['x-rule'], copy?.headers['host']],
    ['/new/', 'a body', '1', 'elsewhere'],
  )
  await node.until(() => node.records.length === 2, 'two records')
  const line = node.records.find(({ weft_mirror: is }) => is === true)
  assert.deepEqual(
    [line?.upstream_cluster, line?.response_code, line?.bytes_received, line?.bytes_sent, line?.path, line?.authority],
    ['outbound|80||copy.default.svc.cluster.local', 200, 6, 8, '/new/', 'elsewhere'],
  )
  assert.equal(line?.request_id, node.records.find((record) => record !== line)?.request_id)
  const labels = (reporter: string, name: string) => ({
    reporter,
    destination_service_name: name,
    response_code: '200',
  })
  assert.deepEqual(
    ['source', 'destination'].flatMap((reporter) =>
      ['shop', 'copy'].map((name) => node.count('istio_requests_total', labels(reporter, name))),
    ),
    [1, 0, 1, 1],
  )
  assert.deepEqual(node.faults, [])
})

test('chunks and trailers are copied, and connections to a mirror are kept', async (t) => {
  const { node, asked, seen, listen } = await mirrored(t, 100)
  await listen()
  const socket = await node.dial('web-1', SHOP)
  for (const count of [1, 2]) {
    const head = 'POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n'
    await ask(socket, `${head}3\r\nabc\r\n4\r\ndefg\r\n0\r\nx-end: 1\r\n\r\n`)
    await node.until(() => results(node)['answered'] === count, 'an answer of the mirror')
  }
  assert.deepEqual(seen, asked)
  assert.equal(seen[0]?.body, 'abcdefg')
  assert.equal(node.families.length, 4 - 2, 'one connection each, kept for the second request')
})

for (const [percent, count] of [
  [0, 0],
  [100, 5],
] as const) {
  // prettier-ignore
  test(`at ${percent} percent ${count} of 5 requests are copied`, async (t) => {
    const { node, seen, listen } = await mirrored(t, percent)
    await listen()
    const socket = await node.dial('web-1', SHOP)
    for (let i = 0; i < 5; i++) await ask(socket, get())
    await node.until(() => (results(node)['answered'] ?? 0) === count, 'the answers')
    assert.equal(seen.length, count)
  })
}

test('a mirror that is slow holds nobody back, and is given its time', async (t) => {
  const { node, listen } = await mirrored(t, 100, { timeoutMs: 300 }, { does: () => {} })
  await listen()
  const socket = await node.dial('web-1', SHOP)
  for (let i = 0; i < 5; i++) assert.equal((await ask(socket, get())).status, 200)
  assert.deepEqual(results(node), {})
  socket.end()
  await node.until(() => results(node)['timed-out'] === 5, 'the end of their time')
  await node.until(() => node.records.filter(({ weft_mirror: is }) => is).length === 5, 'their lines')
  assert.equal(node.plane.node.load.size, 0)
})

test('a mirror where nobody listens is a failure of its own', async (t) => {
  const { node } = await mirrored(t, 100)
  const socket = await node.dial('web-1', SHOP)
  assert.equal((await ask(socket, get())).status, 200)
  await node.until(() => results(node)['failed'] === 1, 'a failure')
  const line = node.records.find(({ weft_mirror: is }) => is)
  assert.deepEqual([line?.weft_reason, line?.response_code], ['CONNECT_REFUSED', 0])
  assert.equal(node.count('weft_failures_total'), 0)
  assert.equal(node.count('istio_requests_total', { reporter: 'source', response_flags: '-' }), 1)
})

test('a mirror is judged for itself: under STRICT one that is not captured is refused', async (t) => {
  const { node, seen, listen } = await mirrored(t, 100, {}, { strict: true, captured: ['web-1', 'shop-v1-1'] })
  await listen()
  const socket = await node.dial('web-1', SHOP)
  assert.equal((await ask(socket, get())).status, 200)
  await node.until(() => results(node)['failed'] === 1, 'a refusal')
  assert.equal(node.records.find(({ weft_mirror: is }) => is)?.weft_reason, 'UPSTREAM_NOT_SECURED')
  assert.equal(seen.length, 0)
})

test('a body that is too long to be kept is not copied, and arrives', async (t) => {
  const { node, asked, seen, listen } = await mirrored(t, 100)
  await listen()
  const socket = await node.dial('web-1', SHOP)
  const body = 'x'.repeat(1024 * 1024 + 1)
  assert.equal((await ask(socket, post(body))).status, 200)
  assert.equal(asked[0]?.body.length, body.length)
  await ask(socket, post(body.slice(1)))
  await node.until(() => results(node)['answered'] === 1, 'the one that is as long as it may be')
  assert.deepEqual(results(node), { 'given-up': 1, answered: 1 })
  assert.deepEqual(seen.map((copy) => copy.body.length), [body.length - 1]) // prettier-ignore
  assert.equal(
    [...node.plane.node.pods.values()].reduce((sum, pod) => sum + pod.budget.held, 0),
    0,
  )
})

test('a request that is given up is not copied', async (t) => {
  const { node, seen, listen } = await mirrored(t, 100)
  await listen()
  const socket = await node.dial('web-1', SHOP)
  socket.write(post('half').slice(0, -2))
  await new Promise((resolve) => setTimeout(resolve, 50))
  socket.destroy()
  await node.until(() => results(node)['given-up'] === 1, 'that it is given up')
  assert.equal(seen.length, 0)
})

test('copies of one pod’s requests are so many at once, and end with the agent', async (t) => {
  const { node, listen } = await mirrored(t, 100, { timeoutMs: 60_000 }, { does: () => {} })
  await listen()
  const socket = await node.dial('web-1', SHOP)
  for (let i = 0; i < 130; i++) await ask(socket, get())
  await node.until(() => results(node)['dropped'] === 2, 'those that are dropped')
  await node.plane.stop(0)
  await node.until(() => results(node)['failed'] === 128, 'the end of the others')
})

test('a mirror’s host has its bounds, and its endpoints are ejected, as any other’s', async (t) => {
  const policy = { pool: pool({ maxRequests: 2 }), outliers: OUTLIERS }
  const ends: (() => void)[] = []
  const { node, seen, listen } = await mirrored(t, 100, {}, { policy, does: (end) => void ends.push(end) })
  const socket = await node.dial('web-1', SHOP)
  const failed = (count: number) => node.until(() => results(node)['failed'] === count, `${count} that failed`)
  for (let i = 0; i < 2; i++) await ask(socket, get())
  await failed(2) // nobody listens
  await listen()
  for (let i = 0; i < 3; i++) await ask(socket, get())
  await failed(3)
  assert.equal(seen.length, 2)
  assert.equal(node.count('weft_overflow_total', { limit: 'requests' }), 1)
  for (const end of ends) end()
  await node.until(() => results(node)['answered'] === 2, 'the other two')
  await ask(socket, get())
  await node.until(() => ends.length === 3, 'a place that was given back')
  ends[2]?.()
  await node.until(() => results(node)['answered'] === 3, 'its answer')
  assert.equal(node.count('weft_outlier_ejections_total'), 0)
})

test('a mirror that is dead is ejected', async (t) => {
  const policy = { outliers: OUTLIERS }
  const { node } = await mirrored(t, 100, {}, { policy })
  const socket = await node.dial('web-1', SHOP)
  for (let i = 0; i < 3; i++) await ask(socket, get())
  await node.until(() => node.count('weft_outlier_ejections_total') === 1, 'an ejection')
})

test('a connection that tells a mirror of a caller does not outlive that caller', async (t) => {
  let end = (): void => {}
  const how = { policy: { proxyProtocol: 1 as const }, does: (answer: () => void) => void (end = answer) }
  const { node } = await mirrored(t, 100, {}, how)
  let told = ''
  await node.tcp('copy-v1-1', (socket) => {
    socket.on('data', (bytes: Buffer) => (told += bytes.toString('latin1')))
    end = () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
  })
  const socket = await node.dial('web-1', SHOP)
  await ask(socket, get())
  await node.until(() => told.endsWith('\r\n\r\n'), 'a copy')
  assert.match(told, /^PROXY TCP4 /)
  socket.destroy()
  await node.until(() => node.plane.node.live.size === 0, 'the end of the caller’s connection')
  end()
  await node.until(() => results(node)['answered'] === 1, 'an answer')
  assert.equal(node.plane.node.pools.idle, 1, 'the one to the shop')
})

test('tunnels are not copied', async (t) => {
  const { node, seen, listen } = await mirrored(t, 100)
  await listen()
  const socket = await node.dial('web-1', SHOP)
  await ask(socket, 'GET / HTTP/1.1\r\nHost: shop\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n')
  await ask(socket, get('/plain'))
  await node.until(() => results(node)['answered'] === 1, 'the one copy')
  assert.deepEqual(seen.map(({ url }) => url), ['/plain']) // prettier-ignore
})
