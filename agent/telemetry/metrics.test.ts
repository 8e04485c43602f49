import assert from 'node:assert/strict'
import { test } from 'node:test'
import { world } from '../model/world.fixture.ts'
import { bucketOf, Cells, EDGE_LIMIT, GONE_MS, Histogram } from './cells.ts'
import { Edges } from './edges.ts'
import { renderMetrics } from './metrics.ts'
import { BUCKETS, EDGE_LABELS, SERIES } from './series.ts'

const labels = (reporter: string): string[] => EDGE_LABELS.map((_, i) => (i === 0 ? reporter : `value-${i}`))

test('counters of several workers are added up and rendered with every label of the table', async () => {
  const workers = [new Cells(), new Cells()]
  for (const cells of workers) {
    const request = cells.edge(labels('source')).requests(200, '-')
    request.requests += 2
    request.duration.add(bucketOf(7), 7)
    request.duration.add(bucketOf(1e9), 1e9)
    cells.plain('weft_failures_total', 'connect', 'CONNECT_REFUSED').value++
  }
  const text = await renderMetrics(workers.map((cells) => cells.dump(0, () => true)))
  const line = text.split('\n').find((each) => each.startsWith('istio_requests_total{')) ?? ''
  for (const label of SERIES.istio_requests_total.labels) assert.ok(line.includes(`${label}="`), label)
  assert.ok(line.endsWith(' 4'), line)
  assert.match(text, /^# TYPE istio_request_duration_milliseconds histogram$/m)
  assert.match(text, /^istio_request_duration_milliseconds_bucket\{.*le="5".*\} 0$/m)
  assert.match(text, /^istio_request_duration_milliseconds_bucket\{.*le="10".*\} 2$/m)
  assert.match(text, /^istio_request_duration_milliseconds_bucket\{.*le="\+Inf".*\} 4$/m)
  assert.match(text, /^istio_request_duration_milliseconds_count\{.*\} 4$/m)
  assert.match(text, /^istio_request_duration_milliseconds_sum\{.*\} 2000000014$/m)
  assert.match(text, /^weft_failures_total\{step="connect",reason="CONNECT_REFUSED"\} 2$/m)
})

test('a histogram counts a value at a bound within that bound', () => {
  const histogram = new Histogram()
  for (const bound of BUCKETS) histogram.add(bucketOf(bound), bound)
  assert.deepEqual(histogram.counts, [...BUCKETS.map(() => 1), 0])
})

test('the table of series is bounded, and what does not fit is counted together', () => {
  const cells = new Cells()
  for (let i = 0; i < EDGE_LIMIT + 5; i++) cells.edge(labels(`r${i}`)).requests(200, '-').requests++
  const dump = cells.dump(0, () => true)
  const requests = dump.filter(({ name }) => name === 'istio_requests_total')
  assert.equal(requests.length, EDGE_LIMIT + 1)
  const other = requests.find((sample) => sample.labels[0] === 'other')
  assert.deepEqual(other && 'value' in other && other.value, 5)
})

test('series of a deleted pod go after a while, those of living pods stay', () => {
  const cells = new Cells()
  cells.edge(labels('a'), { caller: 'gone', callee: 'here' }).requests(200, '-').requests++
  cells.edge(labels('b'), { callee: 'here' }).requests(200, '-').requests++
  const reporters = (nowMs: number): unknown =>
    cells
      .dump(nowMs, (uid) => uid === 'here')
      .filter(({ name }) => name === 'istio_requests_total')
      .map((sample) => sample.labels[0])
  assert.deepEqual(reporters(0), ['a', 'b'])
  assert.deepEqual(reporters(GONE_MS), ['a', 'b'])
  assert.deepEqual(reporters(GONE_MS + 1), ['b'])
})

test('series that several pods share stay while one of them lives, and lose nothing', () => {
  const cells = new Cells()
  const edges = new Edges(cells)
  const small = world().service('app').pods('app-v1').pods('web', { behind: [], count: 2 })
  const count = (caller: string): void => {
    const pair = {
      callee: small.pod('app-v1-1'),
      endpoint: null,
      service: null,
      isKept: false,
      principals: { caller: null, callee: null },
      isSecured: false,
      protocol: 'http',
    } as const
    const [edge] = edges.of({ ...pair, caller: small.pod(caller), reporters: 'source' })
    if (edge !== undefined) edge.requests(200, '-').requests++
  }
  const gone = new Set<string>()
  const total = (nowMs: number): number[] =>
    cells
      .dump(nowMs, (uid) => !gone.has(uid))
      .flatMap((sample) => (sample.name === 'istio_requests_total' && 'value' in sample ? [sample.value] : []))
  count('web-1')
  count('web-2')
  gone.add(small.pod('web-1').uid)
  assert.deepEqual(total(0), [2])
  assert.deepEqual(total(GONE_MS + 1), [2])
  count('web-2')
  assert.deepEqual(total(GONE_MS + 2), [3])
  gone.add(small.pod('web-2').uid)
  assert.deepEqual(total(GONE_MS + 3), [3])
  assert.deepEqual(total(2 * GONE_MS + 4), [])
  count('web-2') // late, but counted
  assert.deepEqual(total(2 * GONE_MS + 5), [1])
})

test('a pair is worked out once, though its endpoint is made anew each time', () => {
  const cells = new Cells()
  const edges = new Edges(cells)
  const callee = world().service('app').pods('app-v1').pod('app-v1-1')
  const of = (): unknown => {
    const address = { ip: '10.244.0.1', port: 8080 }
    const state = { ready: true, serving: true, terminating: false }
    const endpoint = { address, workload: callee.uid, ...state, node: null, locality: null, readySinceMs: null }
    return edges.of({
      caller: null,
      callee,
      endpoint,
      service: null,
      isKept: false,
      principals: { caller: null, callee: null },
      isSecured: false,
      reporters: 'destination',
      protocol: 'http',
    })
  }
  assert.equal(of(), of())
})
