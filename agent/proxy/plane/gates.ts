// What is counted as it begins and ends: requests and retries under way to one host, within a rule's bounds.

import { type Limit, retriesWithin } from '../../model/balance/limit.ts'
import type { RetryBudget } from '../../model/traffic-policy.ts'
import { type Counted, WINDOW, WINDOW_PARTS } from './breaker-cells.ts'
import type { Scope } from './scope.ts'

/** Each that entered leaves once, by the same gate. */
export interface Gate {
  /** Begins one more; false where there are as many as may be: nothing is to be left then. */
  enter(): boolean
  leave(): void
}

/** Where nothing is bounded or counted. */
export const OPEN: Gate = { enter: () => true, leave: () => {} }

/** One count of a scope with a bound. `scope`: the one in use, which is no other while something is counted in it. */
export class BoundedGate implements Gate {
  readonly #scope: () => Scope
  readonly #counted: Counted
  readonly #max: (scope: Scope) => number
  readonly #onEnd: { readonly entered: (scope: Scope) => void; readonly overflow: () => void }

  constructor(
    scope: () => Scope,
    counted: Counted,
    max: (scope: Scope) => number,
    hears: { readonly entered?: (scope: Scope) => void; readonly overflow: () => void },
  ) {
    this.#scope = scope
    this.#counted = counted
    this.#max = max
    this.#onEnd = { entered: () => {}, ...hears }
  }

  enter(): boolean {
    const scope = this.#scope()
    if (!scope.counts[this.#counted].enter(this.#max(scope))) {
      this.#onEnd.overflow()
      return false
    }
    scope.held++
    this.#onEnd.entered(scope)
    return true
  }

  leave(): void {
    const scope = this.#scope()
    scope.counts[this.#counted].leave()
    scope.held--
  }
}

/** The gate of requests. */
export function requestGate(
  scope: () => Scope,
  { max, budget }: { readonly max: number | null; readonly budget: RetryBudget | null },
  { overflow, nowMs }: { readonly overflow: (limit: Limit) => void; readonly nowMs: () => number },
): Gate {
  if (max === null && budget === null) return OPEN
  const intervalMs = budget?.intervalMs ?? 0
  const entered = (one: Scope): void => {
    if (intervalMs > 0) noteRequest(one, intervalMs, nowMs())
  }
  return new BoundedGate(scope, 'requests', () => max ?? Infinity, { entered, overflow: () => overflow('requests') })
}

/** The gate of retries. A budget stands in the place of the fixed bound, as in Envoy. */
export function retryGate(
  scope: () => Scope,
  { max, budget }: { readonly max: number | null; readonly budget: RetryBudget | null },
  { overflow, nowMs }: { readonly overflow: (limit: Limit) => void; readonly nowMs: () => number },
): Gate {
  if (budget !== null) {
    const within = (one: Scope): number => retriesWithin(budget, requestsThatCount(one, budget, nowMs()))
    return new BoundedGate(scope, 'retries', within, { overflow: () => overflow('retry_budget') })
  }
  if (max === null) return OPEN
  return new BoundedGate(scope, 'retries', () => max, { overflow: () => overflow('retries') })
}

function requestsThatCount(scope: Scope, { intervalMs }: RetryBudget, nowMs: number): number {
  const { requests, pending } = scope.counts
  return intervalMs > 0 ? requestsWithin(scope, intervalMs, nowMs) : requests.total + pending.total
}

// A part of the interval is one word: which part it is, by the low bits of its number, and how many requests began in it.
const COUNT_BITS = 20
const COUNT_MAX = 2 ** COUNT_BITS - 1

function partAt(intervalMs: number, nowMs: number): number {
  return Math.floor(nowMs / Math.max(1, intervalMs / WINDOW_PARTS))
}

function wordOf(part: number, count: number): number {
  return (part << COUNT_BITS) | Math.min(count, COUNT_MAX)
}

/** Notes that a request begins. */
export function noteRequest({ words, at }: Scope, intervalMs: number, nowMs: number): void {
  const part = partAt(intervalMs, nowMs)
  const word = at + WINDOW + (part % WINDOW_PARTS)
  for (;;) {
    const before = Atomics.load(words, word)
    const isSame = before >> COUNT_BITS === wordOf(part, 0) >> COUNT_BITS
    const after = wordOf(part, isSame ? (before & COUNT_MAX) + 1 : 1)
    if (Atomics.compareExchange(words, word, before, after) === before) return
  }
}

/** How many requests began within the interval, to a tenth of it. */
export function requestsWithin(scope: Scope, intervalMs: number, nowMs: number): number {
  const last = partAt(intervalMs, nowMs)
  let sum = 0
  for (let part = Math.max(0, last - WINDOW_PARTS + 1); part <= last; part++) {
    const word = scope.read(WINDOW + (part % WINDOW_PARTS))
    if (word >> COUNT_BITS === wordOf(part, 0) >> COUNT_BITS) sum += word & COUNT_MAX
  }
  return sum
}
