// The clock that the control side goes by.

export const CLOCK = {
  /** Milliseconds since 1970. */
  nowMs: () => Date.now(),
  /** Does the work after so long, or not at all once it is called off by what is returned. */
  after: (ms: number, work: () => void): (() => void) => {
    const timer = setTimeout(work, Math.min(ms, LONGEST_TIMER_MS))
    return () => clearTimeout(timer)
  },
}
/** What a timer takes: whoever would wait longer looks earlier. */
const LONGEST_TIMER_MS = 2 ** 31 - 1
