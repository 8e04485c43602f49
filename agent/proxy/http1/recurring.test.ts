import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Recurring } from './recurring.ts'

/** Few bytes and lengths: texts meet at the same places. */
const text = fc.string({ unit: fc.constantFrom('a', 'b', '\xff', '\0'), maxLength: 6 })

test('a text is what the bytes say, whatever was read before', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(text, text, text)), (all) => {
      const recurring = new Recurring()
      for (const [ahead, each, behind] of all) {
        const bytes = Buffer.from(ahead + each + behind, 'latin1')
        assert.equal(recurring.of(bytes, ahead.length, ahead.length + each.length), each)
      }
    }),
  )
})

test('a text that came before is no new string, and a long one is not kept', () => {
  const recurring = new Recurring()
  const bytes = Buffer.from('GET reviews.shop')
  assert.equal(recurring.of(bytes, 4, 16), 'reviews.shop')
  const long = Buffer.from('x'.repeat(5000))
  assert.equal(recurring.of(long, 0, 5000).length, 5000)
  bytes.toString = () => assert.fail('a new string')
  assert.equal(recurring.of(bytes, 4, 16), 'reviews.shop')
})
