// Endpoints that are new get their share little by little (Envoy, "Slow start mode"): pure, given the time.

import type { Endpoint } from '../service.ts'
import type { Warmup } from '../traffic-policy.ts'

/** What a new endpoint weighs beside one of weight 1. Times are milliseconds since 1970. */
export function warmth(readySinceMs: number | null, nowMs: number, warmup: Warmup): number {
  if (readySinceMs === null) return 1
  const { durationMs, minimumPercent, aggression } = warmup
  const elapsedMs = Math.max(1, nowMs - readySinceMs)
  if (elapsedMs >= durationMs) return 1
  const part = elapsedMs / durationMs
  return Math.max(aggression === 1 ? part : part ** (1 / aggression), minimumPercent / 100)
}

/** Weights of a list of endpoints, each added to those before it. */
export interface Weights {
  readonly sums: Float64Array
  readonly total: number
}

/** Weights are worked out anew so often: a share grows in steps of at most this part of a second. */
const STEP_MS = 100

interface Known {
  /** When the last of them has its full share. */
  readonly untilMs: number
  atMs: number
  weights: Weights
}

const KNOWN = new WeakMap<readonly Endpoint[], Known>()

/** The weights of endpoints, or null where all of them have their full share. Kept by the list: it is of one policy. */
export function weightsOf(endpoints: readonly Endpoint[], warmup: Warmup, nowMs: number): Weights | null {
  const known = KNOWN.get(endpoints)
  if (known === undefined) {
    const latestMs = endpoints.reduce((latest, { readySinceMs }) => Math.max(latest, readySinceMs ?? 0), 0)
    const fresh = { untilMs: latestMs + warmup.durationMs, atMs: nowMs, weights: summed(endpoints, warmup, nowMs) }
    KNOWN.set(endpoints, fresh)
    return nowMs >= fresh.untilMs ? null : fresh.weights
  }
  if (nowMs >= known.untilMs) return null
  if (nowMs < known.atMs || nowMs - known.atMs >= STEP_MS) {
    known.weights = summed(endpoints, warmup, nowMs)
    known.atMs = nowMs
  }
  return known.weights
}

function summed(endpoints: readonly Endpoint[], warmup: Warmup, nowMs: number): Weights {
  const sums = new Float64Array(endpoints.length)
  let total = 0
  endpoints.forEach(({ readySinceMs }, index) => (sums[index] = total += warmth(readySinceMs, nowMs, warmup)))
  return { sums, total }
}

/** The index that a point stands for which lies at a part (0..1) of the whole weight. */
export function indexAt({ sums, total }: Weights, part: number): number {
  const point = part * total
  let [low, high] = [0, sums.length - 1]
  while (low < high) {
    const middle = (low + high) >> 1
    if (point < (sums[middle] as number)) high = middle
    else low = middle + 1
  }
  return low
}
