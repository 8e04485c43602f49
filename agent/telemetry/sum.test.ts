import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BUCKETS, type Counters } from './series.ts'
import { addCounters } from './sum.ts'

const retries = (why: string, value: number): Counters[number] => ({ name: 'weft_retries_total', labels: [why], value })
const spread = (first: number, sum: number): Counters[number] => ({
  name: 'istio_request_bytes',
  labels: ['source'],
  counts: [first, ...BUCKETS.map(() => 0)],
  sum,
})

test('series with the same labels are added up, others stand beside each other, gauges are left out', () => {
  const open: Counters[number] = { name: 'weft_proxy_connections_open', labels: [], value: 7 }
  const sum = addCounters([retries('a', 1), spread(2, 10), open], [retries('a', 2), retries('b', 3), spread(1, 5)])
  assert.deepEqual(sum, [retries('a', 3), spread(3, 15), retries('b', 3)])
})
