// What all kinds of work of the benchmark have in common: how they are paced, what they give, and which target they meet.

export interface Pace {
  readonly rounds: number
  /** Of a window. Windows of less than one are for looking whether everything works: their figures mean nothing. */
  readonly seconds: number
  /** Of load ahead of what counts; 0: none, all windows count. */
  readonly warmUpSeconds: number
}

/** A target, and what was measured for it. */
export interface Verdict {
  readonly target: string
  readonly measured: string
  /** `inconclusive`: the target lies within the spread of the rounds. */
  readonly met: 'yes' | 'no' | 'inconclusive'
}

/** What one kind of work gave. */
export interface Outcome {
  readonly title: string
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
  readonly figures: unknown
  readonly verdicts: readonly Verdict[]
  /** Why its figures must not be believed: requests that failed and the like. */
  readonly faults: readonly string[]
}

export type Say = (line: string) => void

/** Runs `window` for each in each round, each of them first in turn, so that what comes before whom does not count. */
export async function interleaved<Each>(
  all: readonly Each[],
  rounds: number,
  window: (each: Each, round: number) => Promise<void>,
): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (let place = 0; place < all.length; place++) await window(all[(round + place) % all.length] as Each, round)
  }
}

/** Whether a ratio, one a round, is at most `bound`; where the middle half of the rounds lies on both sides, nobody knows. */
export function atMost(ratios: readonly number[], bound: number, what: string): Verdict {
  const sorted = [...ratios].sort((a, b) => a - b)
  const at = (share: number): number => sorted[Math.round(share * (sorted.length - 1))] ?? NaN
  const [low, middle, high] = [at(0.25), at(0.5), at(0.75)]
  const met = high <= bound ? 'yes' : low > bound ? 'no' : 'inconclusive'
  return { target: `${what} ≤ ${bound}`, measured: `${middle.toFixed(2)} (${low.toFixed(2)}..${high.toFixed(2)})`, met }
}

/** The same for a ratio that is to be large. */
export function atLeast(ratios: readonly number[], bound: number, what: string): Verdict {
  const { measured, met } = atMost(
    ratios.map((ratio) => -ratio),
    -bound,
    what,
  )
  return {
    target: `${what} ≥ ${bound}`,
    measured: measured.replaceAll('-', '').replace(/\((.+)\.\.(.+)\)/, '($2..$1)'),
    met,
  }
}

export function median(figures: readonly number[]): number {
  const sorted = [...figures].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? 0
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2
}
