import assert from 'node:assert/strict'
import { test } from 'node:test'
import { blocksOf, missingIn } from './blocks.ts'

test('blocks of commands are found, with what they print', () => {
  const text = 'a\n\n```sh\nls\npwd\n```\n\nsays\n\n```text\nx …\n```\n\n```yaml\na: 1\n```\n\n```sh\ntrue\n```\n'
  assert.deepEqual(blocksOf(text), [
    { line: 4, commands: 'ls\npwd', prints: ['x …'] },
    { line: 19, commands: 'true', prints: [] },
  ])
})

test('output of nothing and an open fence are refused', () => {
  assert.throws(() => blocksOf('```text\nx\n```'), /line 2: output of no commands/)
  assert.throws(() => blocksOf('```sh\nls'), /line 2: a fence that is not closed/)
})

test('lines are looked for in their order, … stands for anything', () => {
  const output = 'NAME  STATE\nweb-1 (a.b) ready\nweb-2 (a.b) gone\n'
  assert.equal(missingIn(output, ['web-1 … ready', '… gone']), null)
  assert.equal(missingIn(output, ['… gone', 'web-1 …']), 'web-1 …')
  assert.equal(missingIn(output, ['web-1 (a+b)']), 'web-1 (a+b)')
})
