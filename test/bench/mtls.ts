// The mTLS pair: load, the caller's proxy, mutual TLS 1.3, the callee's proxy, server. What a request costs both proxies
// together: over kept connections, and with a connection of its own between the two, its handshake whole or resumed.

import { ANSWERS, type Bounds, cells, CONNECTIONS, faultOf, isSound, type Row, summary } from './http.ts'
import { verdictsOf, windows } from './http.ts'
import { recordsOf } from './measure.ts'
import { resumptionsOf, type Reuse } from './pair.ts'
import { Proxies, type Proxy, type ProxyName } from './proxies.ts'
import type { Outcome, Pace, Say, Verdict } from './work.ts'

interface Case {
  readonly reuse: Reuse
  readonly answer: keyof typeof ANSWERS
  readonly bounds: Bounds
}

const CASES: readonly Case[] = [
  {
    ...{ reuse: 'connection', answer: '1k' },
    bounds: [
      ['nginx', 0.65],
      ['envoy', 0.5],
    ],
  },
  { reuse: 'connection', answer: '100k', bounds: [['nginx', 1]] },
  { reuse: 'session', answer: '1k', bounds: [] },
  { reuse: 'nothing', answer: '1k', bounds: [] },
]

const NAMED: Readonly<Record<Reuse, string>> = {
  connection: 'kept',
  session: 'new, resumed',
  nothing: 'new, whole',
}

/** One pair at one case; `records` are the caller's. */
export interface PairRow extends Row {
  readonly reuse: Reuse
  readonly calleeRecords: number
  /** Of all connections between the two, those that were resumed; null where connections are kept. */
  readonly resumed: number | null
}

/** A window begins with the handshakes of all connections at once: in a shorter one nothing may have been answered yet. */
const LEAST_SECONDS = 1

export async function mtls(names: readonly ProxyName[], given: Pace, say: Say): Promise<Outcome> {
  const pace = { ...given, seconds: Math.max(LEAST_SECONDS, given.seconds) }
  const rows: PairRow[] = []
  const verdicts: Verdict[] = []
  for (const { reuse, answer, bounds } of CASES) {
    await using proxies = await Proxies.start({ files: ANSWERS, names, apart: true, pair: reuse })
    const before = await recordsOfEnds(proxies.all)
    const measured = await windows(proxies.all, answer, pace, (round) =>
      say(`mtls: ${NAMED[reuse]}, ${answer}: ${round}`),
    )
    const after = await recordsOfEnds(proxies.all)
    for (const proxy of proxies.all) {
      const { name } = proxy
      const since = (end: keyof Ends): number => (after[end].get(name) ?? 0) - (before[end].get(name) ?? 0)
      const [records, calleeRecords] = [since('caller'), since('callee')]
      const resumed = reuse === 'connection' ? null : (await resumptionsOf(proxy)) / calleeRecords
      const own = summary({ answer, proxy: name, records }, measured.get(name) ?? [])
      rows.push({ ...own, reuse, calleeRecords, resumed })
    }
    verdicts.push(...verdictsOf(`CPU of an mTLS pair a request of ${answer}`, measured, bounds))
  }
  const [answer, proxy, ...others] = HEAD
  return {
    title: 'HTTP/1.1 through an mTLS pair, both proxies together',
    head: ['connections', answer, proxy, ...others],
    rows: rows.map((row) => pairCells(row, rows)),
    figures: rows,
    verdicts,
    faults: rows.flatMap((row) => faultsOf(row).map((why) => `mtls, ${row.proxy}, ${NAMED[row.reuse]}: ${why}`)),
  }
}

const HEAD = [
  ...(['answer', 'proxy', 'CPU µs/request', 'least..most', 'of nginx', 'requests/s', 'p50 µs', 'p99 µs'] as const),
  ...(['records', 'callee', 'resumed', 'requests/CPU s'] as const),
] as const

/** Lines that each end of each pair has written. */
interface Ends {
  readonly caller: ReadonlyMap<ProxyName, number>
  readonly callee: ReadonlyMap<ProxyName, number>
}

async function recordsOfEnds(proxies: readonly Proxy[]): Promise<Ends> {
  const callees = proxies.map(({ name, log, callee }) => ({ name, log: callee?.log ?? log }))
  const [caller, callee] = await Promise.all([recordsOf(proxies), recordsOf(callees)])
  return { caller, callee }
}

/** Where a tenth of the handshakes was not of the kind that is measured, the figure is of neither. */
const STRAY = 0.1
/** So many begin before a first session can be there to resume: those of all connections at once. */
const FIRST = CONNECTIONS

/** Why a row must not be believed. */
export function faultsOf(row: PairRow): string[] {
  const ends = [row, { ...row, records: row.calleeRecords }]
  const faults = ends.filter((each) => !isSound(each)).map(faultOf)
  const { resumed, reuse, calleeRecords: all } = row
  if (resumed === null) return faults
  const isAsMeant = reuse === 'session' ? (1 - resumed) * all <= STRAY * all + FIRST : resumed <= STRAY
  return isAsMeant ? faults : [...faults, `${resumed.toFixed(2)} of the handshakes were resumed`]
}

function pairCells(row: PairRow, rows: readonly PairRow[]): string[] {
  const alike = rows.filter(({ reuse }) => reuse === row.reuse)
  const callee = isSound({ ...row, records: row.calleeRecords }) ? 'all' : `${row.calleeRecords} of ${row.requests}`
  const resumed = row.resumed === null ? '-' : row.resumed.toFixed(2)
  return [NAMED[row.reuse], ...cells(row, alike), callee, resumed, (1e6 / row.cpuUs).toFixed(0)]
}
