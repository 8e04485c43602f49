// A worker that speaks the feed's protocol and misbehaves when told to: by the version of the inventory it is given.
import { type MessagePort, parentPort } from 'node:worker_threads'
import type { Backends } from '../model/backends.ts'
import { NO_POLICY } from '../model/destination.ts'
import { Breakers } from '../proxy/plane/breakers.ts'
import { Counts } from '../proxy/plane/counts.ts'
import type { FromWorker, ToWorker } from '../proxy/plane/feed.ts'

/** Versions that stand for a fault. */
export const CRASH = 666
export const FALL_SILENT = 777
/** The worker of column 1 alone falls silent. */
export const ONE_FALLS_SILENT = 778
export const REFUSE = 888

/** Each counts one connection of the pod that has this row. */
export const COUNTED_ROW = 0

if (parentPort !== null) obey(parentPort) // else only the constants are wanted

function obey(port: MessagePort): void {
  const told: string[] = []
  let column = -1
  let requests = 0
  const say = (message: FromWorker): void => port.postMessage(message)
  const heartbeat = setInterval(() => say({ type: 'heartbeat' }), 100)
  const take = ({ version, from, last }: (ToWorker & { type: 'piece' })['piece']): void => {
    if (!last) return say({ type: 'next' })
    told.push(from === 0 ? `all of ${version}` : `${version} from ${from}`)
    if (version === REFUSE) return say({ type: 'rejected', version, why: 'told to refuse' })
    if (version === CRASH) throw new Error('told to crash')
    if (version === FALL_SILENT || (version === ONE_FALLS_SILENT && column === 1 && from !== 0))
      clearInterval(heartbeat)
    requests++
    say({ type: 'applied', version })
  }
  port.on('message', (message: ToWorker) => {
    switch (message.type) {
      case 'start':
        column = message.column
        new Counts(message.counts, column).enter(COUNTED_ROW)
        ejectOwn(message)
        say({ type: 'ready' })
        break
      case 'piece':
        take(message.piece)
        break
      case 'capture':
        told.push(`capture ${message.pod.uid}`)
        break
      case 'material':
        told.push(`material ${message.material.name}`)
        break
      case 'keys':
        told.push(`keys ${message.keySet.name}`)
        break
      case 'identity':
      case 'no-identity':
      case 'no-material':
      case 'no-keys':
      case 'flows':
        break
      case 'release':
        told.push(`release ${message.uid}`)
        break
      case 'scrape':
        // a test reads back what this worker was told, in the place of a fault's text
        say({ type: 'fault', why: `${column}: ${told.join(', ')}` })
        say({
          type: 'counters',
          id: message.id,
          counters: [{ name: 'weft_retries_total', labels: ['told'], value: requests }],
        })
        break
      case 'stop':
        process.exit(0)
    }
  })
}

/** Of endpoints that have a number each, a worker ejects the one that has its own. */
function ejectOwn({ breakers: memory, column }: ToWorker & { type: 'start' }): void {
  const outliers = {
    ...{ consecutive5xx: 1, consecutiveGateway: 0, consecutiveLocal: 0, splitsLocal: false, codes: [] },
    ...{ intervalMs: 10_000, baseEjectionMs: 30_000, maxEjectionPercent: 100, minHealthPercent: 0 },
  }
  const address = { ip: `10.0.0.${column}`, port: 80 }
  const to: Backends = {
    ...{ key: '', host: 'a', subset: null, port: 80, family: 4, isUnknown: false, affinitySeconds: null },
    policy: { ...NO_POLICY, scope: 'a||80|default/a', outliers },
    endpoints: [
      {
        address,
        workload: null,
        ready: true,
        serving: true,
        terminating: false,
        node: null,
        locality: null,
        readySinceMs: null,
      },
    ],
    groups: null,
  }
  const deaf = { onOverflow: () => {}, onEjection: () => {} }
  new Breakers({ memory, column, ...deaf }).of(to)?.result(`${address.ip}:80`, 500)
}
