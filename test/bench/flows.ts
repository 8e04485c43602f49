// Whole flows, of which no proxy needs to understand a byte: throughput, and what a gigabyte costs the machine. The ends and
// the relay are one pipeline, so all of them run wherever there is room, as they would on a node.

import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { Proxies, type ProxyName, SINK } from './proxies.ts'
import { atLeast, atMost, interleaved, median, type Outcome, type Pace, type Say, type Verdict } from './work.ts'

const run = promisify(execFile)

/** How many flows go through proxies by themselves; through an mTLS pair one does. */
const KINDS = [
  { counts: [1, 8], isPair: false },
  { counts: [1], isPair: true },
] as const

/** What a round gave. */
interface Carried {
  readonly megabytesPerSecond: number
  /** Seconds of the whole machine's processors, ends included. */
  readonly cpuPerGigabyte: number
}

type Way = ProxyName | 'direct'

interface Path {
  readonly name: Way
  readonly ip: string
  readonly port: number
}

/** What was measured, as it is told. */
interface Told {
  readonly rows: string[][]
  readonly figures: unknown[]
  readonly verdicts: Verdict[]
}

export async function flows(names: readonly ProxyName[], pace: Pace, say: Say): Promise<Outcome> {
  const told: Told = { rows: [], figures: [], verdicts: [] }
  for (const { counts, isPair } of KINDS) {
    await using proxies = await Proxies.start({
      ...{ files: {}, names, apart: false },
      ...(isPair ? { pair: 'connection' } : {}),
    })
    const paths: Path[] = [
      { name: 'direct', ...SINK },
      ...proxies.all.map(({ name, rawPort }) => ({ name, ip: '127.0.0.1', port: rawPort })),
    ]
    for (const count of counts) {
      const carried = new Map<Way, Carried[]>(paths.map(({ name }) => [name, []]))
      await interleaved(paths, pace.rounds, async (path, round) => {
        carried.get(path.name)?.push(await carry(path, count, pace.seconds))
        if (path.name === 'weft') say(`flows: ${count}${isPair ? ', mTLS' : ''}, round ${round + 1} of ${pace.rounds}`)
      })
      tell(told, carried, { count, isPair })
    }
  }
  const head = ['flows', 'by', 'MB/s', 'of direct', 'CPU s/GB']
  return { title: 'Whole flows', head, ...told, faults: [] }
}

interface Kind {
  readonly count: number
  readonly isPair: boolean
}

function tell({ rows, figures, verdicts }: Told, carried: ReadonlyMap<Way, Carried[]>, { count, isPair }: Kind): void {
  const direct = carried.get('direct') ?? []
  for (const [name, rounds] of carried) {
    const [speed, cost] = [median(rounds.map(speedOf)), median(rounds.map(costOf))]
    const share = median(rounds.map((each, round) => speedOf(each) / speedOf(direct[round] as Carried)))
    const by = isPair && name !== 'direct' ? `${name}, mTLS pair` : name
    rows.push([String(count), by, speed.toFixed(0), share.toFixed(2), cost.toFixed(2)])
    figures.push({
      flows: count,
      proxy: name,
      pair: isPair,
      megabytesPerSecond: speed,
      ofDirect: share,
      cpuPerGigabyte: cost,
      rounds,
    })
  }
  const [weft, nginx] = [carried.get('weft'), carried.get('nginx')]
  if (weft === undefined || count !== 1) return
  const against = (other: readonly Carried[], pick: (each: Carried) => number): number[] =>
    weft.map((each, round) => pick(each) / pick(other[round] as Carried))
  if (isPair) {
    if (nginx === undefined) return
    verdicts.push(atLeast(against(nginx, speedOf), 1, "throughput of one flow through an mTLS pair, of nginx's"))
    return
  }
  verdicts.push(atLeast(against(direct, speedOf), 0.7, "throughput of one flow, of the direct connection's"))
  verdicts.push(atMost(against(direct, costOf), 1.6, "CPU a gigabyte of one flow, of the direct connection's"))
}

const speedOf = ({ megabytesPerSecond }: Carried): number => megabytesPerSecond
const costOf = ({ cpuPerGigabyte }: Carried): number => cpuPerGigabyte

interface Iperf {
  readonly end: { readonly sum_received: { readonly bytes: number; readonly bits_per_second: number } }
}

async function carry({ ip, port }: Path, count: number, seconds: number): Promise<Carried> {
  const args = [
    '--client',
    ip,
    '--port',
    String(port),
    '--parallel',
    String(count),
    '--time',
    String(Math.ceil(seconds)), // it knows whole ones only
    '--json',
  ]
  const before = busySeconds()
  const { stdout } = await run('iperf3', args)
  const busy = busySeconds() - before
  const { bytes, bits_per_second: bits } = (JSON.parse(stdout) as Iperf).end.sum_received
  return { megabytesPerSecond: bits / 8e6, cpuPerGigabyte: busy / (bytes / 1e9) }
}

const TICKS_PER_SECOND = 100

/** Time that all processors have spent on anything (/proc/stat: user, nice, system, irq, softirq). */
function busySeconds(): number {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = readFileSync('/proc/stat', 'utf8')
    .split('\n', 1)[0]!
    .split(/\s+/)
    .slice(1)
    .map(Number)
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND
}
