// How tries at the endpoints of a host went, and which endpoints are not asked for a while: for the whole node.

import type { Backends } from '../../model/backends.ts'
import {
  afterChecks,
  ejectedNow,
  ejectionMs,
  lastCheck,
  limitOf,
  type Mark,
  marksOf,
  mayEject,
  type Outcome,
  type Standing,
  type Streak,
} from '../../model/balance/outlier.ts'
import { nameOf } from '../../model/service.ts'
import type { OutlierDetection } from '../../model/traffic-policy.ts'
import {
  ANY,
  AT_MS,
  CHECKED_MS,
  EJECTED,
  EJECTED_COUNT,
  EPOCH,
  fromWord,
  GATEWAY,
  LASTS_MS,
  LOCAL,
  LOCK,
  noteEjected,
  PHASE,
  TIMES,
  toWord,
} from './breaker-cells.ts'
import { lock, unlock } from './cell-table.ts'
import type { EndpointCell, Scope } from './scope.ts'

/** Where each count of failures in a row stands. The gateway's own comes first, as in Envoy: it is the more particular. */
const STREAKS: readonly (readonly [Streak, number])[] = [
  ['gateway', GATEWAY],
  ['any', ANY],
  ['local', LOCAL],
]

/** Longest time that a word of milliseconds can tell from one that is yet to come: twenty days. */
const LONGEST_MS = 20 * 24 * 60 * 60 * 1000

/** The rules as the shared memory can keep them. */
function bounded(rules: OutlierDetection): OutlierDetection {
  const { intervalMs, baseEjectionMs } = rules
  return {
    ...rules,
    intervalMs: Math.min(Math.max(1, intervalMs), LONGEST_MS),
    baseEjectionMs: Math.min(Math.max(1, baseEjectionMs), LONGEST_MS),
  }
}

/** Hears of an endpoint that was ejected, or would have been: then too many are. */
export type OnEjection = (cause: Streak, isEnforced: boolean) => void

/** Ejections among the endpoints of one set, as one worker sees them. */
export class Outliers {
  readonly #rules: OutlierDetection
  readonly #names: ReadonlySet<string>
  readonly #onEjection: OnEjection
  #seen: { readonly scope: Scope; readonly epoch: number } | null = null
  #ejected: ReadonlySet<string> | null = null

  constructor(rules: OutlierDetection, { endpoints }: Backends, onEjection: OnEjection) {
    this.#rules = bounded(rules)
    this.#names = new Set(endpoints.map(nameOf))
    this.#onEjection = onEjection
  }

  /** Counts how a try at an endpoint went; the one that makes its failures too many in a row ejects it. */
  result(scope: Scope, name: string, outcome: Outcome, nowMs: () => number): void {
    const marks = marksOf(this.#rules, outcome)
    if (marks.any === null && marks.local === null) return
    const cell = scope.endpoint(name)
    for (const [streak, word] of STREAKS) {
      const limit = limitOf(this.#rules, streak)
      // beyond it, too: it may have been higher, or none, as the failures before were counted
      if (this.#count(cell, word, marks[streak]) >= limit && limit > 0) this.#eject(scope, name, streak, nowMs())
    }
  }

  /** Names of those that are ejected, or null where none is: the same object while nothing changes. Whether so many are a panic the balancer says. */
  ejected(scope: Scope): ReadonlySet<string> | null {
    const epoch = scope.read(EPOCH)
    if (this.#seen?.scope === scope && this.#seen.epoch === epoch) return this.#ejected
    this.#seen = { scope, epoch }
    const found = scope.read(EJECTED_COUNT) === 0 ? [] : this.#find(scope)
    this.#ejected = found.length === 0 ? null : new Set(found)
    return this.#ejected
  }

  /** Failures in a row with this one, or 0. */
  #count({ words, at }: EndpointCell, word: number, mark: Mark): number {
    if (mark === 'failure') return Atomics.add(words, at + word, 1) + 1
    if (mark === 'success' && Atomics.load(words, at + word) !== 0) Atomics.store(words, at + word, 0)
    return -1
  }

  #find(scope: Scope): string[] {
    return [...this.#names].filter((name) => isEjected(scope.endpoint(name)))
  }

  #eject(scope: Scope, name: string, streak: Streak, nowMs: number): void {
    if (!this.#names.has(name)) return // it has left meanwhile
    const cell = scope.endpoint(name)
    if (isEjected(cell)) return // what was under way to it fails, too
    for (const other of this.#names) scope.endpoint(other) // claimed ahead, so that no lock is waited for within the other
    const isEnforced = locked(scope, () => {
      if (isEjected(cell)) return null
      if (!mayEject(this.#rules, this.#find(scope).length, this.#names.size)) return false
      const phaseMs = fromWord(scope.read(PHASE), nowMs)
      write(scope, cell, ejectedNow(this.#rules, standingOf(cell, nowMs), nowMs), {
        checkedMs: lastCheck(this.#rules, phaseMs, nowMs),
        lasts: (times) => ejectionMs(this.#rules, times),
      })
      return true
    })
    if (isEnforced === null) return // it is ejected already, or the lock could not be had: then the next failure tries again
    const word = STREAKS.find(([one]) => one === streak)?.[1] as number
    // the next failures may eject it anew, also where none that succeeded came between
    Atomics.store(cell.words, cell.at + word, 0)
    this.#onEjection(streak, isEnforced)
  }
}

/** Takes those back whose time is over, once an interval, whichever worker looks first. */
export function checkOutliers(scope: Scope, given: OutlierDetection, nowMs: number): void {
  const rules = bounded(given)
  if (scope.read(EPOCH) === 0) return // none was ever ejected
  const due = [...scope.endpoints.values()].filter((cell) => matters(cell) && isDue(cell, rules, nowMs))
  if (due.length === 0) return
  locked(scope, () => {
    for (const cell of due) {
      const before = standingOf(cell, nowMs)
      const checkedMs = fromWord(read(cell, CHECKED_MS), nowMs)
      const after = afterChecks(rules, before, checkedMs, nowMs)
      write(scope, cell, after.standing, { checkedMs: after.checkedMs, lasts: () => read(cell, LASTS_MS) })
      if (!before.ejected || after.standing.ejected) continue
      for (const [, word] of STREAKS) Atomics.store(cell.words, cell.at + word, 0)
    }
    return true
  })
}

/** Whether it is ejected, or was not long ago: to forget it would be to forgive it. */
export function matters(cell: EndpointCell): boolean {
  return isEjected(cell) || read(cell, TIMES) > 0
}

function isDue(cell: EndpointCell, { intervalMs }: OutlierDetection, nowMs: number): boolean {
  return nowMs - fromWord(read(cell, CHECKED_MS), nowMs) >= intervalMs
}

function isEjected(cell: EndpointCell): boolean {
  return read(cell, EJECTED) === 1
}

function standingOf(cell: EndpointCell, nowMs: number): Standing {
  return { ejected: isEjected(cell), times: read(cell, TIMES), atMs: fromWord(read(cell, AT_MS), nowMs) }
}

function write(
  scope: Scope,
  cell: EndpointCell,
  { ejected, times, atMs }: Standing,
  { checkedMs, lasts }: { readonly checkedMs: number; readonly lasts: (times: number) => number },
): void {
  const { words, at } = cell
  Atomics.store(words, at + TIMES, times)
  Atomics.store(words, at + AT_MS, toWord(atMs))
  Atomics.store(words, at + CHECKED_MS, toWord(checkedMs))
  Atomics.store(words, at + LASTS_MS, lasts(times))
  const before = Atomics.exchange(words, at + EJECTED, ejected ? 1 : 0) === 1
  if (ejected !== before) noteEjected(scope.words, scope.at, ejected ? 1 : -1)
}

function read({ words, at }: EndpointCell, word: number): number {
  return Atomics.load(words, at + word)
}

/** Does something alone among the workers; null where the lock cannot be had, or the work says so. */
function locked<T>({ words, at, tables }: Scope, work: () => T | null): T | null {
  if (!lock(words, at + LOCK, tables.column + 1)) return null
  try {
    return work()
  } finally {
    unlock(words, at + LOCK)
  }
}
