import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { asksFor, changeOf } from './change.ts'
import type { Deed, Wishes } from './scene.ts'

const word = fc.constantFrom(null, 'enabled', 'disabled', 'true', '')
const wishes = fc.record({ annotation: word, label: word })
const deeds = fc.constantFrom<Deed>('join', 'leave')

function after(deed: Deed, was: Wishes): Wishes {
  const { annotation, label } = changeOf(deed, was)
  return { annotation: annotation === null ? was.annotation : annotation.to, label: label === null ? was.label : null }
}

test('whatever stands there, who joins asks for the mesh afterwards and who leaves does not', () => {
  fc.assert(fc.property(deeds, wishes, (deed, was) => asksFor(after(deed, was)) === (deed === 'join')))
})

test('what is so already is not written again', () => {
  fc.assert(
    fc.property(deeds, wishes, (deed, was) => {
      const { annotation, label } = changeOf(deed, after(deed, was))
      assert.deepEqual([annotation, label], [null, null])
    }),
  )
})

test('a label alone makes a namespace of the mesh, and goes as it leaves', () => {
  const was = { annotation: null, label: 'enabled' }
  assert.deepEqual(changeOf('join', was).notes, ['it has joined already, by its label'])
  assert.deepEqual(changeOf('leave', was).label, { from: 'enabled', to: null })
  assert.equal(changeOf('leave', was).annotation, null)
})

test('words that are overridden are told', () => {
  assert.deepEqual(changeOf('join', { annotation: null, label: 'disabled' }).notes, [
    "its label weft.dev/mesh says 'disabled': the annotation counts before it",
  ])
  assert.deepEqual(changeOf('join', { annotation: 'true', label: null }).annotation, { from: 'true', to: 'enabled' })
  assert.deepEqual(changeOf('leave', { annotation: null, label: null }).notes, ['it is not in the mesh'])
})
