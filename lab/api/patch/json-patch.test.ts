import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { applyJsonPatch } from './json-patch.ts'
import { ApiError } from '../status.ts'

interface Case {
  readonly does: string
  readonly to: unknown
  readonly patch: unknown
  readonly gives: unknown
}

const CASES: readonly Case[] = [
  { does: 'adds a member', to: { a: 1 }, patch: [{ op: 'add', path: '/b', value: 2 }], gives: { a: 1, b: 2 } },
  { does: 'inserts into a list', to: [1, 3], patch: [{ op: 'add', path: '/1', value: 2 }], gives: [1, 2, 3] },
  { does: 'appends to a list', to: [1], patch: [{ op: 'add', path: '/-', value: 2 }], gives: [1, 2] },
  { does: 'replaces the document', to: { a: 1 }, patch: [{ op: 'add', path: '', value: 7 }], gives: 7 },
  { does: 'removes an item', to: [1, 2, 3], patch: [{ op: 'remove', path: '/1' }], gives: [1, 3] },
  { does: 'replaces an item', to: { a: [1] }, patch: [{ op: 'replace', path: '/a/0', value: 2 }], gives: { a: [2] } },
  { does: 'moves', to: { a: 1 }, patch: [{ op: 'move', from: '/a', path: '/b' }], gives: { b: 1 } },
  { does: 'copies', to: { a: [1] }, patch: [{ op: 'copy', from: '/a', path: '/b' }], gives: { a: [1], b: [1] } },
  { does: 'unescapes ~1 and ~0', to: { 'a/b~': 1 }, patch: [{ op: 'remove', path: '/a~1b~0' }], gives: {} },
  {
    does: 'goes on after a test that holds, member order aside',
    to: { a: { x: 1, y: 2 } },
    patch: [
      { op: 'test', path: '/a', value: { y: 2, x: 1 } },
      { op: 'remove', path: '/a' },
    ],
    gives: {},
  },
]

const REFUSED: readonly Omit<Case, 'gives'>[] = [
  { does: 'a test that fails', to: { a: 1 }, patch: [{ op: 'test', path: '/a', value: 2 }] },
  { does: 'a replace of nothing', to: {}, patch: [{ op: 'replace', path: '/a', value: 2 }] },
  { does: 'a remove of nothing', to: {}, patch: [{ op: 'remove', path: '/a' }] },
  { does: 'an add below nothing', to: {}, patch: [{ op: 'add', path: '/a/b', value: 1 }] },
  { does: 'an index past the end', to: [1], patch: [{ op: 'add', path: '/2', value: 1 }] },
  { does: 'an index with a leading zero', to: [1, 2], patch: [{ op: 'remove', path: '/01' }] },
  { does: 'a move into itself', to: { a: { b: 1 } }, patch: [{ op: 'move', from: '/a', path: '/a/b' }] },
  { does: 'an add without a value', to: {}, patch: [{ op: 'add', path: '/a' }] },
  { does: 'an unknown operation', to: {}, patch: [{ op: 'merge', path: '/a', value: 1 }] },
  { does: 'a pointer without a slash', to: {}, patch: [{ op: 'remove', path: 'a' }] },
  { does: 'a patch that is no list', to: {}, patch: { op: 'remove' } },
]

describe('JSON patch', () => {
  for (const { does, to, patch, gives } of CASES) {
    test(does, () => assert.deepEqual(applyJsonPatch(to, patch), gives))
  }

  for (const { does, to, patch } of REFUSED) {
    test(`refuses ${does}`, () => {
      assert.throws(
        () => applyJsonPatch(to, patch),
        (error) => error instanceof ApiError && error.code === 422,
      )
    })
  }

  test('never changes its input and never reaches a prototype, whatever the operations', () => {
    const path = fc.constantFrom('', '/a', '/a/b', '/a/0', '/-', '/__proto__/x', '/constructor', '/a/__proto__')
    const operation = fc.record(
      {
        op: fc.constantFrom('add', 'remove', 'replace', 'move', 'copy', 'test'),
        path,
        from: path,
        value: fc.jsonValue(),
      },
      { requiredKeys: ['op', 'path'] },
    )
    fc.assert(
      fc.property(fc.jsonValue(), fc.array(operation, { maxLength: 6 }), (document, patch) => {
        const before = JSON.stringify(document)
        try {
          applyJsonPatch(document, patch)
        } catch (error) {
          assert.ok(error instanceof ApiError)
        }
        assert.equal(JSON.stringify(document), before)
        assert.equal(({} as Record<string, unknown>)['x'], undefined)
      }),
    )
  })
})
