// Requests at a steady pace that leaves every proxy idle most of the time: what a way through it adds to an answer.

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Proxies, type ProxyName, UPSTREAM } from './proxies.ts'
import { atMost, interleaved, median, type Outcome, type Pace, type Say, type Verdict } from './work.ts'

const run = promisify(execFile)
const PER_SECOND = 1000
const CONNECTIONS = 16

/** What paced.ts saw. */
interface Seen {
  readonly requests: number
  readonly errors: number
  readonly p50Us: number
  readonly p99Us: number
}

type Way = ProxyName | 'direct'

export async function latency(names: readonly ProxyName[], pace: Pace, say: Say): Promise<Outcome> {
  await using proxies = await Proxies.start({ files: { '1k': 1024 }, names, apart: true })
  const ways = [
    { name: 'direct' as Way, ip: '127.0.0.2', port: UPSTREAM },
    ...proxies.all.map(({ name, port }) => ({ name: name, ip: '127.0.0.1', port })),
  ]
  const seen = new Map<Way, Seen[]>(ways.map(({ name }) => [name, []]))
  const paced = join(import.meta.dirname, 'paced.ts')
  const warmUps = pace.warmUpSeconds > 0 ? 1 : 0
  await interleaved(ways, pace.rounds + warmUps, async (way, round) => {
    const args = [paced, way.ip, String(way.port), String(PER_SECOND), String(CONNECTIONS), String(pace.seconds)]
    const { stdout } = await run('taskset', ['-c', '0', process.execPath, ...args])
    if (round < warmUps) return
    seen.get(way.name)?.push(JSON.parse(stdout) as Seen)
    if (way.name === 'weft') say(`latency: round ${round - warmUps + 1} of ${pace.rounds}`)
  })
  const direct = seen.get('direct') ?? []
  const added = (name: Way, pick: (each: Seen) => number): number[] =>
    (seen.get(name) ?? []).map((each, round) => pick(each) - pick(direct[round] as Seen))
  const rows: string[][] = []
  for (const [name, rounds] of seen) {
    const figures = [rounds.map(p50), rounds.map(p99), added(name, p50), added(name, p99)].map(median)
    rows.push([name, ...figures.map((us) => us.toFixed(0))])
  }
  const faults = [...seen].flatMap(([name, rounds]) => {
    const errors = rounds.reduce((sum, each) => sum + each.errors, 0)
    return errors === 0 ? [] : [`${name}: ${errors} requests failed`]
  })
  return {
    title: `Latency at ${PER_SECOND} requests/s over ${CONNECTIONS} connections, µs`,
    head: ['by', 'p50', 'p99', 'added p50', 'added p99'],
    rows,
    figures: Object.fromEntries(seen),
    verdicts: verdictsOf(seen),
    faults,
  }
}

const p50 = ({ p50Us }: Seen): number => p50Us
const p99 = ({ p99Us }: Seen): number => p99Us

function verdictsOf(seen: ReadonlyMap<Way, readonly Seen[]>): Verdict[] {
  const [weft, nginx] = [seen.get('weft'), seen.get('nginx')]
  if (weft === undefined || nginx === undefined) return []
  const ratios = (pick: (each: Seen) => number): number[] =>
    weft.map((each, round) => pick(each) / pick(nginx[round] as Seen))
  return [
    atMost(ratios(p50), 1, "p50 at 1000 requests/s, of nginx's"),
    atMost(ratios(p99), 1.2, "p99 at 1000 requests/s, of nginx's"),
  ]
}
