// What one endpoint's change costs, from the write at the API server to the next decision on a worker:
// `npm run bench:snapshot -- --services 1000 --endpoints 10 --rounds 60 --workers 1`. Nothing here is judged; it is printed.

import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { deserialize, serialize } from 'node:v8'
import { BroadcastChannel } from 'node:worker_threads'
import { connectKube, type KubeClient } from '../../../agent/kube/client.ts'
import { Cluster, type ClusterView } from '../../../agent/kube/cluster.ts'
import { pieces } from '../../../agent/model/delta.ts'
import { DataSide } from '../../../agent/node/workers.ts'
import { FilledCluster, type Size } from './fill.ts'
import { PROBE_CHANNEL, type Seen } from './probe-worker.ts'

export interface Rounds extends Size {
  readonly rounds: number
  readonly workers: number
}

/** Figures, each over all rounds and workers unless it says otherwise. */
export interface Figures {
  readonly start: {
    readonly totalMs: number
    readonly heldMs: number
    readonly heapBytes: number
  }
  readonly controlMs: readonly number[]
  readonly deltaBytes: readonly number[]
  readonly readMs: readonly number[]
  readonly heldMs: readonly number[]
  readonly effectMs: readonly number[]
}

/** A change is given so long. */
const ROUND_TIMEOUT_MS = 20_000
/** Between two rounds, so that each begins in quiet. */
const QUIET_MS = 40

/** Runs all rounds. Throws where a change has no effect. */
export async function measure({ rounds, workers, ...size }: Rounds): Promise<Figures> {
  await using filled = new FilledCluster(size)
  const code = new URL('./probe-worker.ts', import.meta.url)
  const handles = { body: 'fake', own: -1, accepted: -1, home: -1 } as const
  const faults: string[] = []
  const log = { error: (fields: object) => void faults.push(JSON.stringify(fields)), warn: () => {} }
  using probes = new Probes()
  const begunNs = process.hrtime.bigint()
  const data = new DataSide({ start: { handles, accessLog: false }, workers, log, code })
  const views = new Views(data)
  const client = views.timed(connectKube(await filled.serve()))
  const options = { node: 'own', clusterDomain: 'cluster.local', rootNamespace: 'istio-system', settleMs: 10 }
  const view = (told: ClusterView): void => views.take(told, () => cluster.inventory())
  const cluster = new Cluster(client, { ...options, namespace: 'weft-system', sandboxedRuntimes: [] }, { log, view })
  try {
    await cluster.start()
    const first = await probes.see('10.1.0.0', workers)
    const controlMs: number[] = []
    const effects: (Seen & { readonly ms: number })[] = []
    const [deltaBytes, readMs]: [number[], number[]] = [[], []]
    for (let round = 0; round < rounds; round++) {
      await new Promise((resolve) => setTimeout(resolve, QUIET_MS))
      const ip = `10.250.${round >> 8}.${round & 255}`
      const writtenNs = process.hrtime.bigint()
      const seen = probes.see(ip, workers)
      filled.move(0, ip)
      for (const one of await seen) effects.push({ ...one, ms: Number(one.atNs - writtenNs) / 1e6 })
      controlMs.push(views.lastMs)
      const bytes = views.lastDelta()
      deltaBytes.push(bytes.length)
      const readingMs = performance.now()
      deserialize(bytes)
      readMs.push(performance.now() - readingMs)
    }
    if (faults.length > 0) throw new Error(faults.join('\n'))
    const last = (pick: (one: Seen) => number): number => Math.max(...first.map(pick))
    return {
      start: {
        totalMs: last(({ atNs }) => Number(atNs - begunNs) / 1e6),
        heldMs: last(({ heldMs }) => heldMs),
        heapBytes: last(({ heapBytes }) => heapBytes),
      },
      controlMs,
      deltaBytes,
      readMs,
      heldMs: effects.map(({ heldMs }) => heldMs),
      effectMs: effects.map(({ ms }) => ms),
    }
  } finally {
    cluster.stop()
    await data.stop(0)
  }
}

/** Hands views on as the agent does, and takes the control side's time: from the event's arrival to the last post. */
class Views {
  lastMs = 0
  #eventMs = 0
  #begunMs = 0
  readonly #data: DataSide
  #last: ClusterView | null = null

  constructor(data: DataSide) {
    this.#data = data
  }

  /** The client, with the time that each event takes. */
  timed(client: KubeClient): KubeClient {
    const timed: KubeClient['watch'] = (ask, onEvent, signal) => {
      const take: typeof onEvent = (event) => {
        setImmediate(() => (this.#begunMs = performance.now())) // the view's own turn is right behind this one
        const beforeMs = performance.now()
        onEvent(event)
        this.#eventMs = performance.now() - beforeMs
      }
      return client.watch(ask, take, signal)
    }
    return { ...client, watch: timed }
  }

  take(view: ClusterView, inventory: Parameters<DataSide['change']>[1]): void {
    this.#data.change(view.delta, inventory)
    this.lastMs = this.#eventMs + performance.now() - this.#begunMs
    this.#last = view
  }

  /** The last delta as it crosses to a worker. */
  lastDelta(): Buffer {
    if (this.#last === null) return Buffer.alloc(0)
    return serialize([...pieces(this.#last.delta)].map((piece) => ({ type: 'piece', piece })))
  }
}

/** Hears what the workers see. */
class Probes implements Disposable {
  readonly #channel = new BroadcastChannel(PROBE_CHANNEL)
  readonly #seen = new Map<string, Seen[]>()
  #onSeen = (): void => {}

  constructor() {
    this.#channel.onmessage = (event) => {
      const seen = (event as unknown as { readonly data: Seen }).data
      this.#seen.set(seen.ip, [...(this.#seen.get(seen.ip) ?? []), seen])
      this.#onSeen()
    }
  }

  /** Resolves once so many workers have decided for this address. */
  async see(ip: string, workers: number): Promise<readonly Seen[]> {
    const { promise, resolve, reject } = Promise.withResolvers<readonly Seen[]>()
    const timer = setTimeout(() => reject(new Error(`no worker decided for ${ip} in time`)), ROUND_TIMEOUT_MS)
    const look = (): void => {
      const seen = this.#seen.get(ip) ?? []
      if (seen.length >= workers) resolve(seen)
    }
    this.#onSeen = look
    look()
    const seen = await promise
    clearTimeout(timer)
    return seen
  }

  [Symbol.dispose](): void {
    this.#channel.close()
  }
}

/** The value that a share of all are not above. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN
}

function print({ services, endpoints, rounds, workers }: Rounds, figures: Figures): void {
  const row = (name: string, values: readonly number[], unit: string, target: string): void => {
    const [p50, p99] = [quantile(values, 0.5), quantile(values, 0.99)].map((value) => value.toFixed(2).padStart(9))
    console.log(`${name.padEnd(44)}${p50}${p99}  ${unit.padEnd(6)}${target}`)
  }
  console.log(
    `${services} services x ${endpoints} endpoints, ${workers} workers, ${rounds} rounds of one endpoint's change`,
  )
  console.log(`${''.padEnd(44)}${'p50'.padStart(9)}${'p99'.padStart(9)}  unit  target`)
  row('control side, from event to message', figures.controlMs, 'ms', '<= 5')
  row(
    'delta as it crosses to a worker',
    figures.deltaBytes.map((bytes) => bytes / 1024),
    'KB',
    '',
  )
  row('pause of a worker: reading it', figures.readMs, 'ms', '')
  row('pause of a worker: building and swapping', figures.heldMs, 'ms', '<= 1')
  row('effect, from API write to decision', figures.effectMs, 'ms', '<= 30 p99')
  const { totalMs, heldMs, heapBytes } = figures.start
  console.log(
    `full start: ${totalMs.toFixed(0)} ms from nothing to the first decision, longest hold of a worker's loop ` +
      `${heldMs.toFixed(2)} ms; ${(heapBytes / 2 ** 20).toFixed(1)} MB on the heap of each worker`,
  )
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const number = (value: string) => ({ type: 'string', default: value }) as const
  const { values } = parseArgs({
    options: { services: number('1000'), endpoints: number('10'), rounds: number('60'), workers: number('1') },
  })
  const wish = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Number(value)]))
  const asked = { services: 1, endpoints: 1, rounds: 1, workers: 1, ...wish }
  print(asked, await measure(asked))
}
