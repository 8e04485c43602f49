import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { CountRows, EndpointRows } from './count-rows.ts'
import { Counts, ROWS_FIRST, ROWS_MAX } from '../proxy/plane/counts.ts'

test('a row is another’s only once every worker has heard that it is free and counts nothing there', () => {
  const rows = new CountRows(2)
  const [one, other] = [new Counts(rows.shared, 0), new Counts(rows.shared, 1)]
  const row = rows.take('a')!
  one.enter(row)
  other.enter(row)
  rows.leave('a', 5)
  rows.sweep(4) // a worker may not have heard of it
  assert.notEqual(rows.take('b'), row)
  rows.sweep(5) // a worker still counts there
  assert.notEqual(rows.take('c'), row)
  one.leave(row)
  rows.sweep(5)
  assert.notEqual(rows.take('d'), row)
  other.leave(row)
  rows.sweep(5)
  assert.equal(rows.take('e'), row)
  assert.equal(one.total(row), 0)
})

test('who comes back finds its row, and what is still counted in it', () => {
  const rows = new CountRows(1)
  const counts = new Counts(rows.shared, 0)
  const row = rows.take('a')!
  counts.enter(row)
  rows.leave('a', 1)
  rows.sweep(1)
  assert.equal(rows.take('a'), row)
  assert.equal(counts.total(row), 1)
})

test('what a worker counted that has ended is taken back, and nothing else', () => {
  const rows = new CountRows(3)
  const workers = [0, 1, 2].map((column) => new Counts(rows.shared, column))
  const [a, b] = [rows.take('a')!, rows.take('b')!]
  for (const counts of workers) for (const row of [a, b, b]) counts.enter(row)
  rows.clear(1)
  assert.deepEqual([workers[0]!.total(a), workers[0]!.total(b)], [2, 4])
  for (const counts of [workers[0]!, workers[2]!]) for (const row of [a, b, b]) counts.leave(row)
  assert.deepEqual([workers[0]!.total(a), workers[0]!.total(b)], [0, 0])
})

test('rows grow as they run out, to a bound; workers see those that came later', () => {
  const rows = new CountRows(1)
  const counts = new Counts(rows.shared, 0)
  for (let owner = 0; owner < ROWS_MAX; owner++) assert.equal(rows.take(`${owner}`), owner)
  assert.ok(ROWS_MAX > ROWS_FIRST)
  assert.equal(counts.enter(ROWS_MAX - 1), 1)
  assert.equal(rows.take('one more'), null)
  rows.leave('7', 1)
  rows.sweep(1)
  assert.equal(rows.take('one more'), 7)
})

test('no two live owners share a row, and a worker knows each endpoint’s row, whatever comes and goes', () => {
  const step = fc.record({
    host: fc.constantFrom('s', 't', 'u'),
    endpoints: fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { maxLength: 4 }),
    heard: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const rows = new CountRows(1)
      const endpoints = new EndpointRows(rows)
      const services = new Map<string, readonly string[]>()
      const worker = new Map<string, number>()
      steps.forEach(({ host, endpoints: now, heard }, version) => {
        const changes = new Map<string, number | null>()
        endpoints.put(host, now, version, changes)
        services.set(host, now)
        for (const [endpoint, row] of changes) {
          if (row === null) worker.delete(endpoint)
          else worker.set(endpoint, row)
        }
        if (heard) rows.sweep(version)
        const live = new Set([...services.values()].flat())
        assert.deepEqual(new Set(worker.keys()), live)
        assert.deepEqual(new Map(endpoints.all()), worker)
        assert.equal(new Set(worker.values()).size, live.size)
      })
    }),
  )
})

test('threads that enter at once are each told another count, and the sum is exact', { timeout: 30_000 }, async () => {
  const rows = new CountRows(3)
  const row = rows.take('a')!
  const counts = new URL('../proxy/plane/counts.ts', import.meta.url).href
  const code = `
    const { parentPort, workerData } = require('node:worker_threads')
    import(${JSON.stringify(counts)}).then(({ Counts }) => {
      const counts = new Counts(workerData.shared, workerData.column)
      const told = []
      for (let i = 0; i < 5000; i++) told.push(counts.enter(${row}))
      parentPort.postMessage(told)
    })`
  const told = await Promise.all(
    [0, 1, 2].map(async (column) => {
      const worker = new Worker(code, { eval: true, workerData: { shared: rows.shared, column } })
      const [seen] = (await once(worker, 'message')) as [number[]]
      return seen
    }),
  )
  assert.equal(new Set(told.flat()).size, 15_000)
  assert.equal(new Counts(rows.shared, 0).total(row), 15_000)
})
