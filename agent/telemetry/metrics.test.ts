import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cells, EDGE_LIMIT, GONE_MS, Histogram } from './cells.ts'
import { renderMetrics } from './metrics.ts'
import { BUCKETS, EDGE_LABELS, SERIES } from './series.ts'

const labels = (reporter: string): string[] => EDGE_LABELS.map((_, i) => (i === 0 ? reporter : `value-${i}`))

test('counters of several workers are added up and rendered with every label of the table', async () => {
  const workers = [new Cells(), new Cells()]
  for (const cells of workers) {
    const request = cells.edge(labels('source'), []).requests(200, '-')
    request.requests += 2
    request.duration.observe(7)
    request.duration.observe(1e9)
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
  for (const bound of BUCKETS) histogram.observe(bound)
  assert.deepEqual(histogram.counts, [...BUCKETS.map(() => 1), 0])
})

test('the table of series is bounded, and what does not fit is counted together', () => {
  const cells = new Cells()
  for (let i = 0; i < EDGE_LIMIT + 5; i++) cells.edge(labels(`r${i}`), []).requests(200, '-').requests++
  const dump = cells.dump(0, () => true)
  const requests = dump.filter(({ name }) => name === 'istio_requests_total')
  assert.equal(requests.length, EDGE_LIMIT + 1)
  const other = requests.find((sample) => sample.labels[0] === 'other')
  assert.deepEqual(other && 'value' in other && other.value, 5)
})

test('series of a deleted pod go after a while, those of living pods stay', () => {
  const cells = new Cells()
  cells.edge(labels('a'), ['gone', 'here']).requests(200, '-').requests++
  cells.edge(labels('b'), ['here']).requests(200, '-').requests++
  const reporters = (nowMs: number): unknown =>
    cells
      .dump(nowMs, (uid) => uid === 'here')
      .filter(({ name }) => name === 'istio_requests_total')
      .map((sample) => sample.labels[0])
  assert.deepEqual(reporters(0), ['a', 'b'])
  assert.deepEqual(reporters(GONE_MS), ['a', 'b'])
  assert.deepEqual(reporters(GONE_MS + 1), ['b'])
})
