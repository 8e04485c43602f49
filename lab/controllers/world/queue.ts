// A controller's work: keys to look at, each once however often it is asked for, tried again after a failure.

export interface Clock {
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** Runs `deed` in a later turn of the event loop. */
  readonly soon: (deed: () => void) => void
  /** Runs `deed` after `ms`; the answer takes it back. */
  readonly after: (ms: number, deed: () => void) => () => void
}

export const systemClock: Clock = {
  now: () => Date.now(),
  soon: (deed) => void setImmediate(deed),
  after: (ms, deed) => {
    const timer = setTimeout(deed, ms)
    return () => clearTimeout(timer)
  },
}

/** A controller's log; one line an event worth a person's time. */
export interface Log {
  readonly warn: (message: string) => void
}

export const RETRY_FIRST_MS = 10
export const RETRY_LIMIT_MS = 30_000
/** How long one turn of the event loop may be spent on a queue, so that the API goes on answering. */
export const SLICE_MS = 5

export interface QueueSettings {
  readonly name: string
  readonly clock: Clock
  readonly log: Log
  /**
   * Makes the world of `key` what it should be. Returns milliseconds after which to look again, if time alone can
   * change the answer. What it throws puts the key back with a growing delay.
   */
  readonly reconcile: (key: string) => number | undefined
}

export class WorkQueue {
  readonly #settings: QueueSettings
  readonly #due = new Set<string>()
  /** Keys that wait for a time; one timer a key, the earliest wins. */
  readonly #later = new Map<string, { at: number; cancel: () => void }>()
  readonly #failures = new Map<string, number>()
  #running = false
  #stopped = false

  constructor(settings: QueueSettings) {
    this.#settings = settings
  }

  add(key: string): void {
    if (this.#stopped) return
    this.#due.add(key)
    if (this.#running) return
    this.#running = true
    this.#settings.clock.soon(() => this.#drain())
  }

  addAfter(key: string, ms: number): void {
    if (this.#stopped) return
    const { clock } = this.#settings
    const at = clock.now() + ms
    const waiting = this.#later.get(key)
    if (waiting && waiting.at <= at) return
    waiting?.cancel()
    const cancel = clock.after(ms, () => {
      this.#later.delete(key)
      this.add(key)
    })
    this.#later.set(key, { at, cancel })
  }

  stop(): void {
    this.#stopped = true
    this.#due.clear()
    for (const { cancel } of this.#later.values()) cancel()
    this.#later.clear()
  }

  #drain(): void {
    const { clock } = this.#settings
    const end = clock.now() + SLICE_MS
    for (const key of this.#due) {
      this.#due.delete(key)
      this.#process(key)
      if (clock.now() >= end) break
    }
    if (this.#due.size > 0) clock.soon(() => this.#drain())
    else this.#running = false
  }

  #process(key: string): void {
    const { name, log, reconcile } = this.#settings
    try {
      const againMs = reconcile(key)
      this.#failures.delete(key)
      if (againMs !== undefined) this.addAfter(key, againMs)
    } catch (error) {
      const failures = this.#failures.get(key) ?? 0
      this.#failures.set(key, failures + 1)
      const delayMs = Math.min(RETRY_FIRST_MS * 2 ** Math.min(failures, 20), RETRY_LIMIT_MS)
      log.warn(`${name} ${key}: ${error instanceof Error ? error.message : String(error)}; again in ${delayMs} ms`)
      this.addAfter(key, delayMs)
    }
  }
}
