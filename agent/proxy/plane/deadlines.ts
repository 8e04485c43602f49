// Deadlines of requests: set for each, met by almost none. One list a duration, so that the next to be due is always the
// first of its list: setting and lifting one are a few assignments, where a timer of the run-time's costs half a microsecond.

/** Shorter ones are timers of their own: a list is looked at every half second, which may be a tenth of a longer one. */
const LISTED_FROM_MS = 5000

/** Calls `expire` at its time, unless it is lifted before. */
export class Deadline {
  readonly expire: () => void
  /** Milliseconds of performance.now(). */
  readonly dueMs: number
  before: Deadline | null = null
  behind: Deadline | null = null
  list: DeadlineList | null = null
  timer: NodeJS.Timeout | null = null

  constructor(expire: () => void, dueMs: number) {
    this.expire = expire
    this.dueMs = dueMs
  }

  lift(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.list?.remove(this)
  }
}

/** Those of one duration, the oldest first. */
class DeadlineList {
  first: Deadline | null = null
  #last: Deadline | null = null

  add(deadline: Deadline): void {
    deadline.list = this
    deadline.before = this.#last
    if (this.#last === null) this.first = deadline
    else this.#last.behind = deadline
    this.#last = deadline
  }

  remove(deadline: Deadline): void {
    const { before, behind } = deadline
    if (before === null) this.first = behind
    else before.behind = behind
    if (behind === null) this.#last = before
    else behind.before = before
    deadline.list = deadline.before = deadline.behind = null
  }
}

/** All of a worker. */
export class Deadlines {
  readonly #lists = new Map<number, DeadlineList>()

  /** A deadline in `ms` from `nowMs`, milliseconds of performance.now(). Listed ones are met up to one look too late. */
  set(ms: number, nowMs: number, expire: () => void): Deadline {
    const deadline = new Deadline(expire, nowMs + ms)
    if (ms < LISTED_FROM_MS) {
      deadline.timer = setTimeout(expire, ms)
      return deadline
    }
    let list = this.#lists.get(ms)
    if (list === undefined) this.#lists.set(ms, (list = new DeadlineList()))
    list.add(deadline)
    return deadline
  }

  /** Meets those that are due. */
  tick(nowMs: number): void {
    for (const [ms, list] of this.#lists) {
      for (let { first } = list; first !== null && first.dueMs <= nowMs; { first } = list) {
        list.remove(first)
        first.expire()
      }
      if (list.first === null) this.#lists.delete(ms)
    }
  }
}
