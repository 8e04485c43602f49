// The transport's body on node:net: one read arena for all channels, pooled write buffers, no streams on the way.

import { addressText, type SocketAddress } from '../../model/address.ts'
import { MeshError } from '../../model/failure.ts'
import type { Budget } from './budget.ts'
import { BUFFER_BYTES, NodeChannel } from './channel-node.ts'
import { isTimeout } from './errors.ts'
import { IDLE_SECONDS } from './keepalive.ts'
import { type Channel, type ConnectOptions, DEAF, plainDesk, type Transport } from './transport.ts'

/** Write buffers kept for reuse while nobody needs them. */
const SPARE_BUFFERS = 32

/** Silence after which the kernel asks whether the peer still lives. */
const KEEPALIVE_MS = IDLE_SECONDS * 1000

/** Makes a transport. `onBug` hears what a sink threw; the channel it was called for is reset, the others live on. */
export function nodeTransport(onBug: (thrown: unknown) => void): Transport {
  return new NodeTransport(onBug)
}

/** See Transport; the rest is for its channels. */
export class NodeTransport implements Transport {
  // libuv reads and calls back one socket at a time, so all of them can read into the same memory.
  readonly arena = Buffer.allocUnsafeSlow(BUFFER_BYTES)
  readonly desk = plainDesk()
  readonly onBug: (thrown: unknown) => void
  stagedBytes = 0
  nowMs = 0
  #spare: Buffer[] = []
  #dirty: NodeChannel[] = []
  #inEvent = false
  #flushScheduled = false

  constructor(onBug: (thrown: unknown) => void) {
    this.onBug = onBug
  }

  adopt(fd: number, budget: Budget): Channel {
    const channel = new NodeChannel(this, fd, budget)
    channel.socket.setKeepAlive(true, KEEPALIVE_MS)
    return channel
  }

  connect(fd: number, to: SocketAddress, { timeoutMs, budget, keepalive, begun }: ConnectOptions): Promise<Channel> {
    const channel = new NodeChannel(this, fd, budget)
    return new Promise((resolve, reject) => {
      const { socket } = channel
      const fail = (code: 'CONNECT_REFUSED' | 'CONNECT_TIMEOUT', why: string, cause?: unknown): void => {
        clearTimeout(timer)
        channel.abandon()
        reject(new MeshError(code, `${addressText(to)} ${why}`, cause))
      }
      const timer = setTimeout(() => fail('CONNECT_TIMEOUT', `did not answer in ${timeoutMs} ms`), timeoutMs)
      channel.sink = {
        ...DEAF,
        lost: (cause) => {
          const { code = cause.message } = cause as NodeJS.ErrnoException
          fail(isTimeout(cause) ? 'CONNECT_TIMEOUT' : 'CONNECT_REFUSED', `cannot be reached: ${code}`, cause)
        },
      }
      socket.once('connect', () => {
        clearTimeout(timer)
        channel.sink = DEAF
        if (keepalive == null) socket.setKeepAlive(true, KEEPALIVE_MS)
        else {
          const { idleSeconds, intervalSeconds, probes } = keepalive
          socket.setKeepAlive(true, idleSeconds * 1000, intervalSeconds * 1000, probes)
        }
        resolve(channel)
      })
      socket.connect({ host: to.ip, port: to.port })
      begun?.(() => fail('CONNECT_TIMEOUT', 'is not waited for any more'))
    })
  }

  tick(nowMs: number): void {
    this.nowMs = nowMs
  }

  /** Runs what an event does, then sends what it queued: one write a channel. */
  event(channel: NodeChannel, run: (channel: NodeChannel, arg: number) => void, arg: number): void {
    const outermost = !this.#inEvent
    this.#inEvent = true
    try {
      run(channel, arg)
    } catch (thrown) {
      this.onBug(thrown)
      this.#giveUp(channel, thrown)
    }
    if (!outermost) return
    this.#inEvent = false
    this.flush()
  }

  /** Resets a channel whose sink failed, and tells the sink, so that whoever waits for it does not wait for ever. */
  #giveUp(channel: NodeChannel, thrown: unknown): void {
    const { sink } = channel
    channel.reset()
    try {
      sink.lost(thrown instanceof Error ? thrown : new Error(String(thrown)))
    } catch (second) {
      this.onBug(second)
    }
  }

  /** Notes that a channel has something to send: at the end of this event, else of this turn of the loop. */
  touch(channel: NodeChannel): void {
    this.#dirty.push(channel)
    if (this.#inEvent || this.#flushScheduled) return
    this.#flushScheduled = true
    queueMicrotask(this.#flushLater)
  }

  readonly #flushLater = (): void => {
    this.#flushScheduled = false
    this.flush()
  }

  flush(): void {
    const dirty = this.#dirty
    for (let i = 0; i < dirty.length; i++) (dirty[i] as NodeChannel).send()
    dirty.length = 0
  }

  take(): Buffer {
    this.stagedBytes += BUFFER_BYTES
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES)
  }

  give(buffer: Buffer): void {
    this.stagedBytes -= BUFFER_BYTES
    if (this.#spare.length < SPARE_BUFFERS) this.#spare.push(buffer)
  }
}
