// The last test of a whole run: the machine is as it was before. run.ts sees to the order and notes what was there.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newTraces, type Traces, tracesNow } from './traces.ts'

const patience = { tries: 20, pauseMs: 250 }

test('the tests before this one left nothing on the machine', async () => {
  const before = JSON.parse(process.env['WEFT_TRACES_BEFORE'] ?? '{}') as Traces
  let left = newTraces(before, tracesNow())
  // Things vanish a moment after the process that held them.
  for (let tries = 1; Object.keys(left).length > 0 && tries < patience.tries; tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, patience.pauseMs))
    left = newTraces(before, tracesNow())
  }
  assert.deepEqual(left, {})
})

test('what was there before is not ours to answer for, and what is new is', () => {
  const before = { cgroups: ['/a'], processes: [] }
  assert.deepEqual(newTraces(before, { cgroups: ['/a'], processes: [] }), {})
  assert.deepEqual(newTraces(before, { cgroups: ['/a', '/b'], links: ['x'] }), { cgroups: ['/b'], links: ['x'] })
})
