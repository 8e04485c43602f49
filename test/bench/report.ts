// Figures of a benchmark: medians over rounds, ratios within each round, and the table. Pure.

import type { Measured } from './measure.ts'
import type { ProxyName } from './proxies.ts'

/** Kept-alive connections of the load. */
export const CONNECTIONS = 64

/** One proxy at one kind of work. */
export interface Row {
  readonly work: string
  readonly proxy: ProxyName
  /** Median of the rounds, microseconds of CPU a request; and the least and the most. */
  readonly cpuUs: number
  readonly cpuUsRange: readonly [number, number]
  readonly perSecond: number
  readonly p50Us: number
  readonly p99Us: number
  readonly windows: number
  readonly requests: number
  readonly errors: number
  readonly records: number
}

/**
 * Whether all requests were answered and written down. Those that the load gave up at a window's end have records too, and
 * so has the connection by which it looks whether somebody listens.
 */
export function isSound({ requests, errors, records, windows }: Row): boolean {
  return errors === 0 && records >= requests && records <= requests + windows * (CONNECTIONS + 1)
}

/** Figures of all windows but the first, which is for warming up; its requests have records too. */
export function summary(row: Pick<Row, 'work' | 'proxy' | 'records'>, windows: readonly Measured[]): Row {
  const counted = windows.slice(1)
  const of = (pick: (window: Measured) => number): number => median(counted.map(pick))
  const sum = (pick: (window: Measured) => number): number => windows.reduce((all, window) => all + pick(window), 0)
  const cpu = counted.map(({ cpuUs }) => cpuUs)
  return {
    ...row,
    cpuUs: of(({ cpuUs }) => cpuUs),
    cpuUsRange: [Math.min(...cpu), Math.max(...cpu)],
    perSecond: of(({ perSecond }) => perSecond),
    p50Us: of(({ p50Us }) => p50Us),
    p99Us: of(({ p99Us }) => p99Us),
    windows: windows.length,
    requests: sum(({ requests }) => requests),
    errors: sum(({ errors }) => errors),
  }
}

/** The rows as text; each row's ratio is to nginx at the same work. */
export function table(rows: readonly Row[]): string {
  const head = [
    'work',
    'proxy',
    'CPU µs/request',
    'least..most',
    'ratio',
    'requests/s',
    'p50 µs',
    'p99 µs',
    'errors',
    'records',
  ]
  const cells = rows.map((row) => {
    const nginx = rows.find(({ work, proxy }) => work === row.work && proxy === 'nginx')
    const ratio = nginx === undefined ? '-' : (row.cpuUs / nginx.cpuUs).toFixed(2)
    const [least, most] = row.cpuUsRange.map((us) => us.toFixed(1))
    const records = isSound(row) ? 'all' : `${row.records} of ${row.requests}`
    const whole = [row.perSecond, row.p50Us, row.p99Us].map((figure) => figure.toFixed(0))
    const left = [row.work, row.proxy, row.cpuUs.toFixed(1), `${least}..${most}`, ratio]
    return [...left, ...whole, String(row.errors), records]
  })
  const all = [head, ...cells]
  const widths = head.map((_, column) => Math.max(...all.map((line) => line[column]?.length ?? 0)))
  return all
    .map((line) =>
      line.map((cell, at) => (at < 2 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join('  '),
    )
    .join('\n')
}

export function median(figures: readonly number[]): number {
  const sorted = [...figures].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? 0
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2
}
