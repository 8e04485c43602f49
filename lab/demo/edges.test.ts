import assert from 'node:assert/strict'
import { test } from 'node:test'
import { edgesBetween, requestsIn } from './edges.ts'
import { readExposition } from './exposition.ts'

const labels = (version: string, more = ''): string =>
  `reporter="source",source_workload="front",destination_service_name="catalog",` +
  `destination_service_namespace="shop",destination_version="${version}"${more}`

const requests = (version: string, code: number, value: number): string =>
  `istio_requests_total{${labels(version, `,response_code="${code}"`)}} ${value}`

const bucket = (le: string, value: number): string =>
  `istio_request_duration_milliseconds_bucket{${labels('v1', `,le="${le}"`)}} ${value}`

const reading = (atMs: number, ...lines: string[]) => ({ atMs, samples: readExposition(lines.join('\n')) })

test('rates are differences over time, by version, with the share of good answers', () => {
  const before = reading(1000, requests('v1', 200, 100))
  const after = reading(3000, requests('v1', 200, 130), requests('v1', 503, 10), requests('v2', 200, 4))
  const [one, two] = edgesBetween(before, after, 'shop')
  assert.deepEqual([one?.caller, one?.callee, one?.version], ['front', 'catalog', 'v1'])
  assert.deepEqual([one?.requests, one?.perSecond, one?.fine], [40, 20, 0.75])
  assert.deepEqual([two?.version, two?.perSecond], ['v2', 2])
})

test('the median is interpolated in its bucket', () => {
  const after = reading(1000, bucket('1', 0), bucket('5', 50), bucket('10', 90), bucket('+Inf', 100))
  assert.equal(edgesBetween(reading(0), after, 'shop')[0]?.medianMs, 5)
  const slow = reading(1000, bucket('1', 0), bucket('5', 10), bucket('10', 90), bucket('+Inf', 100))
  assert.equal(edgesBetween(reading(0), slow, 'shop')[0]?.medianMs, 7.5)
})

test('an agent that started anew counts from zero, and other namespaces and reporters do not count', () => {
  const foreign = requests('v1', 200, 7).replace('namespace="shop"', 'namespace="other"')
  const callee = requests('v1', 200, 7).replace('reporter="source"', 'reporter="destination"')
  const after = reading(1000, requests('v1', 200, 5), foreign, callee)
  const edges = edgesBetween(reading(0, requests('v1', 200, 100)), after, 'shop')
  assert.deepEqual(
    edges.map(({ requests: count }) => count),
    [5],
  )
})

test('an aborted request belongs to no version', () => {
  const [edge] = edgesBetween(reading(0), reading(1000, requests('unknown', 418, 3)), 'shop')
  assert.deepEqual([edge?.version, edge?.fine], ['', 0])
})

test('requests are summed over every label that is not asked for', () => {
  const { samples } = reading(0, requests('v1', 200, 5), requests('v1', 503, 2), requests('v2', 200, 1))
  assert.equal(requestsIn(samples, { destination_service_name: 'catalog' }), 8)
  assert.equal(requestsIn(samples, { destination_version: 'v1', response_code: '503' }), 2)
})
