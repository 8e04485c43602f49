import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import test from 'node:test'
import { possibleCpus } from './counters.ts'

test('a per-CPU map has a value up to the last possible CPU, whatever is missing before it', () => {
  for (const [text, count] of [
    ['0', 1],
    ['0\n', 1],
    ['0-3\n', 4],
    ['0,2-5\n', 6],
    ['0-3,8', 9],
    ['0-127\n', 128],
  ] as const) {
    assert.equal(possibleCpus(text), count, text)
  }
})

test('this machine has room for every CPU that it runs on', () => {
  const count = possibleCpus(readFileSync('/sys/devices/system/cpu/possible', 'utf8'))
  assert.ok(count >= availableParallelism(), `${count} possible CPUs`)
})
