import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { seeded } from './request.fixture.ts'
import { Layered } from './layered.ts'

/** Runs to the end without a pause; says how often it would have paused. */
function drain<T>(work: Generator<void, T>): { value: T; pauses: number } {
  for (let pauses = 0; ; pauses++) {
    const step = work.next()
    if (step.done) return { value: step.value, pauses }
  }
}

const key = fc.integer({ min: 0, max: 400 }).map((number) => `key-${number}`)
const batch = fc.array(fc.tuple(key, fc.option(fc.nat(), { nil: null })), { maxLength: 300 })

test('any edits give what the same edits of an ordinary map give, and leave every map before as it was', () => {
  fc.assert(
    fc.property(fc.array(batch, { maxLength: 12 }), (batches) => {
      const plain = new Map<string, number>()
      const kept: { map: Layered<number>; was: Map<string, number> }[] = []
      let map = Layered.empty<number>()
      for (const changes of batches) {
        const edit = map.edit()
        for (const [name, value] of changes) {
          if (value === null) {
            edit.delete(name)
            plain.delete(name)
          } else {
            edit.set(name, value)
            plain.set(name, value)
          }
          assert.equal(edit.get(name), value ?? undefined)
        }
        map = drain(edit.done()).value
        kept.push({ map, was: new Map(plain) })
      }
      for (const { map: old, was } of kept) {
        assert.equal(old.size, was.size)
        for (let number = 0; number <= 400; number++) {
          assert.equal(old.get(`key-${number}`), was.get(`key-${number}`))
          assert.equal(old.has(`key-${number}`), was.has(`key-${number}`))
        }
        assert.deepEqual([...old.values()].sort(), [...was.values()].sort())
      }
    }),
  )
})

test('layers that grow full become one with the part beneath, with nothing lost and nothing come back', () => {
  const random = seeded(5)
  const plain = new Map<string, number>()
  let map = Layered.empty<number>()
  for (let batch = 0; batch < 60; batch++) {
    const edit = map.edit()
    for (let index = 0; index < 100; index++) {
      const name = `${Math.floor(random() * 4000)}`
      if (random() < 0.4) {
        edit.delete(name)
        plain.delete(name)
      } else {
        edit.set(name, batch)
        plain.set(name, batch)
      }
    }
    map = drain(edit.done()).value
    assert.equal(map.size, plain.size)
  }
  for (let name = 0; name < 4000; name++) assert.equal(map.get(`${name}`), plain.get(`${name}`))
  assert.equal([...map.values()].length, plain.size)
})

test('a small edit of a large map is done in one go, a large one in many', () => {
  const large = Layered.empty<number>().edit()
  for (let number = 0; number < 10_000; number++) large.set(`${number}`, number)
  const { value: map, pauses } = drain(large.done())
  assert.ok(pauses > 50, `${pauses}`)
  const small = map.edit()
  small.set('1', -1)
  small.delete('2')
  assert.equal(drain(small.done()).pauses, 0)
})
