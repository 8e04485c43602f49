// A worker that speaks the feed's protocol and misbehaves when told to: by the version of the inventory it is given.
import { type MessagePort, parentPort } from 'node:worker_threads'
import type { FromWorker, ToWorker } from './proxy/plane/feed.ts'

/** Versions that stand for a fault. */
export const CRASH = 666
export const FALL_SILENT = 777

if (parentPort !== null) obey(parentPort) // else only the constants are wanted

function obey(port: MessagePort): void {
  const told: string[] = []
  const say = (message: FromWorker): void => port.postMessage(message)
  const heartbeat = setInterval(() => say({ type: 'heartbeat' }), 100)
  port.on('message', (message: ToWorker) => {
    switch (message.type) {
      case 'start':
        say({ type: 'ready' })
        break
      case 'inventory':
        told.push(`inventory ${message.inventory.version}`)
        if (message.inventory.version === CRASH) throw new Error('told to crash')
        if (message.inventory.version === FALL_SILENT) clearInterval(heartbeat)
        say({ type: 'applied', version: message.inventory.version })
        break
      case 'capture':
        told.push(`capture ${message.pod.uid}`)
        break
      case 'flows':
        break
      case 'release':
        told.push(`release ${message.uid}`)
        break
      case 'scrape':
        // a test reads back what this worker was told, in the place of a fault's text
        say({ type: 'fault', why: told.join(', ') })
        break
      case 'stop':
        process.exit(0)
    }
  })
}
