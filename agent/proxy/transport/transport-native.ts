// The transport's body on the addon's channels: all that a wake-up of the thread brings comes in one call, and all that is
// written meanwhile leaves as it returns (native/channels.cc).

import { getSystemErrorName } from 'node:util'
import type { Native, NativeChannels } from '../../kernel/native.ts'
import { addressText, type SocketAddress } from '../../model/address.ts'
import { MeshError } from '../../model/failure.ts'
import type { Budget } from './budget.ts'
import { isTimeout } from './errors.ts'
import type { Channel, ChannelSink, ConnectOptions, Ends, Transport } from './transport.ts'

/** Bytes of the arena that is read into, and of the one that is written from. */
const ARENA_BYTES = 1024 * 1024
const EVENT_ROWS = 4096
const WRITE_ROWS = 1024
/** From here on bytes that were just read are sent from where they are, and not copied behind what was written before. */
const DIRECT_BYTES = 8 * 1024

/** How long a closed channel may take to hand over what is queued. */
const CLOSE_LIMIT_MS = 10_000
/** How long a channel that cannot be written to any more may take to hand over what it had received. */
const LAST_READ_MS = 30_000

// kinds of events and results, as native/channels.cc numbers them
const BYTES = 1
const END = 2
const FAILED = 3
const DRAINED = 4
const CONNECTED = 5
const BLOCKED = 6
const UNWRITABLE = 7

const DEAF: ChannelSink = { bytes() {}, end() {}, drained() {}, closed() {}, lost() {} }

/**
 * Makes a transport. `onBug` hears what a sink threw; the channel it was called for is reset, the others live on. Throws
 * where the thread cannot watch its channels.
 */
export function nativeTransport(native: Native, onBug: (thrown: unknown) => void): Transport {
  return new NativeTransport(native, onBug)
}

class NativeTransport implements Transport {
  readonly arena = Buffer.allocUnsafeSlow(ARENA_BYTES)
  readonly native: Native
  readonly channels: NativeChannels
  readonly onBug: (thrown: unknown) => void
  stagedBytes = 0
  nowMs = 0
  readonly #out = Buffer.allocUnsafeSlow(ARENA_BYTES)
  readonly #events = new Int32Array(1 + 4 * EVENT_ROWS)
  readonly #writes = new Int32Array(1 + 3 * WRITE_ROWS)
  readonly #results = new Int32Array(1 + 3 * WRITE_ROWS)
  readonly #byId: (NativeChannel | undefined)[] = []
  #outAt = 0
  #inBatch = false
  #flushScheduled = false

  constructor(native: Native, onBug: (thrown: unknown) => void) {
    this.native = native
    this.onBug = onBug
    const tables = [this.arena, this.#out, this.#events, this.#writes, this.#results] as const
    this.channels = new native.Channels(...tables, () => this.#batch())
    if (this.channels.status < 0) throw failureOf(this.channels.status, 'epoll')
  }

  adopt(fd: number, budget: Budget): Channel {
    const id = this.channels.adopt(fd)
    if (id < 0) throw failureOf(id, 'adopt')
    return this.#open(id, budget)
  }

  connect(fd: number, to: SocketAddress, { timeoutMs, budget }: ConnectOptions): Promise<Channel> {
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
      const channel = this.#open(id, budget)
      const timer = setTimeout(() => {
        channel.abandon()
        reject(new MeshError('CONNECT_TIMEOUT', `${addressText(to)} did not answer in ${timeoutMs} ms`))
      }, timeoutMs)
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
    })
  }

  tick(nowMs: number): void {
    this.nowMs = nowMs
  }

  /** Takes bytes to be sent: copied, but for long ones that have just been read. */
  stage(id: number, bytes: Buffer, from: number, to: number): void {
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
    this.#settle()
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

class NativeChannel implements Channel {
  readonly budget: Budget
  sink: ChannelSink = DEAF
  dead = false
  activeAt: number
  onConnected: () => void = () => {}
  readonly #transport: NativeTransport
  readonly #id: number
  /** Bytes that the kernel has not taken. */
  #backlog = 0
  /** Named by the last write: who waits if that write makes a backlog. */
  #source: NativeChannel | null = null
  #waiting: NativeChannel[] = []
  #held = true
  #blockedBy = 0
  #ended = false
  #closing: NodeJS.Timeout | null = null
  #shutdown: 'open' | 'wanted' | 'done' = 'open'
  /** Why writing failed: what is written from then on goes nowhere. */
  #unwritable: NodeJS.ErrnoException | null = null
  #lastRead: NodeJS.Timeout | null = null

  constructor(transport: NativeTransport, id: number, budget: Budget) {
    this.#transport = transport
    this.#id = id
    this.budget = budget
    this.activeAt = transport.nowMs
  }

  get backlog(): number {
    return this.dead ? 0 : this.#backlog + this.#transport.waiting(this.#id)
  }

  get blocked(): boolean {
    return this.#backlog > 0
  }

  get still(): boolean {
    return this.#held || this.#blockedBy > 0
  }

  get ends(): Ends | null {
    if (this.dead) return null
    const { channels, native } = this.#transport
    const { status, localIp, localPort, remoteIp, remotePort } = native.ends(channels.fd(this.#id))
    if (status < 0) return null
    return { local: { ip: localIp, port: localPort }, remote: { ip: remoteIp, port: remotePort } }
  }

  write(bytes: Buffer, from: number, to: number, source: Channel | null): void {
    if (this.dead || this.#closing !== null || this.#unwritable !== null || from >= to) return
    this.activeAt = this.#transport.nowMs
    this.#source = source as NativeChannel | null
    this.#transport.stage(this.#id, bytes, from, to)
  }

  forget(source: Channel): void {
    if (this.#source === source) this.#source = null
    if (this.#waiting.length === 0) return
    const at = this.#waiting.indexOf(source as NativeChannel)
    if (at < 0) return
    this.#waiting.splice(at, 1)
    ;(source as NativeChannel).#unblock()
  }

  hold(): void {
    if (this.#held) return
    this.#held = true
    this.#read(false)
  }

  resume(): void {
    if (!this.#held) return
    this.#held = false
    if (this.#blockedBy === 0) this.#read(true)
  }

  shutdown(): void {
    if (this.dead || this.#shutdown !== 'open' || this.#unwritable !== null) return
    this.#shutdown = 'wanted'
    this.#transport.flush()
    this.#shutdownWhenSent()
  }

  reset(): void {
    if (!this.dead) this.#leave(true)
  }

  close(): void {
    if (this.dead || this.#closing !== null) return
    this.sink = DEAF
    this.#read(false)
    this.#transport.flush()
    if (this.#backlog === 0) this.#leave(false)
    else this.#closing = setTimeout(() => this.#leave(false), CLOSE_LIMIT_MS).unref()
  }

  /** Gives up a connection that never came about. */
  abandon(): void {
    if (!this.dead) this.#leave(false)
  }

  /** From the addon, in the order in which it happened. */
  happened(kind: number, a: number, b: number): void {
    switch (kind) {
      case BYTES:
        this.activeAt = this.#transport.nowMs
        this.sink.bytes(this.#transport.arena, a, a + b)
        return
      case END:
        this.#ended = true
        if (this.#unwritable === null) this.sink.end()
        else this.#lose(this.#unwritable, this.#unwritable.code === 'EPIPE')
        this.#closeWhenBothEnded()
        return
      case FAILED:
        this.#lose(failureOf(-a, 'read'), false)
        return
      case UNWRITABLE:
        this.onUnwritable(a)
        return
      case CONNECTED:
        this.onConnected()
        return
      case DRAINED:
        this.#onDrained()
    }
  }

  onBlocked(backlog: number): void {
    const { budget } = this
    this.#holds(backlog)
    if (budget.spent) queueMicrotask(() => this.#lose(budget.failure(), false)) // not amid what is being written
    const source = this.#source
    if (source === null || this.#waiting.includes(source)) return
    this.#waiting.push(source)
    source.#block()
  }

  /**
   * A server that answers early and closes answers a write with a reset, and its answer stands in the receive queue by then:
   * whoever owns the channel hears of the loss when all that was received has been read.
   */
  onUnwritable(errno: number): void {
    const failure = failureOf(-errno, 'write')
    this.#holds(0)
    this.#release()
    if (this.#ended) {
      queueMicrotask(() => this.#lose(failure, false))
      return
    }
    this.#unwritable = failure
    this.#lastRead = setTimeout(() => this.#lose(failure, false), LAST_READ_MS).unref()
  }

  #onDrained(): void {
    this.#holds(0)
    this.#release()
    if (this.#closing !== null) {
      this.#leave(false)
      return
    }
    this.#shutdownWhenSent()
    this.sink.drained()
  }

  #read(wanted: boolean): void {
    if (!this.dead) this.#transport.channels.read(this.#id, wanted)
  }

  #block(): void {
    this.#blockedBy++
    this.#read(false)
  }

  #unblock(): void {
    this.#blockedBy--
    this.activeAt = this.#transport.nowMs // what it waited for has passed: its peer was not silent meanwhile
    if (this.#blockedBy === 0 && !this.#held) this.#read(true)
  }

  #shutdownWhenSent(): void {
    if (this.#shutdown !== 'wanted' || this.#backlog > 0) return
    this.#shutdown = 'done'
    this.#transport.channels.shutdown(this.#id)
    if (this.#ended) queueMicrotask(() => this.#closeWhenBothEnded()) // not amid what the owner does
  }

  #closeWhenBothEnded(): void {
    if (this.dead || !this.#ended || this.#shutdown !== 'done') return
    const { sink } = this
    this.#leave(false)
    this.#guarded(() => sink.closed())
  }

  #lose(cause: Error, afterEnd: boolean): void {
    if (this.dead) return
    const { sink } = this
    if (afterEnd) this.#guarded(() => sink.end())
    this.#leave(false)
    this.#guarded(() => sink.lost(cause))
  }

  #guarded(tell: () => void): void {
    try {
      tell()
    } catch (thrown) {
      this.#transport.onBug(thrown)
    }
  }

  #leave(reset: boolean): void {
    this.dead = true
    this.sink = DEAF
    if (this.#closing !== null) clearTimeout(this.#closing)
    if (this.#lastRead !== null) clearTimeout(this.#lastRead)
    this.#holds(0)
    this.#transport.channels.close(this.#id, reset)
    this.#transport.left(this.#id)
    this.#release()
  }

  /** So many bytes are held for it from now on. */
  #holds(backlog: number): void {
    const more = backlog - this.#backlog
    this.#backlog = backlog
    this.budget.held += more
    this.#transport.stagedBytes += more
  }

  /** Lets the sources read again. */
  #release(): void {
    const waiting = this.#waiting
    if (waiting.length === 0) return
    this.#waiting = []
    for (const source of waiting) source.#unblock()
  }
}

/** An error as node:net has it. */
function failureOf(status: number, syscall: string): NodeJS.ErrnoException {
  const code = getSystemErrorName(status)
  return Object.assign(new Error(`${syscall} ${code}`), { code, errno: status, syscall })
}
