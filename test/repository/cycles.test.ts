import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cycleIn, importsOf, textOf, writtenFiles } from './sources.ts'

test('no file imports itself, directly or through others', () => {
  const files = writtenFiles().filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))
  const graph = new Map(files.map((file) => [file, importsOf(file, textOf(file))]))
  assert.ok(
    [...graph.values()].some((imports) => imports.length > 0),
    'imports were found at all',
  )
  assert.equal(cycleIn(graph)?.join(' → '), undefined)
})

test('a cycle is found and told from its first file to itself', () => {
  const graph = new Map([
    ['a', ['b', 'c']],
    ['b', []],
    ['c', ['d']],
    ['d', ['a']],
  ])
  assert.deepEqual(cycleIn(graph), ['a', 'c', 'd', 'a'])
  assert.equal(cycleIn(new Map([['a', ['b']]])), undefined)
})

test('imports over several lines, re-exports and side effects count; types do not', () => {
  const text = [
    "import {\n  one,\n  two,\n} from './x.ts'",
    "import type { Three } from './types.ts'",
    "export { four } from '../y.ts'",
    "import './z.ts'",
    "import { readFileSync } from 'node:fs'",
  ].join('\n')
  assert.deepEqual(importsOf('agent/model/a.ts', text), ['agent/model/x.ts', 'agent/y.ts', 'agent/model/z.ts'])
})
