// How many of n weighted choices may fall on one side before chance is no excuse.

/** Inclusive bounds. */
export interface Interval {
  readonly least: number
  readonly most: number
}

/**
 * The two-sided interval that a Binomial(trials, share) count leaves with probability at most 1 − confidence:
 * at most half of that on either side, by the exact distribution.
 */
export function binomialInterval(trials: number, share: number, confidence: number): Interval {
  if (share <= 0) return { least: 0, most: 0 }
  if (share >= 1) return { least: trials, most: trials }
  const tail = (1 - confidence) / 2
  const chance = chances(trials, share)
  return { least: firstBeyond(chance, tail), most: trials - firstBeyond(chance.toReversed(), tail) }
}

/** P(X = k) for every k, by the ratio of neighbours in logarithms: nothing under- or overflows on the way. */
function chances(trials: number, share: number): number[] {
  const odds = Math.log(share) - Math.log1p(-share)
  let log = trials * Math.log1p(-share)
  return Array.from({ length: trials + 1 }, (_, k) => {
    if (k > 0) log += Math.log((trials - k + 1) / k) + odds
    return Math.exp(log)
  })
}

/** The first index at which the sum from the left exceeds `tail`. */
function firstBeyond(chance: readonly number[], tail: number): number {
  let sum = 0
  return chance.findIndex((each) => (sum += each) > tail)
}
