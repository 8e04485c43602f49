// Which failures of a try are tried again, and when: pure. Words and arithmetic are Envoy's (x-envoy-retry-on,
// x-envoy-retry-grpc-on, "Automatic retries").

import type { Retries, RetryWord } from '../policy.ts'

/** What a rule, or Istio's default, says of retries. */
export interface RetryPolicy {
  /** Tries after the first. */
  readonly attempts: number
  /** Milliseconds that one try may take; null: as long as the request. */
  readonly perTryMs: number | null
  readonly on: ReadonlySet<RetryWord>
  readonly statuses: ReadonlySet<number>
  /** The base of the backoff in milliseconds; null: Istio's, and another endpoint is dialled at once. */
  readonly backoffMs: number | null
  readonly ignorePrevious: boolean
  readonly remoteLocalities: boolean
  /** Whether an answer can be one that is tried again: else its head need not be looked at. */
  readonly looksAtAnswers: boolean
  /** Whether something that was sent may have to be sent again. */
  readonly mayResend: boolean
}

/** How a try failed, or what it was answered. */
export type Setback =
  /** No connection was made: nothing was sent. */
  | { readonly kind: 'unconnected' }
  /** The connection broke before an answer; `sent`: something of the request had gone. */
  | { readonly kind: 'reset'; readonly sent: boolean }
  /** The time of a single try was over. */
  | { readonly kind: 'slow' }
  | {
      readonly kind: 'answered'
      readonly status: number
      readonly grpcStatus: number | null
      readonly limited: boolean
    }

/** Istio's default. */
const DEFAULT_WORDS: readonly RetryWord[] = ['connect-failure', 'refused-stream', 'unavailable', 'cancelled']
const DEFAULT_ATTEMPTS = 2

/** Of its words only those of gRPC speak of answers, and gRPC is not spoken over HTTP/1.1. */
export const RETRY_DEFAULT: RetryPolicy = {
  attempts: DEFAULT_ATTEMPTS,
  perTryMs: null,
  on: new Set(DEFAULT_WORDS),
  statuses: new Set(),
  backoffMs: null,
  ignorePrevious: true,
  remoteLocalities: false,
  looksAtAnswers: false,
  mayResend: false,
}

/** On the way to an application: its caller's side tries again. */
export const RETRY_NEVER: RetryPolicy = { ...RETRY_DEFAULT, attempts: 0, on: new Set() }

/** The policy of a rule's `retries`. */
export function retryPolicyOf(retries: Retries | null): RetryPolicy {
  if (retries === null) return RETRY_DEFAULT
  const attempts = retries.attempts ?? DEFAULT_ATTEMPTS
  const on = retries.on === null ? RETRY_DEFAULT.on : new Set(retries.on)
  const { perTryMs } = retries
  const looksAtAnswers = attempts > 0 && (retries.statuses.length > 0 || ANSWER_WORDS.some((word) => on.has(word)))
  const isResent = perTryMs !== null || on.has('reset') || on.has('reset-before-request')
  return {
    ...{ attempts, perTryMs, on, looksAtAnswers },
    mayResend: attempts > 0 && (looksAtAnswers || isResent),
    statuses: new Set(retries.statuses),
    backoffMs: retries.backoffMs,
    ignorePrevious: retries.ignorePrevious ?? RETRY_DEFAULT.ignorePrevious,
    remoteLocalities: retries.remoteLocalities ?? RETRY_DEFAULT.remoteLocalities,
  }
}

const GATEWAY_ERRORS: ReadonlySet<number> = new Set([502, 503, 504])
/** RFC 9110 §15.5.10: the one that x-envoy-retry-on calls retriable. */
const CONFLICT = 409
/** gRPC status codes (grpc.io, "Status codes and their use in gRPC"). */
const GRPC: ReadonlyMap<number, RetryWord> = new Map([
  [1, 'cancelled'],
  [4, 'deadline-exceeded'],
  [8, 'resource-exhausted'],
  [13, 'internal'],
  [14, 'unavailable'],
])

/** Whether a setback is one that the policy has tried again. */
export function isRetried({ on, statuses }: RetryPolicy, setback: Setback): boolean {
  switch (setback.kind) {
    case 'unconnected':
      return on.has('connect-failure') || on.has('reset-before-request') || isAnyReset(on)
    case 'reset':
      return (on.has('reset-before-request') && !setback.sent) || isAnyReset(on)
    case 'slow':
      return isAnyReset(on)
    case 'answered': {
      const { status, grpcStatus, limited } = setback
      if (limited) return on.has('envoy-ratelimited')
      if (status >= 500 && on.has('5xx')) return true
      if (GATEWAY_ERRORS.has(status) && on.has('gateway-error')) return true
      if (status === CONFLICT && on.has('retriable-4xx')) return true
      if (statuses.has(status)) return true
      const word = grpcStatus === null ? undefined : GRPC.get(grpcStatus)
      return word !== undefined && on.has(word)
    }
  }
}

const ANSWER_WORDS: readonly RetryWord[] = [
  ...(['5xx', 'gateway-error', 'retriable-4xx', 'envoy-ratelimited'] as const),
  ...GRPC.values(),
]

function isAnyReset(on: ReadonlySet<RetryWord>): boolean {
  return on.has('reset') || on.has('5xx') || on.has('gateway-error')
}

/** Envoy's base interval, and how many times the base a wait is at most. */
const BASE_MS = 25
const MOST = 10

/** Milliseconds before the retry of this number (1 is the first): full jitter over an interval that doubles. */
export function backoffMs(policy: RetryPolicy, retry: number, random: () => number): number {
  const base = policy.backoffMs ?? BASE_MS
  const interval = Math.min((2 ** Math.min(retry, 30) - 1) * base, MOST * base)
  return Math.floor(random() * interval)
}
