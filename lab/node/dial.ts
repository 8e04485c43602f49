// TCP connections that a node process opens in its node's network namespace and hands to the control plane, which is
// outside of it: this is how the API server of a lab reaches a node. Both ends of what the two say to each other.
import type { ChildProcess } from 'node:child_process'
import net from 'node:net'
import type { Socket } from 'node:net'

/** A connection that is not made within this time is given up. */
export const DIAL_TIMEOUT_MS = 5_000
/** Connections that one node is asked for at once; more are refused. */
export const DIALS_AT_ONCE = 64

/** What the control plane asks of a node process. */
export interface DialOrder {
  readonly kind: 'dial'
  readonly id: number
  readonly address: string
  readonly port: number
}

/** What a node process answers; without a `fault` the connection comes with it. */
export interface DialWord {
  readonly kind: 'dialled'
  readonly id: number
  readonly fault: string | null
}

/** The node's end: makes the connections that the control plane asks for. Never throws. */
export function answerDials(): void {
  process.on('message', (order: DialOrder) => {
    if (order.kind !== 'dial') return
    const { id, address, port } = order
    const say = (fault: string | null, socket?: Socket): void => {
      process.send?.({ kind: 'dialled', id, fault } satisfies DialWord, socket, {}, () => undefined)
    }
    const socket = net.connect({ host: address, port, timeout: DIAL_TIMEOUT_MS })
    socket.pause() // what the other side says is for whoever gets it
    socket.on('timeout', () => socket.destroy(new Error('i/o timeout')))
    const failed = (error: NodeJS.ErrnoException): void => {
      say(`dial tcp ${address}:${String(port)}: ${goWords(error)}`)
    }
    socket.once('error', failed)
    socket.once('connect', () => {
      socket.off('error', failed).on('error', () => undefined)
      socket.setTimeout(0)
      say(null, socket)
    })
  })
}

/** An error of connect() as Kubernetes' API server, a program in Go, words it. */
function goWords(error: NodeJS.ErrnoException): string {
  if (error.code === 'ECONNREFUSED') return 'connect: connection refused'
  if (error.code === 'EHOSTUNREACH') return 'connect: no route to host'
  return error.message
}

/** The control plane's end, over one node process. */
export class NodeDialler {
  readonly #node: ChildProcess
  readonly #open = new Map<number, (word: DialWord | null, socket?: Socket) => void>()
  #next = 0

  constructor(node: ChildProcess) {
    this.#node = node
    node.on('message', (word: DialWord, socket) => {
      if (word.kind !== 'dialled') return
      const settle = this.#open.get(word.id)
      if (settle === undefined) (socket as Socket | undefined)?.destroy()
      else settle(word, socket as Socket | undefined)
    })
    node.on('exit', () => {
      for (const settle of this.#open.values()) settle(null)
    })
  }

  /** A connection to `address` as the node sees it. Rejects where none is made in time, or the node is gone. */
  dial(address: string, port: number): Promise<Socket> {
    const where = `dial tcp ${address}:${String(port)}`
    if (!this.#node.connected) return Promise.reject(new Error(`${where}: connect: no route to host`))
    if (this.#open.size >= DIALS_AT_ONCE) return Promise.reject(new Error(`${where}: too many at once`))
    const id = this.#next++
    return new Promise((resolve, reject) => {
      const settle = (word: DialWord | null, socket?: Socket): void => {
        clearTimeout(timer)
        this.#open.delete(id)
        if (word?.fault === null && socket) resolve(socket)
        else reject(new Error(word?.fault ?? `${where}: connect: no route to host`))
      }
      // the node's own limit comes first, unless its process hangs
      const late = `${where}: i/o timeout`
      const timer = setTimeout(() => settle({ kind: 'dialled', id, fault: late }), 2 * DIAL_TIMEOUT_MS)
      this.#open.set(id, settle)
      this.#node.send({ kind: 'dial', id, address, port } satisfies DialOrder, (error) => {
        if (error) settle(null)
      })
    })
  }
}
