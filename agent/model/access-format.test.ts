import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { compileFormat, headersOf } from './access-format.ts'

test('a format that cannot be honoured is refused with the operator by name', () => {
  for (const [format, reason] of [
    ['%DYNAMIC_METADATA(a:b)%', /%DYNAMIC_METADATA%/],
    ['a %REQ(X% b', /%REQ\( has no end/],
    ['%REQ()%', /%REQ\(\)% names no header/],
    ['%REQ(A?B?C)%', /names no header/],
    ['%DURATION(x)%', /%DURATION% takes no argument/],
    ['%START_TIME(%j)%', /%START_TIME\(%j\)%/],
    ['100 %', /no whole command/],
    ['x'.repeat(20_000), /at most/],
  ] as const) {
    assert.throws(() => compileFormat('TEXT', format), reason)
    assert.throws(() => compileFormat('JSON', JSON.stringify({ a: { b: format } })), reason)
  }
  assert.throws(() => compileFormat('JSON', '%PROTOCOL%'), /not JSON/)
  assert.throws(() => compileFormat('JSON', '{"a":1}'), /no JSON object/)
})

test('what is asked of heads is known beforehand', () => {
  const format = compileFormat('JSON', '{"a":"%REQ(X-One?:AUTHORITY)%","b":{"c":"%RESP(Server):5%"}}')
  assert.deepEqual([...headersOf(format, 'REQ')], ['x-one', ':authority'])
  assert.deepEqual([...headersOf(format, 'RESP')], ['server'])
})

test('text compiles to a plan or is refused, whatever it is; without commands it stays as it is', () => {
  const parts = fc.constantFrom('%', '%%', '(', ')', ':', 'REQ', 'START_TIME', 'DURATION', '?', '9', 'x', ' ', '\n')
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(parts).map((all) => all.join('')),
      ),
      (text) => {
        try {
          const format = compileFormat('TEXT', text)
          assert.equal(format.kind, 'text')
          if (!text.includes('%') && text.trim() !== '')
            assert.deepEqual(format, { kind: 'text', pieces: [text.trimEnd()] })
        } catch (error) {
          assert.match((error as Error).message, /%/)
        }
      },
    ),
  )
})
