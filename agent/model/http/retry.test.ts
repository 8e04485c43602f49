import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RETRY_WORDS, type Retries, type RetryWord } from '../policy.ts'
import { backoffMs, isRetried, RETRY_DEFAULT, retryPolicyOf, type Setback } from './retry.ts'

const UNSAID: Retries = {
  attempts: null,
  perTryMs: null,
  on: null,
  statuses: [],
  backoffMs: null,
  ignorePrevious: null,
  remoteLocalities: null,
}
const on = (...words: RetryWord[]) => retryPolicyOf({ ...UNSAID, on: words })
const answered = (status: number, grpcStatus: number | null = null, limited = false): Setback => {
  return { kind: 'answered', status, grpcStatus, limited }
}
const UNCONNECTED: Setback = { kind: 'unconnected' }
const RESET: Setback = { kind: 'reset', sent: true }
const SLOW: Setback = { kind: 'slow' }

test('each word has its own setbacks tried again', () => {
  const all: readonly Setback[] = [
    ...[UNCONNECTED, RESET, { kind: 'reset', sent: false } as const, SLOW],
    ...[200, 404, 409, 429, 500, 502, 503, 504].map((status) => answered(status)),
    ...[1, 4, 8, 13, 14].map((grpc) => answered(200, grpc)),
    answered(429, null, true),
  ]
  const table: Readonly<Record<RetryWord, readonly Setback[]>> = {
    '5xx': [
      UNCONNECTED,
      RESET,
      { kind: 'reset', sent: false },
      SLOW,
      ...[500, 502, 503, 504].map((one) => answered(one)),
    ],
    'gateway-error': [
      UNCONNECTED,
      RESET,
      { kind: 'reset', sent: false },
      SLOW,
      ...[502, 503, 504].map((one) => answered(one)),
    ],
    reset: [UNCONNECTED, RESET, { kind: 'reset', sent: false }, SLOW],
    'reset-before-request': [UNCONNECTED, { kind: 'reset', sent: false }],
    'connect-failure': [UNCONNECTED],
    'refused-stream': [],
    'envoy-ratelimited': [answered(429, null, true)],
    'retriable-4xx': [answered(409)],
    'retriable-status-codes': [],
    cancelled: [answered(200, 1)],
    'deadline-exceeded': [answered(200, 4)],
    'resource-exhausted': [answered(200, 8)],
    internal: [answered(200, 13)],
    unavailable: [answered(200, 14)],
  }
  for (const word of RETRY_WORDS) {
    assert.deepEqual(
      all.filter((setback) => isRetried(on(word), setback)),
      all.filter((setback) => table[word].some((one) => JSON.stringify(one) === JSON.stringify(setback))),
      word,
    )
  }
})

test('statuses are tried again besides the words, and an answer that limits a rate only by its own word', () => {
  const policy = retryPolicyOf({ ...UNSAID, on: ['5xx'], statuses: [404] })
  assert.ok(isRetried(policy, answered(404)))
  assert.ok(isRetried(policy, answered(500)))
  assert.ok(!isRetried(policy, answered(403)))
  assert.ok(!isRetried(policy, answered(503, null, true)))
})

test('what a rule leaves out is Istio’s default', () => {
  assert.equal(retryPolicyOf(null), RETRY_DEFAULT)
  assert.deepEqual(retryPolicyOf(UNSAID), { ...RETRY_DEFAULT, looksAtAnswers: true, mayResend: true })
  assert.deepEqual([...RETRY_DEFAULT.on], ['connect-failure', 'refused-stream', 'unavailable', 'cancelled'])
  assert.equal(RETRY_DEFAULT.attempts, 2)
  assert.equal(RETRY_DEFAULT.looksAtAnswers, false)
  assert.equal(on('5xx').looksAtAnswers, true)
  assert.equal(on('reset', 'connect-failure').looksAtAnswers, false)
  assert.equal(retryPolicyOf({ ...UNSAID, on: ['5xx'], attempts: 0 }).looksAtAnswers, false)
})

test('a wait is drawn from an interval that doubles from the base on, up to ten times the base', () => {
  const most = (retry: number, base: number | null): number =>
    backoffMs(retryPolicyOf({ ...UNSAID, backoffMs: base }), retry, () => 1 - 2 ** -53)
  assert.deepEqual(
    [1, 2, 3, 4, 5, 50].map((retry) => most(retry, 100)),
    [99, 299, 699, 999, 999, 999],
  )
  assert.equal(most(1, null), 24)
  fc.assert(
    fc.property(
      fc.nat(40),
      fc.integer({ min: 1, max: 10_000 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (retry, base, at) => {
        const waited = backoffMs(retryPolicyOf({ ...UNSAID, backoffMs: base }), retry + 1, () => at)
        assert.ok(waited >= 0 && waited < Math.min(2 ** (retry + 1) - 1, 10) * base)
      },
    ),
  )
})
