import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Handshakes } from './handshakes.ts'

test('no more are under way at once than may be', () => {
  const handshakes = new Handshakes({ podHandshakes: 3, podHandshakesPerSecond: 1000 })
  const begun = (): boolean => handshakes.begin(0)
  assert.deepEqual([begun(), begun(), begun(), begun()], [true, true, true, false])
  handshakes.end()
  assert.deepEqual([begun(), begun()], [true, false])
})

test('over any time no more begin than twice a second’s, and a second’s each second', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(500), { maxLength: 200 }), fc.integer({ min: 1, max: 50 }), (pauses, rate) => {
      const handshakes = new Handshakes({ podHandshakes: 1, podHandshakesPerSecond: rate })
      let [nowMs, begun] = [0, 0]
      for (const pause of pauses) {
        nowMs += pause
        if (!handshakes.begin(nowMs)) continue
        begun++
        handshakes.end()
      }
      assert.ok(begun <= 2 * rate + (nowMs / 1000) * rate)
    }),
  )
})

test('who has waited may begin again', () => {
  const handshakes = new Handshakes({ podHandshakes: 10, podHandshakesPerSecond: 1 })
  assert.deepEqual([handshakes.begin(0), handshakes.begin(0), handshakes.begin(0)], [true, true, false])
  assert.ok(handshakes.begin(1000))
})
