// How many signatures are verified at once, and who waits for a turn.

/** Turns: `atOnce` are taken, `waiting` more stand in line, each for `waitMs` at most. */
export interface TurnBounds {
  readonly atOnce: number
  readonly waiting: number
  readonly waitMs: number
}

export class Turns {
  readonly #bounds: TurnBounds
  readonly #line = new Set<(isTurn: boolean) => void>()
  #taken = 0

  constructor(bounds: TurnBounds) {
    this.#bounds = bounds
  }

  /** Does the work once it is its turn; null where it does not come to that. */
  async take<T>(work: () => Promise<T>): Promise<T | null> {
    if (!(await this.#comes())) return null
    try {
      return await work()
    } finally {
      const [next] = this.#line
      if (next === undefined) this.#taken--
      else next(true) // the turn is handed on
    }
  }

  #comes(): boolean | Promise<boolean> {
    const { atOnce, waiting, waitMs } = this.#bounds
    if (this.#taken < atOnce) {
      this.#taken++
      return true
    }
    if (this.#line.size >= waiting) return false
    return new Promise((resolve) => {
      const over = (isTurn: boolean): void => {
        clearTimeout(timer)
        this.#line.delete(over)
        resolve(isTurn)
      }
      const timer = setTimeout(() => over(false), waitMs)
      this.#line.add(over)
    })
  }
}
