// Every way a request can end, as series and record tell it: code, flags and details in Envoy's words, the labels of the two
// ends in Istio's.

import assert from 'node:assert/strict'
import { type Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { match, rule, to, world } from '../../agent/model/world.fixture.ts'
import { type Sample, SERIES } from '../../agent/telemetry/series.ts'
import { ask, mesh, type Mesh } from '../proxy/mesh.ts'

const APP = { ip: '10.96.0.1', port: 80 }
const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: app\r\n\r\n`

/** A service with a rule for each ending; `down` has a pod that nobody listens in, `empty` has none. */
function endings() {
  const small = world().service('app').service('down').service('empty')
  small.pods('app-v1').pods('down-v1').pods('web', { behind: [] })
  return small.virtualService({
    hosts: ['app'],
    http: [
      rule({
        matches: [match({ uri: { kind: 'exact', value: '/abort' } })],
        fault: { delay: null, abort: { percent: 100, status: 418, grpcStatus: null } },
      }),
      rule({
        matches: [match({ uri: { kind: 'exact', value: '/late' } })],
        fault: { delay: { percent: 100, ms: 20 }, abort: null },
        destinations: [to('app')],
      }),
      rule({ matches: [match({ uri: { kind: 'exact', value: '/slow' } })], timeoutMs: 30, destinations: [to('app')] }),
      rule({ matches: [match({ uri: { kind: 'exact', value: '/down' } })], destinations: [to('down')] }),
      rule({ matches: [match({ uri: { kind: 'exact', value: '/empty' } })], destinations: [to('empty')] }),
      rule({ matches: [match({ uri: { kind: 'exact', value: '/missing' } })], destinations: [to('nowhere')] }),
      rule({ matches: [match({ uri: { kind: 'prefix', value: '/app' } })], destinations: [to('app')] }),
    ],
  })
}

async function started(t: TestContext): Promise<{ node: Mesh; socket: Socket }> {
  const node = mesh(t, endings())
  await node.http('app-v1-1', (request, response) => {
    const { url = '' } = request
    if (url === '/app/cut') return void response.socket?.destroy()
    if (url === '/app/torn') {
      response.writeHead(200, { 'content-length': '10' }).write('half')
      return void setTimeout(() => response.socket?.destroy(), 20)
    }
    if (url === '/slow' || url === '/app/hang') return
    response.statusCode = url === '/app/503' ? 503 : url === '/app/404' ? 404 : 200
    response.end('four')
  })
  return { node, socket: await node.dial('web-1', APP) }
}

/** Values of some labels of a series' one sample a reporter. */
function told(node: Mesh, name: 'istio_requests_total', wanted: readonly string[]): string[][] {
  const { labels } = SERIES[name]
  const values = (sample: Sample): string[] =>
    wanted.map((label) => sample.labels[labels.indexOf(label as never)] ?? '')
  return node.plane
    .counters()
    .filter((sample) => sample.name === name)
    .map(values)
}

const RESET = 'upstream_reset_before_response_started'
const REFUSED = 'delayed_connect_error:_Connection_refused'
const ENDINGS = {
  '/app': [200, '-', 'via_upstream'],
  '/app/404': [404, '-', 'via_upstream'],
  '/app/503': [503, '-', 'via_upstream'],
  '/late': [200, 'DI', 'via_upstream'],
  '/abort': [418, 'FI', 'fault_filter_abort'],
  '/other': [404, 'NR', 'route_not_found'],
  '/missing': [503, 'NC', 'cluster_not_found'],
  '/empty': [503, 'UH', 'no_healthy_upstream'],
  '/down': [503, 'UF,URX', `${RESET}{remote_connection_failure|${REFUSED}}`],
  '/slow': [504, 'UT', 'response_timeout'],
  '/app/cut': [503, 'UC', `${RESET}{connection_termination}`],
} as const

for (const [path, [code, flags, details]] of Object.entries(ENDINGS)) {
  test(`${path} ends with ${code} ${flags} ${details}, in its record and at both reporters`, async (t) => {
    const { node, socket } = await started(t)
    assert.equal((await ask(socket, get(path))).status, code)
    await node.until(() => node.records.length > 0, 'a record')
    const [record] = node.records
    assert.deepEqual([record?.response_code, record?.response_flags], [code, flags])
    assert.equal(record?.response_code_details, details)
    assert.equal(record?.upstream_transport_failure_reason, path === '/down' ? REFUSED : null)
    assert.equal(record?.connection_termination_details, null)
    const reporters = record?.upstream_host == null ? ['source'] : ['source', 'destination']
    const expected = reporters.map((reporter) => [reporter, String(code), flags])
    assert.deepEqual(told(node, 'istio_requests_total', ['reporter', 'response_code', 'response_flags']), expected)
  })
}

test('a response that breaks off is told as begun', async (t) => {
  const { node, socket } = await started(t)
  socket.write(get('/app/torn'))
  await node.until(() => node.records.length > 0, 'a record')
  const [record] = node.records
  assert.equal(record?.response_code_details, 'upstream_reset_after_response_started{connection_termination}')
  assert.deepEqual([record?.response_code, record?.response_flags, record?.bytes_sent], [200, 'UC', 4])
})

test('a caller that goes before the answer is code 0 with flag DC', async (t) => {
  const { node, socket } = await started(t)
  socket.write(get('/app/hang'))
  await node.until(() => node.plane.node.load.size > 0, 'the request on its way')
  socket.resetAndDestroy()
  await node.until(() => node.records.length > 0, 'a record')
  const [record] = node.records
  assert.deepEqual([record?.response_code, record?.response_flags], [0, 'DC'])
  assert.equal(record?.response_code_details, 'downstream_remote_disconnect')
  assert.equal(record?.upstream_service_time, null)
  assert.deepEqual(told(node, 'istio_requests_total', ['response_code', 'response_flags']), [
    ['0', 'DC'],
    ['0', 'DC'],
  ])
})

const LABELS = [
  ...['reporter', 'source_workload', 'source_app', 'destination_workload', 'destination_app', 'destination_service'],
  ...['destination_service_name', 'destination_service_namespace', 'connection_security_policy', 'request_protocol'],
]

const ENDS = ['web', 'web', 'app-v1', 'app', 'app.default.svc.cluster.local', 'app', 'default']

test('a pass on one node is told at both ends', async (t) => {
  const both = await started(t)
  await ask(both.socket, get('/app'))
  await both.node.until(() => both.node.records.length > 0, 'a record')
  assert.deepEqual(told(both.node, 'istio_requests_total', LABELS), [
    ['source', ...ENDS, 'unknown', 'http'],
    ['destination', ...ENDS, 'none', 'http'],
  ])
})

test('a pass across nodes is told by the end that is here', async (t) => {
  const away = mesh(t, endings(), { captured: ['web-1'] })
  await away.http('app-v1-1', (_, response) => void response.end())
  await ask(await away.dial('web-1', APP), get('/app'))
  await away.until(() => away.records.length > 0, 'a record')
  assert.deepEqual(told(away, 'istio_requests_total', LABELS), [['source', ...ENDS, 'unknown', 'http']])
})

test('what nobody in the mesh stands for is PassthroughCluster, and its Host header becomes no label', async (t) => {
  const node = mesh(t, endings(), {
    connect: (fd, to, ms) => node.transport.connect(fd, { ...to, ip: node.addressOf('app-v1-1') }, ms),
  })
  await node.http('app-v1-1', (_, response) => void response.end())
  const socket = await node.dial('web-1', { ip: '10.11.12.13', port: 8080 })
  await ask(socket, get('/'))
  await node.until(() => node.records.length > 0, 'a record')
  const callee = ['unknown', 'unknown', 'unknown', 'PassthroughCluster', 'unknown', 'unknown', 'http']
  assert.deepEqual(told(node, 'istio_requests_total', LABELS), [['source', 'web', 'web', ...callee]])
})
