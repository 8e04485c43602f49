import assert from 'node:assert/strict'
import { closeSync, openSync } from 'node:fs'
import { test } from 'node:test'
import { maxFdsIn, ownProcess, renderProcessSeries } from './process-series.ts'

test('the soft limit of open files is read, and none is none', () => {
  const head = 'Limit                     Soft Limit           Hard Limit           Units     \n'
  assert.equal(
    maxFdsIn(`${head}Max open files            1024                 524288               files     \n`),
    1024,
  )
  assert.equal(
    maxFdsIn(`${head}Max open files            unlimited            unlimited            files     \n`),
    null,
  )
  assert.equal(maxFdsIn(''), null)
})

test('this process is what it is', () => {
  const before = ownProcess()
  const fd = openSync('/dev/null', 'r')
  const after = ownProcess()
  closeSync(fd)
  assert.equal(after.openFds, (before.openFds ?? NaN) + 1)
  assert.equal(after.startedSeconds, before.startedSeconds)
  assert.ok(after.cpuSeconds >= before.cpuSeconds && after.cpuSeconds > 0)
  assert.ok(after.residentBytes > 10e6 && (after.maxFds ?? Infinity) > (after.openFds ?? NaN))
  assert.ok(Math.abs(after.startedSeconds + process.uptime() - Date.now() / 1000) < 2)
})

test('they are named as everywhere', async () => {
  const facts = { cpuSeconds: 1.5, residentBytes: 2e8, openFds: 7, maxFds: null, startedSeconds: 1e9 }
  const lines = (await renderProcessSeries(facts)).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  assert.deepEqual(lines, [
    'process_cpu_seconds_total 1.5',
    'process_resident_memory_bytes 200000000',
    'process_open_fds 7',
    'process_start_time_seconds 1000000000',
  ])
})
