// The agent before, in a thread of its own: whoever asks it waits for the answer and does nothing else meanwhile.
import { once } from 'node:events'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { offerHandOver } from '../kernel/hand-over.ts'

export interface AgentBefore {
  /** Resolves once another has what it was given. */
  readonly taken: Promise<unknown>
  /** Lets go of the place. */
  leave(): Promise<unknown>
}

/** Offers captures at a path. Resolves once it can be asked. */
export async function agentBefore(path: string): Promise<AgentBefore> {
  const worker = new Worker(new URL(import.meta.url), { workerData: path })
  await once(worker, 'message')
  const taken = once(worker, 'message')
  const leave = (): Promise<unknown> => {
    worker.postMessage('leave')
    return once(worker, 'exit')
  }
  return { taken, leave }
}

if (!isMainThread) {
  const port = parentPort as NonNullable<typeof parentPort>
  const offer = offerHandOver(workerData as string, {
    captured: () => [],
    isLeaving: () => false,
    taken: () => port.postMessage('taken'),
  })
  port.once('message', () => {
    offer.close()
    port.close()
  })
  port.postMessage('ready')
}
