// Requests over kept connections, as many as the proxy takes: what one costs its process.

import { type Measured, measure, recordsOf } from './measure.ts'
import { Proxies, type Proxy, type ProxyName } from './proxies.ts'
import { atMost, interleaved, median, type Outcome, type Pace, type Say, type Verdict } from './work.ts'

/** What is asked for, and the bytes of its body. */
export const ANSWERS = { '1k': 1024, '100k': 100 * 1024 } as const
export const CONNECTIONS = 64

/** One proxy at one kind of answer. */
export interface Row {
  readonly answer: string
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

export async function http(names: readonly ProxyName[], pace: Pace, say: Say): Promise<Outcome> {
  await using proxies = await Proxies.start({ files: ANSWERS, names, apart: true })
  const rows: Row[] = []
  const verdicts: Verdict[] = []
  for (const answer of Object.keys(ANSWERS) as (keyof typeof ANSWERS)[]) {
    const before = await recordsOf(proxies.all)
    const measured = await windows(proxies.all, answer, pace, (round) => say(`${answer}: ${round}`))
    const after = await recordsOf(proxies.all)
    for (const [proxy, windows] of measured) {
      const records = (after.get(proxy) ?? 0) - (before.get(proxy) ?? 0)
      rows.push(summary({ answer, proxy, records }, windows))
    }
    verdicts.push(...verdictsOf(`CPU a request of ${answer}`, measured, BOUNDS[answer]))
  }
  return {
    title: 'HTTP/1.1, plain',
    head: ['answer', 'proxy', 'CPU µs/request', 'least..most', 'of nginx', 'requests/s', 'p50 µs', 'p99 µs', 'records'],
    rows: rows.map((row) => cells(row, rows)),
    figures: rows,
    verdicts,
    faults: rows.filter((row) => !isSound(row)).map((row) => `${row.proxy}, ${row.answer}: ${faultOf(row)}`),
  }
}

/** Windows of load on each proxy: one to warm up, then one a round. */
export async function windows(
  proxies: readonly Proxy[],
  answer: string,
  pace: Pace,
  say: Say,
): Promise<ReadonlyMap<ProxyName, readonly Measured[]>> {
  const load = { path: `/${answer}`, connections: CONNECTIONS }
  const measured = new Map<ProxyName, Measured[]>(proxies.map(({ name }) => [name, []]))
  const window = async (proxy: Proxy, seconds: number): Promise<void> => {
    measured.get(proxy.name)?.push(await measure(proxy, { ...load, seconds }))
  }
  for (const proxy of pace.warmUpSeconds > 0 ? proxies : []) await window(proxy, pace.warmUpSeconds)
  await interleaved(proxies, pace.rounds, async (proxy, round) => {
    await window(proxy, pace.seconds)
    if (proxy.name === 'weft') say(`round ${round + 1} of ${pace.rounds}`)
  })
  return measured
}

/** The windows that count: all but the first, or that one where there is no other. */
const afterWarmUp = (windows: readonly Measured[]): readonly Measured[] =>
  windows.length > 1 ? windows.slice(1) : windows

/** By how much of a peer's CPU time a request may cost. */
export type Bounds = readonly (readonly [ProxyName, number])[]

const BOUNDS: Readonly<Record<keyof typeof ANSWERS, Bounds>> = {
  '1k': [
    ['nginx', 0.8],
    ['envoy', 0.5],
  ],
  '100k': [['nginx', 1]],
}

/** Ratios are taken within a round: what disturbs the machine disturbs both. */
export function verdictsOf(
  what: string,
  measured: ReadonlyMap<ProxyName, readonly Measured[]>,
  bounds: Bounds,
): Verdict[] {
  const ratios = (to: ProxyName): number[] => {
    const [peer, own] = [to, 'weft' as const].map((name) => afterWarmUp(measured.get(name) ?? []))
    return (peer ?? []).map(({ cpuUs }, round) => (own?.[round]?.cpuUs ?? NaN) / cpuUs)
  }
  return bounds
    .filter(([peer]) => measured.has(peer) && measured.has('weft'))
    .map(([peer, bound]) => atMost(ratios(peer), bound, `${what}, of ${peer}'s`))
}

/**
 * Whether all requests were answered and written down. Those that the load gave up at a window's end have records too, and
 * so has the connection by which it looks whether somebody listens.
 */
export function isSound({ requests, errors, records, windows }: Row): boolean {
  return errors === 0 && records >= requests && records <= requests + windows * (CONNECTIONS + 1)
}

/** What is wrong with a row that is not sound. */
export function faultOf({ errors, records, requests }: Row): string {
  return `${errors} requests failed, ${records} records of ${requests}`
}

/** Figures of all windows but the first, which is for warming up where it is not the only one; its requests have records too. */
export function summary(row: Pick<Row, 'answer' | 'proxy' | 'records'>, windows: readonly Measured[]): Row {
  const counted = afterWarmUp(windows)
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

/** A row as the table has it, beside nginx's among `rows`. */
export function cells(row: Row, rows: readonly Row[]): string[] {
  const nginx = rows.find(({ answer, proxy }) => answer === row.answer && proxy === 'nginx')
  const ratio = nginx === undefined ? '-' : (row.cpuUs / nginx.cpuUs).toFixed(2)
  const [least, most] = row.cpuUsRange.map((us) => us.toFixed(1))
  const whole = [row.perSecond, row.p50Us, row.p99Us].map((figure) => figure.toFixed(0))
  const records = isSound(row) ? 'all' : `${row.records} of ${row.requests}`
  return [row.answer, row.proxy, row.cpuUs.toFixed(1), `${least}..${most}`, ratio, ...whole, records]
}
