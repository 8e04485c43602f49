import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fieldLine, headEdit, UNCHANGEABLE } from './header-changes.ts'
import type { HeaderChanges } from '../policy.ts'

const change = (wish: Partial<HeaderChanges>): HeaderChanges => ({ remove: [], set: [], add: [], ...wish })

test('no changes are no edit', () => {
  assert.equal(headEdit([]), null)
})

for (const [what, changes, gone, lines] of [
  ['removing', [change({ remove: ['a'] })], ['a'], ''],
  ['setting', [change({ set: [['a', '1']] })], ['a'], 'a: 1\r\n'],
  ['adding', [change({ add: [['a', '1']] })], [], 'a: 1\r\n'],
  ['removing what is set as well', [change({ remove: ['a'], set: [['a', '1']] })], ['a'], 'a: 1\r\n'],
  ['setting twice', [change({ set: [['a', '1'], ['a', '2']] })], ['a'], 'a: 2\r\n'], // prettier-ignore
  ['removing what was added before', [change({ add: [['a', '1']] }), change({ remove: ['a'] })], ['a'], ''],
  ['setting what was set before', [change({ set: [['a', '1']] }), change({ set: [['a', '2']] })], ['a'], 'a: 2\r\n'],
  [
    'adding to what was set before',
    [change({ set: [['a', '1']] }), change({ add: [['a', '2']] })],
    ['a'],
    'a: 1\r\na: 2\r\n',
  ],
  ['a value beyond ASCII', [change({ set: [['a', 'ü']] })], ['a'], 'a: Ã¼\r\n'],
] as const) {
  test(`${what} is an edit`, () => {
    const edit = headEdit(changes)
    assert.deepEqual([...(edit?.gone ?? [])], gone)
    assert.equal(edit?.lines, lines)
  })
}

test('the same changes are put together once', () => {
  const changes = [change({ set: [['a', '1']] })]
  assert.equal(headEdit(changes), headEdit(changes))
})

test('whatever a rule says, a field is one line of its own name, or none', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (name, value) => {
      const line = fieldLine(name, value)
      if (line === '') return
      assert.ok(line.startsWith(`${name}: `) && line.endsWith('\r\n'))
      assert.doesNotMatch(line.slice(0, -2), /[\r\n\0]|[^\0-\xff]/)
    }),
  )
  assert.equal(fieldLine('a', 'b\r\nc: d'), '')
  assert.equal(fieldLine('a', 'Ċ'), 'a: Ä\x8a\r\n') // U+010A ends in the byte of a line feed
  assert.equal(fieldLine('a b', 'c'), '')
  for (const name of UNCHANGEABLE) assert.equal(fieldLine(name, 'x'), '')
})
