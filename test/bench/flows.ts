// Whole flows, of which no proxy needs to understand a byte: throughput, and what a gigabyte costs the machine. The ends and
// the relay are one pipeline, so all of them run wherever there is room, as they would on a node.

import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { Proxies, type ProxyName, SINK } from './proxies.ts'
import { atLeast, atMost, interleaved, median, type Outcome, type Pace, type Say, type Verdict } from './work.ts'

const run = promisify(execFile)
const FLOWS = [1, 8] as const

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

export async function flows(names: readonly ProxyName[], pace: Pace, say: Say): Promise<Outcome> {
  await using proxies = await Proxies.start({ files: {}, names, apart: false })
  const paths: Path[] = [
    { name: 'direct', ...SINK },
    ...proxies.all.map(({ name, rawPort }) => ({ name, ip: '127.0.0.1', port: rawPort })),
  ]
  const rows: string[][] = []
  const verdicts: Verdict[] = []
  const figures: unknown[] = []
  for (const count of FLOWS) {
    const carried = new Map<Way, Carried[]>(paths.map(({ name }) => [name, []]))
    await interleaved(paths, pace.rounds, async (path, round) => {
      carried.get(path.name)?.push(await carry(path, count, pace.seconds))
      if (path.name === 'weft') say(`flows: ${count}, round ${round + 1} of ${pace.rounds}`)
    })
    const direct = carried.get('direct') ?? []
    for (const [name, rounds] of carried) {
      const [speed, cost] = [median(rounds.map(speedOf)), median(rounds.map(costOf))]
      const share = median(rounds.map((each, round) => speedOf(each) / speedOf(direct[round] as Carried)))
      rows.push([String(count), name, speed.toFixed(0), share.toFixed(2), cost.toFixed(2)])
      figures.push({
        flows: count,
        proxy: name,
        megabytesPerSecond: speed,
        ofDirect: share,
        cpuPerGigabyte: cost,
        rounds,
      })
    }
    const weft = carried.get('weft')
    if (weft === undefined || count !== 1) continue
    const against = (pick: (each: Carried) => number): number[] =>
      weft.map((each, round) => pick(each) / pick(direct[round] as Carried))
    verdicts.push(atLeast(against(speedOf), 0.7, "throughput of one flow, of the direct connection's"))
    verdicts.push(atMost(against(costOf), 1.6, "CPU a gigabyte of one flow, of the direct connection's"))
  }
  const head = ['flows', 'by', 'MB/s', 'of direct', 'CPU s/GB']
  return { title: 'Whole flows', head, rows, figures, verdicts, faults: [] }
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
    String(seconds),
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
