// Root of the data side: a worker thread. Snapshots and captured pods come in, connections go through, counters go out.

import { parentPort } from 'node:worker_threads'
import { openSockets } from './kernel/bpf.ts'
import { native } from './kernel/native.ts'
import { Counts } from './proxy/plane/counts.ts'
import type { FromWorker, ToWorker } from './proxy/plane/feed.ts'
import { DataPlane, faultText } from './proxy/plane/plane.ts'
import type { Transport } from './proxy/transport/transport.ts'
import { nativeTransport } from './proxy/transport/transport-native.ts'
import { nodeTransport } from './proxy/transport/transport-node.ts'
import { AimedLog } from './telemetry/aimed.ts'

/** How often the worker says that it lives, and the coarse clock moves. */
const HEARTBEAT_MS = 500

if (parentPort === null) throw new Error('worker.ts is started as a worker thread')
const port = parentPort
const say = (message: FromWorker): void => port.postMessage(message)
let plane: DataPlane | null = null
/** What is being made. */
let version = 0

port.on('message', (message: ToWorker) => {
  if (message.type === 'start') {
    plane = new DataPlane({
      sockets: openSockets(message.handles),
      transport: openTransport(message.transport ?? 'native'),
      access: new AimedLog(),
      records: message.accessLog,
      limits: message.limits ?? {},
      counts: new Counts(message.counts, message.column),
      breakers: { memory: message.breakers, column: message.column },
      onFault: (why) => say({ type: 'fault', why }),
      onStaleKeys: (name) => say({ type: 'stale-keys', name }),
      onRefused: (refusal) => say({ type: 'refused', version, refusal }),
    })
    say({ type: 'ready' })
    return
  }
  if (plane !== null) tell(plane, message)
})

const heartbeat = setInterval(() => {
  plane?.tick()
  say({ type: 'heartbeat' })
}, HEARTBEAT_MS)

/** The transport that is wanted; where the thread cannot have the native one, the other carries, and that is said. */
function openTransport(body: 'native' | 'node'): Transport {
  const onBug = (thrown: unknown): void => say({ type: 'fault', why: faultText(thrown) })
  if (body === 'node') return nodeTransport(onBug)
  try {
    return nativeTransport(native(), onBug)
  } catch (error) {
    say({ type: 'fault', why: `node:net carries, for the native transport cannot be opened: ${faultText(error)}` })
    return nodeTransport(onBug)
  }
}

async function take(to: DataPlane, { piece, rows }: ToWorker & { type: 'piece' }): Promise<void> {
  version = piece.version
  const taken = await to.take(piece, rows)
  if (taken === 'next') say({ type: 'next' })
  else if (taken === 'applied') say({ type: 'applied', version })
  else say({ type: 'rejected', version, why: taken.rejected })
}

function tell(to: DataPlane, message: Exclude<ToWorker, { type: 'start' }>): void {
  switch (message.type) {
    case 'piece':
      void take(to, message)
      return
    case 'capture':
      to.capture(message.pod, message.row)
      return
    case 'release':
      to.release(message.uid, message.gone)
      return
    case 'identity':
      to.identify(message.credentials)
      return
    case 'no-identity':
      to.node.identities.forget(message.uri)
      return
    case 'material':
      to.equip(message.material)
      return
    case 'no-material':
      to.node.materials.forget(message.name)
      return
    case 'keys':
      to.node.tokens.set(message.keySet)
      return
    case 'no-keys':
      to.node.tokens.forget(message.name)
      return
    case 'flows':
      to.account(message.flows)
      return
    case 'scrape':
      say({ type: 'counters', id: message.id, counters: to.counters() })
      return
    case 'stop':
      void to.stop(message.graceMs).then(() => {
        clearInterval(heartbeat)
        process.exit() // ends this thread alone
      })
  }
}
