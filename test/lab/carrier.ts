// One end of a connection inside a pod, as orders on standard input say (PodProgram): it carries so many bytes, ends as it
// is told, and says what it carried.
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { takeOrders } from './orders.ts'

/**
 * How an end behaves. `first`: it gives its bytes, then its FIN, and takes until the other's. `last`: it takes until the
 * other's FIN, and only then gives its bytes and its own. `resets`: gives while it takes, and once it has given and
 * `takes` bytes have come, and all was quiet for a while, resets. `reset`: gives while it takes, until it is reset.
 */
export type Manner = 'first' | 'last' | 'resets' | 'reset'

export interface Part {
  readonly gives: number
  readonly takes: number
  readonly manner: Manner
}

/** `serve`: takes one connection; answers once it listens. `served`: answers with what that one carried, once it is over. */
export type CarrierOrder =
  | { readonly serve: number; readonly part: Part }
  | { readonly served: true }
  | { readonly dial: net.TcpNetConnectOpts; readonly part: Part }

/** What one end carried, and how it ended: `end`, or an error's code. */
export interface Carried {
  readonly sent: number
  readonly received: number
  readonly how: string
}

const QUIET_MS = 200
const CHUNK = Buffer.alloc(256 * 1024, 'weft')

async function give(socket: net.Socket, bytes: number): Promise<void> {
  let wake = (): void => undefined
  for (const event of ['drain', 'close']) socket.on(event, () => wake())
  for (let left = bytes; left > 0 && !socket.destroyed; left -= Math.min(left, CHUNK.length)) {
    const isTaken = socket.write(left < CHUNK.length ? CHUNK.subarray(0, left) : CHUNK)
    if (!isTaken) await new Promise<void>((resolve) => (wake = resolve))
  }
}

async function carry(socket: net.Socket, { gives, takes, manner }: Part): Promise<Carried> {
  let received = 0
  let how = 'end'
  const { promise: hasAll, resolve: onAll } = Promise.withResolvers<void>()
  const { promise: isEnded, resolve: onEnded } = Promise.withResolvers<void>()
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  socket.on('error', (error) => (how = (error as NodeJS.ErrnoException).code ?? error.message))
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length
    if (received >= takes) onAll()
  })
  socket.on('end', onEnded)
  if (manner === 'last') await Promise.race([isEnded, closed])
  await give(socket, gives)
  if (manner === 'first' || manner === 'last') socket.end()
  if (manner === 'resets') {
    await Promise.race([hasAll, closed])
    await sleep(QUIET_MS)
    socket.resetAndDestroy()
  }
  await closed
  return { sent: socket.bytesWritten, received, how }
}

let serving: Promise<Carried> | null = null

function serve(port: number, part: Part): Promise<object> {
  const server = net.createServer({ allowHalfOpen: true })
  serving = new Promise((resolve) => {
    server.once('connection', (socket) => {
      server.close()
      resolve(carry(socket, part))
    })
  })
  return new Promise((resolve, reject) => server.once('error', reject).listen(port, () => resolve({})))
}

function carryOut(order: CarrierOrder): Promise<unknown> {
  if ('serve' in order) return serve(order.serve, order.part)
  if ('served' in order) return serving ?? Promise.resolve(null)
  return carry(net.connect({ ...order.dial, allowHalfOpen: true }), order.part)
}

takeOrders(carryOut)
