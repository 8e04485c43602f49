// A worker that takes the feed as agent/worker.ts does, decides as soon as a version is in force, and tells when a decision
// became another and how long it did nothing else meanwhile.

import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { BroadcastChannel, parentPort } from 'node:worker_threads'
import { FakeKernel } from '../../../agent/kernel/fake.ts'
import { routeTcp } from '../../../agent/model/route.ts'
import { Counts } from '../../../agent/proxy/plane/counts.ts'
import type { FromWorker, ToWorker } from '../../../agent/proxy/plane/feed.ts'
import { DataPlane } from '../../../agent/proxy/plane/plane.ts'
import { noAccessLog } from '../../../agent/telemetry/access.ts'

/** The channel that a bench listens to. */
export const PROBE_CHANNEL = 'weft-snapshot-bench'

/** What a worker saw. */
export interface Seen {
  readonly column: number
  /** Address of the probed service's first endpoint, as a decision has it from now on. */
  readonly ip: string
  /** process.hrtime() of the first such decision, in nanoseconds. */
  readonly atNs: bigint
  /** The longest that the loop was held since the address before: the work on a message, or a slice of what follows. */
  readonly heldMs: number
  /** What the first inventory takes on this worker's heap; told with the first address. */
  readonly heapBytes: number
}

if (parentPort !== null) probe(parentPort)

function probe(port: NonNullable<typeof parentPort>): void {
  const channel = new BroadcastChannel(PROBE_CHANNEL)
  const say = (message: FromWorker): void => port.postMessage(message)
  let plane: DataPlane | null = null
  let column = 0
  setInterval(() => say({ type: 'heartbeat' }), 500)
  port.on('message', (message: ToWorker) => {
    if (message.type === 'start') {
      column = message.column
      const counts = new Counts(message.counts, column)
      const onFault = (why: string): void => say({ type: 'fault', why })
      plane = new DataPlane({ sockets: new FakeKernel().sockets(), access: noAccessLog, counts, onFault })
      say({ type: 'ready' })
    } else if (message.type === 'piece' && plane !== null) void take(plane, message)
    else if (message.type === 'stop') process.exit(0)
  })

  let ip: string | null = null
  let heldMs = 0
  let emptyBytes: number | null = heapInUse()
  const take = async (to: DataPlane, { piece, rows }: ToWorker & { type: 'piece' }): Promise<void> => {
    let sinceMs = performance.now()
    const taking = to.take(piece, rows)
    const turn = (): void => {
      const nowMs = performance.now()
      heldMs = Math.max(heldMs, nowMs - sinceMs)
      sinceMs = nowMs
    }
    turn()
    let isTaken = false
    const watch = (): void => {
      if (isTaken) return
      turn()
      setImmediate(watch)
    }
    setImmediate(watch)
    const taken = await taking
    isTaken = true
    turn() // what follows is the probe's own
    if (taken === 'next') say({ type: 'next' })
    else if (taken === 'applied') say({ type: 'applied', version: piece.version })
    else say({ type: 'rejected', version: piece.version, why: taken.rejected })
    const decided = firstEndpoint(to)
    if (decided === null || decided === ip) return
    ip = decided
    const seen = { column, ip, atNs: process.hrtime.bigint(), heldMs }
    const heapBytes = emptyBytes === null ? 0 : heapInUse() - emptyBytes
    emptyBytes = null
    channel.postMessage({ ...seen, heapBytes } satisfies Seen)
    heldMs = 0
  }
}

/** Bytes on this thread's heap that are no garbage. */
function heapInUse(): number {
  setFlagsFromString('--expose-gc')
  ;(runInNewContext('gc') as () => void)()
  return getHeapStatistics().used_heap_size
}

/** A whole decision about the first service. */
function firstEndpoint({ node: { snapshot } }: DataPlane): string | null {
  const service = snapshot.serviceByHost.get('s0.default.svc.cluster.local')
  const port = service?.ports[0]
  if (service === undefined || port === undefined) return null
  return (
    routeTcp(
      snapshot,
      { kind: 'service', service, port, address: { ip: '', port: port.port }, external: false, family: 4 },
      { consumer: 'default', caller: null },
    ).endpoints[0]?.address.ip ?? null
  )
}
