// Inside a pod: takes orders on standard input, a line of JSON each, and answers each with one, in their order.
import { createInterface } from 'node:readline'

/** Runs until standard input ends. An order that fails is answered with `{ failed }`. */
export function takeOrders<Order>(carryOut: (order: Order) => Promise<unknown>): void {
  const lines = createInterface({ input: process.stdin })
  lines.on('close', () => process.exit())
  let last: Promise<unknown> = Promise.resolve()
  lines.on('line', (line) => {
    const done = last.then(() => carryOut(JSON.parse(line) as Order))
    last = done.then(
      (answer) => process.stdout.write(`${JSON.stringify(answer ?? null)}\n`),
      (error: Error) => process.stdout.write(`${JSON.stringify({ failed: error.message })}\n`),
    )
  })
}
