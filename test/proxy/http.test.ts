// HTTP through the whole corridor: bytes, series and access record looked at together.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { match, rule, to, world } from '../../agent/model/world.fixture.ts'
import { ask, mesh } from './mesh.ts'

const REVIEWS = { ip: '10.96.0.1', port: 80 }
const get = (path: string, headers = ''): string => `GET ${path} HTTP/1.1\r\nHost: reviews\r\n${headers}\r\n`

function shop() {
  return world().service('reviews').pods('reviews-v1').pods('reviews-v2').pods('web', { behind: [] })
}

test('a request reaches an endpoint of the dialled service, and is one record and one count for both reporters', async (t) => {
  const node = mesh(t, world().service('reviews').pods('reviews-v1').pods('web', { behind: [] }))
  let seen: Record<string, unknown> = {}
  await node.http('reviews-v1-1', (request, response) => {
    seen = { url: request.url, ...request.headers }
    response.end('hello')
  })
  const socket = await node.dial('web-1', REVIEWS)
  const answer = await ask(
    socket,
    get('/a?b=c', 'User-Agent: tester\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-Kept:  yes \r\n'),
  )
  assert.equal(answer.status, 200)
  assert.equal(answer.body, 'hello')
  assert.equal(seen['url'], '/a?b=c')
  assert.equal(seen['host'], 'reviews')
  assert.equal(seen['x-kept'], 'yes')
  assert.equal(seen['x-hop'], undefined)
  assert.equal(seen['x-forwarded-proto'], 'http')
  assert.match(String(seen['x-request-id']), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  await node.until(() => node.records.length === 1, 'one record')
  const [record] = node.records
  assert.ok(record)
  assert.equal(record.response_code, 200)
  assert.equal(record.response_flags, '-')
  assert.equal(record.path, '/a?b=c')
  assert.equal(record.bytes_sent, 5)
  assert.equal(record.user_agent, 'tester')
  assert.equal(record.request_id, seen['x-request-id'])
  assert.equal(record.upstream_host, '10.244.0.1:8080')
  assert.equal(record.upstream_cluster, 'outbound|80||reviews.default.svc.cluster.local')
  assert.equal(record.downstream_local_address, '10.96.0.1:80')
  for (const reporter of ['source', 'destination']) {
    const labels = { reporter, source_workload: 'web', destination_workload: 'reviews-v1', response_code: '200' }
    assert.equal(node.count('istio_requests_total', labels), 1)
  }
  assert.equal(node.count('istio_requests_total'), 2)
  assert.deepEqual(node.faults, [])
})

test('a route that changes takes effect on the next request of a held connection', async (t) => {
  const shopping = shop().destinationRule({ host: 'reviews', subsets: [{ name: 'v1' }, { name: 'v2' }] })
  const node = mesh(t, shopping)
  for (const version of ['v1', 'v2']) {
    await node.http(`reviews-${version}-1`, (_, response) => void response.end(version))
  }
  const socket = await node.dial('web-1', REVIEWS)
  shopping.virtualService({ hosts: ['reviews'], http: [rule({ destinations: [to('reviews', { subset: 'v1' })] })] })
  node.apply()
  for (let i = 0; i < 5; i++) assert.equal((await ask(socket, get('/'))).body, 'v1')
  const older = shopping
  older.virtualService({
    hosts: ['reviews'],
    createdMs: 1,
    http: [rule({ destinations: [to('reviews', { subset: 'v2' })] })],
  })
  node.apply()
  for (let i = 0; i < 5; i++) assert.equal((await ask(socket, get('/'))).body, 'v2')
})

test('an injected abort answers as users of Istio know it, and the connection stays good', async (t) => {
  const node = mesh(
    t,
    shop().virtualService({
      hosts: ['reviews'],
      http: [
        rule({
          matches: [match({ headers: [{ name: 'end-user', match: { kind: 'exact', value: 'jason' } }] })],
          fault: { delay: null, abort: { percent: 100, status: 555, grpcStatus: null } },
          destinations: [to('reviews')],
        }),
        rule({ destinations: [to('reviews')] }),
      ],
    }),
  )
  for (const version of ['v1', 'v2']) await node.http(`reviews-${version}-1`, (_, response) => void response.end('ok'))
  const socket = await node.dial('web-1', REVIEWS)
  const aborted = await ask(socket, get('/', 'End-User: jason\r\n'))
  assert.equal(aborted.status, 555)
  assert.equal(aborted.body, 'fault filter abort')
  assert.equal((await ask(socket, get('/'))).body, 'ok')
  await node.until(() => node.records.length === 2, 'two records')
  assert.equal(node.records[0]?.response_flags, 'FI')
  assert.equal(node.count('istio_requests_total', { response_code: '555', response_flags: 'FI' }), 1)
})
