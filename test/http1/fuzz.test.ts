import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fuzz, report } from './fuzz.ts'

const INPUTS = 6000

for (const seed of [1, 2, 3]) {
  test(`a short fuzz run from seed ${seed} finds nothing`, (t) => {
    const startedAt = performance.now()
    const run = fuzz(seed, (inputs) => inputs >= INPUTS)
    const told = report(seed, run, performance.now() - startedAt)
    t.diagnostic(told)
    assert.equal(run.finding, null, told)
    // a run that never gets past the first line would find nothing either
    assert.ok((run.verdicts['done'] ?? 0) > INPUTS / 10, told)
    assert.ok((run.verdicts['bad'] ?? 0) > INPUTS / 10, told)
  })
}
