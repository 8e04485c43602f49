import assert from 'node:assert/strict'
import { test } from 'node:test'
import { flows } from './flows.ts'
import { http, isSound, type Row } from './http.ts'
import { latency } from './latency.ts'
import { memory } from './memory.ts'
import { faultsOf, mtls, type PairRow } from './mtls.ts'
import { present } from './proxies.ts'
import { table, targets } from './report.ts'
import { tls } from './tls.ts'
import { atLeast, atMost, median } from './work.ts'

const SHORT = { rounds: 1, seconds: 0.4, warmUpSeconds: 0 }
const silent = (): void => {}

test('every proxy answers every request of a short run, and writes a record of each', async () => {
  const names = present()
  const outcome = await http(names, SHORT, silent)
  assert.deepEqual(outcome.faults, [])
  assert.equal(outcome.rows.length, 2 * names.length)
})

test('flows, paced requests and idle connections go through every proxy', async (t) => {
  const names = present().filter((name) => name !== 'weft-node')
  const outcomes = [
    await flows(names, SHORT, silent),
    await latency(names, SHORT, silent),
    await memory(['nginx', 'weft'], SHORT, silent),
    await tls(names, { ...SHORT, seconds: 0.2 }, silent),
  ]
  for (const outcome of outcomes) {
    assert.deepEqual(outcome.faults, [])
    assert.doesNotMatch(table(outcome), /NaN|Infinity/)
  }
  t.diagnostic(targets(outcomes))
})

test('every pair answers over kept connections and new ones, whose handshakes are of the kind that is measured', async () => {
  const names = present()
  // a process that has just begun, on a busy machine, comes to nothing in less
  const outcome = await mtls(names, { ...SHORT, seconds: 3 * SHORT.seconds }, silent)
  assert.deepEqual(outcome.faults, [])
  assert.equal(outcome.rows.length, 4 * names.length)
  assert.doesNotMatch(table(outcome), /NaN|Infinity/)
})

test('a row with failed requests or without its records is not sound', () => {
  const figures = { cpuUs: 1, cpuUsRange: [1, 1], perSecond: 1, p50Us: 1, p99Us: 1 } as const
  const row: Row = { answer: '1k', proxy: 'weft', ...figures, windows: 1, requests: 1000, errors: 0, records: 1065 }
  assert.ok(isSound(row))
  assert.ok(!isSound({ ...row, errors: 1 }))
  assert.ok(!isSound({ ...row, records: 999 }))
  assert.ok(!isSound({ ...row, records: 1066 }))
})

test('a row of a pair is not sound without the callee’s records, or with handshakes of another kind', () => {
  const figures = { cpuUs: 1, cpuUsRange: [1, 1], perSecond: 1, p50Us: 1, p99Us: 1, windows: 1, errors: 0 } as const
  const counts = { requests: 1000, records: 1000, calleeRecords: 1000 } as const
  const row: PairRow = { answer: '1k', proxy: 'weft', ...figures, ...counts, reuse: 'session', resumed: 0.95 }
  assert.deepEqual(faultsOf(row), [])
  assert.equal(faultsOf({ ...row, calleeRecords: 999 }).length, 1)
  assert.equal(faultsOf({ ...row, records: 999 }).length, 1)
  assert.equal(faultsOf({ ...row, resumed: 0.5 }).length, 1)
  assert.equal(faultsOf({ ...row, reuse: 'nothing' }).length, 1)
  assert.deepEqual(faultsOf({ ...row, reuse: 'nothing', resumed: 0 }), [])
})

test('the median of an even count is between the two in the middle', () => {
  assert.equal(median([4, 1, 3, 2]), 2.5)
  assert.equal(median([3, 1, 2]), 2)
})

test('a target within the spread of the rounds is neither met nor missed', () => {
  assert.equal(atMost([0.7, 0.7, 0.75, 0.9, 0.71], 0.8, 'x').met, 'yes')
  assert.equal(atMost([0.7, 0.7, 0.75, 0.9, 0.9], 0.8, 'x').met, 'inconclusive')
  assert.equal(atMost([0.9, 0.9, 0.95, 0.9, 0.7], 0.8, 'x').met, 'no')
  assert.equal(atLeast([0.9, 0.9, 0.95, 0.9, 0.7], 0.8, 'x').met, 'yes')
  assert.equal(atLeast([0.5, 0.6, 0.55], 0.8, 'x').met, 'no')
})
