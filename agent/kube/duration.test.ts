import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { LONGEST_MS, parseDuration } from './duration.ts'

/** As Go prints a duration: hours, minutes, seconds with a fraction; below a second in one smaller unit. */
function goText(ms: number): string {
  if (ms === 0) return '0s'
  if (ms < 1000) return `${ms}ms`
  const [hours, minutes] = [Math.floor(ms / 3_600_000), Math.floor((ms % 3_600_000) / 60_000)]
  const seconds = `${(ms % 60_000) / 1000}s`
  if (hours > 0) return `${hours}h${minutes}m${seconds}`
  return minutes > 0 ? `${minutes}m${seconds}` : seconds
}

test('a duration that was printed is read back to the same milliseconds', () => {
  const ms = fc.oneof(fc.nat(2000), fc.nat(7_200_000), fc.nat(LONGEST_MS))
  const near = (text: string, expected: number): void => {
    const read = parseDuration(text)
    assert.ok(read !== null && Math.abs(read - expected) < 1e-6 * (1 + expected), `${text} is ${read}`)
  }
  fc.assert(
    fc.property(ms, (expected) => {
      near(goText(expected), expected)
      near(`${expected / 1000}s`, expected) // protobuf's JSON
      near(`${expected}ms`, expected)
    }),
  )
})

test('durations as people write them', () => {
  const table: [string, number | null][] = [
    ['7s', 7000],
    ['0.5s', 500],
    ['.5s', 500],
    ['5.s', 5000],
    ['1h30m', 5_400_000],
    ['1m0.5s', 60_500],
    ['250ms', 250],
    ['100us', 0.1],
    ['100µs', 0.1],
    ['1000000ns', 1],
    ['0', 0],
    ['0s', 0],
    ['1000000h', LONGEST_MS], // no timer holds more
    ['', null],
    ['5', null],
    ['-1s', null],
    ['+1s', null],
    ['1d', null],
    ['1 s', null],
    ['s', null],
    ['.s', null],
    ['1s ', null],
    ['1e3s', null],
    ['Infinitys', null],
    ['1s1', null],
  ]
  for (const [text, expected] of table) assert.equal(parseDuration(text), expected, JSON.stringify(text))
})

test('any text is read or refused, never thrown at, and a number is one a timer can take', () => {
  const parts = fc.constantFrom('1', '9', '.', 'h', 'm', 's', 'ms', 'us', 'n', '-', 'e', ' ', '9'.repeat(400))
  fc.assert(
    fc.property(fc.array(parts, { maxLength: 8 }), (texts) => {
      const ms = parseDuration(texts.join(''))
      assert.ok(ms === null || (ms >= 0 && ms <= LONGEST_MS))
    }),
  )
})
