import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ageOf, humanDuration } from './duration.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

test('durations are told as kubectl tells them', () => {
  for (const [ms, text] of [
    [-5 * SECOND, '<invalid>'],
    [-500, '0s'],
    [0, '0s'],
    [119 * SECOND, '119s'],
    [2 * MINUTE, '2m'],
    [3 * MINUTE + 20 * SECOND, '3m20s'],
    [10 * MINUTE + 20 * SECOND, '10m'],
    [179 * MINUTE, '179m'],
    [3 * HOUR, '3h'],
    [7 * HOUR + 5 * MINUTE, '7h5m'],
    [47 * HOUR, '47h'],
    [2 * DAY, '2d'],
    [7 * DAY + 3 * HOUR, '7d3h'],
    [8 * DAY + 3 * HOUR, '8d'],
    [729 * DAY, '729d'],
    [730 * DAY, '2y'],
    [760 * DAY, '2y30d'],
    [3000 * DAY, '8y'],
  ] as const) {
    assert.equal(humanDuration(ms), text)
  }
})

test('an age needs a time', () => {
  assert.equal(ageOf('2030-01-01T00:00:00Z', Date.parse('2030-01-01T00:01:00Z')), '60s')
  for (const none of [undefined, null, '', 'soon', 7]) assert.equal(ageOf(none, 0), '<unknown>')
})
