// The transport's body on the addon's channels: all that a wake-up of the thread brings comes in one call, and all that is
// written meanwhile leaves as it returns (native/channels.cc).

import type { Native, NativeChannels } from '../../kernel/native.ts'
import { addressText, type SocketAddress } from '../../model/address.ts'
import { MeshError } from '../../model/failure.ts'
import type { Budget } from './budget.ts'
import { BLOCKED, NativeChannel } from './channel-native.ts'
import { failureOf, isTimeout } from './errors.ts'
import { type Channel, type ConnectOptions, DEAF, DESK_BYTES, type Desk, type Transport } from './transport.ts'

/** Bytes of the arena that is read into, and of the one that is written from. */
const ARENA_BYTES = 1024 * 1024
const EVENT_ROWS = 4096
const WRITE_ROWS = 1024
/** Sides of pumps that are told of at once. */
const PUMP_ROWS = 512
/** Pipes of a thread: a pump beyond them copies. Each holds 256 KB at most, and is two descriptors. */
const PIPES_MOST = 128
/** From here on bytes that were just read are sent from where they are, and not copied behind what was written before. */
const DIRECT_BYTES = 8 * 1024

/**
 * Makes a transport. `onBug` hears what a sink threw; the channel it was called for is reset, the others live on. Throws
 * where the thread cannot watch its channels.
 */
export function nativeTransport(native: Native, onBug: (thrown: unknown) => void, pipes = PIPES_MOST): Transport {
  return new NativeTransport(native, onBug, pipes)
}

/** See Transport; the rest is for its channels. */
export class NativeTransport implements Transport, Desk {
  readonly arena = Buffer.allocUnsafeSlow(ARENA_BYTES)
  readonly native: Native
  readonly channels: NativeChannels
  readonly onBug: (thrown: unknown) => void
  /** Bytes held for its channels; of those that are pumped, as of the last count. */
  heldBytes = 0
  nowMs = 0
  /** Of events that JavaScript was told. */
  batches = 0
  readonly #out = Buffer.allocUnsafeSlow(ARENA_BYTES)
  readonly #events = new Int32Array(1 + 4 * EVENT_ROWS)
  readonly #writes = new Int32Array(1 + 3 * WRITE_ROWS)
  readonly #results = new Int32Array(1 + 3 * WRITE_ROWS)
  readonly #pumped = new Float64Array(1 + 3 * PUMP_ROWS)
  readonly #byId: (NativeChannel | undefined)[] = []
  #outAt = 0
  #inBatch = false
  #flushScheduled = false

  constructor(native: Native, onBug: (thrown: unknown) => void, pipes: number) {
    this.native = native
    this.onBug = onBug
    const tables = [this.arena, this.#out, this.#events, this.#writes, this.#results] as const
    this.channels = new native.Channels(...tables, () => this.#batch(), pipes)
    if (this.channels.status < 0) throw failureOf(this.channels.status, 'epoll')
  }

  adopt(fd: number, budget: Budget): Channel {
    const id = this.channels.adopt(fd)
    if (id < 0) throw failureOf(id, 'adopt')
    return this.#open(id, budget)
  }

  connect(fd: number, to: SocketAddress, { timeoutMs, budget, keepalive, begun }: ConnectOptions): Promise<Channel> {
    return new Promise((resolve, reject) => {
      const refuse = (cause: NodeJS.ErrnoException): void => {
        const kind = isTimeout(cause) ? 'CONNECT_TIMEOUT' : 'CONNECT_REFUSED'
        reject(new MeshError(kind, `${addressText(to)} cannot be reached: ${cause.code ?? cause.message}`, cause))
      }
      const id = this.channels.connect(fd, to.ip, to.port)
      if (id < 0) {
        refuse(failureOf(id, 'connect'))
        return
      }
      if (keepalive != null) {
        const { idleSeconds, intervalSeconds, probes } = keepalive
        this.native.setKeepalive(fd, idleSeconds, intervalSeconds, probes)
      }
      const channel = this.#open(id, budget)
      const giveUp = (why: string): void => {
        clearTimeout(timer)
        channel.abandon()
        reject(new MeshError('CONNECT_TIMEOUT', `${addressText(to)} ${why}`))
      }
      const timer = setTimeout(() => giveUp(`did not answer in ${timeoutMs} ms`), timeoutMs)
      channel.sink = {
        ...DEAF,
        lost: (cause) => {
          clearTimeout(timer)
          refuse(cause)
        },
      }
      channel.onConnected = () => {
        clearTimeout(timer)
        channel.sink = DEAF
        resolve(channel)
      }
      begun?.(() => giveUp('is not waited for any more'))
    })
  }

  tick(nowMs: number): void {
    this.nowMs = nowMs
    this.#count()
  }

  get stagedBytes(): number {
    this.#count()
    return this.heldBytes
  }

  /** Hears what pumps have carried, and what they hold. */
  #count(): void {
    const rows = this.#pumped
    for (let id = 0; id >= 0;) {
      id = this.channels.pumped(id, rows)
      for (let at = 1; at <= 3 * (rows[0] as number); at += 3) {
        this.#byId[rows[at] as number]?.counted(rows[at + 1] as number, rows[at + 2] as number)
      }
    }
  }

  get bytes(): Buffer {
    return this.#out
  }

  clear(length: number): number {
    if (length > DESK_BYTES) throw new RangeError(`a message of ${length} bytes is beyond the desk`)
    if (ARENA_BYTES - this.#outAt < length) this.flush()
    if (this.#writes[0] === 0) this.#outAt = 0 // all has been sent
    return this.#outAt
  }

  /** Takes bytes to be sent: copied, but for what stands at the desk, and long ones that have just been read. */
  stage(id: number, bytes: Buffer, from: number, to: number): void {
    if (bytes === this.#out && from === this.#outAt) {
      this.#row(id, from, to - from)
      this.#outAt = to
      return
    }
    if (bytes === this.arena && to - from >= DIRECT_BYTES) {
      this.#row(id, ~from, to - from)
      return
    }
    for (let at = from; at < to;) {
      if (this.#outAt === ARENA_BYTES) this.flush()
      if (this.#writes[0] === 0) this.#outAt = 0 // all has been sent
      const length = Math.min(to - at, ARENA_BYTES - this.#outAt)
      bytes.copy(this.#out, this.#outAt, at, at + length)
      this.#row(id, this.#outAt, length)
      this.#outAt += length
      at += length
    }
  }

  /** A row of what is to be sent; behind one of the same channel it may be the same row. */
  #row(id: number, offset: number, length: number): void {
    const writes = this.#writes
    let count = writes[0] as number
    if (count > 0) {
      const last = 3 * count - 2
      const end = (writes[last + 1] as number) + (writes[last + 2] as number)
      if (writes[last] === id && offset >= 0 && end === offset && (writes[last + 1] as number) >= 0) {
        writes[last + 2] = (writes[last + 2] as number) + length
        return
      }
    }
    if (count === WRITE_ROWS) {
      this.flush()
      count = 0
    }
    writes[3 * count + 1] = id
    writes[3 * count + 2] = offset
    writes[3 * count + 3] = length
    writes[0] = count + 1
    if (count > 0 || this.#inBatch || this.#flushScheduled) return
    this.#flushScheduled = true
    queueMicrotask(this.#flushLater)
  }

  readonly #flushLater = (): void => {
    this.#flushScheduled = false
    this.flush()
  }

  /** Bytes that wait for the next flush. */
  waiting(id: number): number {
    let sum = 0
    for (let row = 0; row < (this.#writes[0] as number); row++) {
      if (this.#writes[3 * row + 1] === id) sum += this.#writes[3 * row + 3] as number
    }
    return sum
  }

  /** Sends all that was written. */
  flush(): void {
    if (this.#writes[0] !== 0 && this.channels.flush() > 0) this.#settle()
  }

  /** Tells a channel's peer by TLS that nothing more will be written. */
  notifyClose(id: number): void {
    if (this.channels.notifyClose(id) > 0) this.#settle()
  }

  /** A channel is gone; its id may be another's by and by. */
  left(id: number): void {
    this.#byId[id] = undefined
  }

  #open(id: number, budget: Budget): NativeChannel {
    const channel = new NativeChannel(this, id, budget)
    this.#byId[id] = channel
    return channel
  }

  /** From the addon: what has happened, or what has become of what was written. */
  #batch(): void {
    this.#inBatch = true
    this.#settle() // of what was sent before: the events are younger
    this.batches++
    const events = this.#events
    const count = events[0] as number
    for (let at = 1; at <= 4 * count; at += 4) {
      const channel = this.#byId[events[at] as number]
      if (channel !== undefined) this.#tell(channel, events[at + 1] as number, at)
    }
    this.#inBatch = false
  }

  #tell(channel: NativeChannel, kind: number, at: number): void {
    const [a, b] = [this.#events[at + 2] as number, this.#events[at + 3] as number]
    try {
      channel.happened(kind, a, b)
    } catch (thrown) {
      this.giveUp(channel, thrown)
    }
  }

  /** Resets a channel whose sink failed, and tells the sink, so that whoever waits for it does not wait for ever. */
  giveUp(channel: NativeChannel, thrown: unknown): void {
    const { sink } = channel
    this.onBug(thrown)
    channel.reset()
    try {
      sink.lost(thrown instanceof Error ? thrown : new Error(String(thrown)))
    } catch (second) {
      this.onBug(second)
    }
  }

  #settle(): void {
    const results = this.#results
    const count = results[0] as number
    results[0] = 0
    for (let at = 1; at <= 3 * count; at += 3) {
      const channel = this.#byId[results[at] as number]
      if (results[at + 1] === BLOCKED) channel?.onBlocked(results[at + 2] as number)
      else channel?.onUnwritable(results[at + 2] as number)
    }
  }
}
