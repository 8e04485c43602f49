// The test's hand inside a pod: an asker started by `weft lab exec`, given orders one after the other.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Order, Tally } from './asker.ts'

const program = (name: string): string => new URL(`../../${name}`, import.meta.url).pathname
const ORDER_TIMEOUT_MS = 60_000

export interface Client {
  ask(order: Order): Promise<Tally>
  close(): Promise<void>
}

/** Starts an asker in a pod (`namespace/pod`) of the lab in `folder`. */
export function clientIn(folder: string, pod: string): Client {
  const args = [program('agent/main.ts'), 'lab', 'exec', '--dir', folder, pod, '--', process.execPath]
  const child = spawn(process.execPath, [...args, program('test/bookinfo/asker.ts')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const waiting: ((line: string) => void)[] = []
  createInterface({ input: child.stdout }).on('line', (line) => waiting.shift()?.(line))
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  return {
    ask: (order) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`no answer to ${JSON.stringify(order)}`)), ORDER_TIMEOUT_MS)
        void ended.then(() => reject(new Error('the asker ended')))
        waiting.push((line) => {
          clearTimeout(timer)
          resolve(JSON.parse(line) as Tally)
        })
        child.stdin.write(`${JSON.stringify(order)}\n`)
      }),
    close: async () => {
      child.stdin.end()
      await ended
    },
  }
}
