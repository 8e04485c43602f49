// What the test runner counts and says: node:test events in, lines and one sum over all passes out.
import { inspect } from 'node:util'

/** Figures of one or more passes, as node:test itself sums them, with what a reader needs at the end. */
export interface Tally {
  tests: number
  suites: number
  passed: number
  failed: number
  cancelled: number
  skipped: number
  todo: number
  failures: string[]
  skips: string[]
}

interface TestEvent {
  readonly type: string
  readonly data?: unknown
}

interface Finished {
  readonly name: string
  readonly nesting: number
  readonly file?: string
  readonly skip?: string | boolean
  readonly todo?: string | boolean
  readonly details?: { readonly duration_ms?: number; readonly type?: string; readonly error?: unknown }
}

interface Summary {
  readonly file?: string
  readonly counts: Record<'tests' | 'suites' | 'passed' | 'failed' | 'cancelled' | 'skipped' | 'todo', number>
  readonly duration_ms: number
}

const slowMs = 5_000
const outputBound = 20_000

export function emptyTally(): Tally {
  const none = { tests: 0, suites: 0, passed: 0, failed: 0, cancelled: 0, skipped: 0, todo: 0 }
  return { ...none, failures: [], skips: [] }
}

export function joined(one: Tally, other: Tally): Tally {
  return {
    tests: one.tests + other.tests,
    suites: one.suites + other.suites,
    passed: one.passed + other.passed,
    failed: one.failed + other.failed,
    cancelled: one.cancelled + other.cancelled,
    skipped: one.skipped + other.skipped,
    todo: one.todo + other.todo,
    failures: [...one.failures, ...other.failures],
    skips: [...one.skips, ...other.skips],
  }
}

/** Counts an event; returns the line to print for it, or undefined. `short` makes a path relative. */
export function lineOf(event: TestEvent, tally: Tally, short: (file: string) => string): string | undefined {
  switch (event.type) {
    case 'test:summary':
      return summaryLine(event.data as Summary, tally, short)
    case 'test:fail':
      return failLine(event.data as Finished, tally, short)
    case 'test:pass':
      return passLine(event.data as Finished, tally, short)
    case 'test:stderr':
    case 'test:stdout': {
      const { message } = event.data as { message: string }
      return message.slice(0, outputBound).trimEnd() || undefined
    }
    default:
      return undefined
  }
}

/** A summary without a file is the sum of the pass; one with a file says how that file went. */
function summaryLine({ file, counts, duration_ms }: Summary, tally: Tally, short: (file: string) => string) {
  if (file === undefined) {
    Object.assign(tally, counts)
    return undefined
  }
  const mark = counts.failed + counts.cancelled > 0 ? '✗' : '✓'
  return `${mark} ${short(file)} (${counts.tests} tests, ${Math.round(duration_ms)} ms)`
}

function failLine(test: Finished, tally: Tally, short: (file: string) => string): string | undefined {
  const error = test.details?.error
  const cause = (error as { cause?: unknown } | undefined)?.cause ?? error
  const where = test.file === undefined ? '' : ` (${short(test.file)})`
  // A suite fails because a test in it did: that test has said why.
  if ((error as { failureType?: string } | undefined)?.failureType === 'subtestsFailed') return undefined
  tally.failures.push(`${test.name}${where}\n${inspect(cause, { depth: 4 }).slice(0, outputBound)}`)
  return `  ✗ ${test.name}${where}`
}

function passLine(test: Finished, tally: Tally, short: (file: string) => string): string | undefined {
  const where = test.file === undefined ? '' : ` (${short(test.file)})`
  if (test.skip !== undefined && test.skip !== false) {
    const reason = typeof test.skip === 'string' && test.skip !== '' ? test.skip : 'no reason given'
    tally.skips.push(`${test.name}${where}: ${reason}`)
    return undefined
  }
  const tookMs = test.details?.duration_ms ?? 0
  if (tookMs < slowMs || test.details?.type === 'suite') return undefined
  return `  slow: ${test.name}${where} took ${Math.round(tookMs / 1000)} s`
}

/** The skips that nobody agreed to: more than `allowed` says of the reasons that contain its words, or of no reason there. */
export function skipsBeyond(skips: readonly string[], allowed: Readonly<Record<string, number>>): string[] {
  const known = Object.entries(allowed)
  const over = known.flatMap(([reason, most]) => {
    const count = skips.filter((skip) => skip.includes(reason)).length
    return count > most ? [`${count} tests were skipped because "${reason}", and ${most} may be`] : []
  })
  const unknown = skips.filter((skip) => !known.some(([reason]) => skip.includes(reason)))
  return [...over, ...unknown.map((skip) => `nobody agreed to skip ${skip}`)]
}

/** The closing lines, in the words of node:test. */
export function tallyLines(total: Tally, tookMs: number): string[] {
  return [
    '',
    `# tests ${total.tests}`,
    `# suites ${total.suites}`,
    `# pass ${total.passed}`,
    `# fail ${total.failed}`,
    `# cancelled ${total.cancelled}`,
    `# skipped ${total.skipped}`,
    `# todo ${total.todo}`,
    `# duration_ms ${Math.round(tookMs)}`,
  ]
}
