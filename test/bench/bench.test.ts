import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compare } from './compare.ts'
import { PROXY_NAMES } from './proxies.ts'
import { isSound, median, type Row, table } from './report.ts'

test('every proxy answers every request of a short run, and writes a record of each', async () => {
  const rows = await compare(['1k', '100k'], { rounds: 1, seconds: 1, warmUpSeconds: 1 }, () => {})
  assert.equal(rows.length, 2 * PROXY_NAMES.length)
  for (const row of rows) assert.ok(isSound(row), JSON.stringify(row))
  assert.match(table(rows), /weft/)
})

test('a row with failed requests or without its records is not sound', () => {
  const figures = { cpuUs: 1, cpuUsRange: [1, 1], perSecond: 1, p50Us: 1, p99Us: 1 } as const
  const row: Row = { work: '', proxy: 'weft', ...figures, windows: 1, requests: 1000, errors: 0, records: 1065 }
  assert.ok(isSound(row))
  assert.ok(!isSound({ ...row, errors: 1 }))
  assert.ok(!isSound({ ...row, records: 999 }))
  assert.ok(!isSound({ ...row, records: 1066 }))
})

test('the median of an even count is between the two in the middle', () => {
  assert.equal(median([4, 1, 3, 2]), 2.5)
  assert.equal(median([3, 1, 2]), 2)
})
