// A channel of the addon's: who may read, what waits, how it ends. The bytes themselves pass through the transport's tables.

import type { Budget } from './budget.ts'
import { failureOf } from './errors.ts'
import { joinSinks, type PumpSink } from './pump.ts'
import type { Secured, TlsOptions } from './tls.ts'
import { brokenNative, secureNative } from './tls-native.ts'
import type { Channel, ChannelSink, Desk, Ends } from './transport.ts'
import { CLOSE_LIMIT_MS, DEAF, LAST_READ_MS } from './transport.ts'
import type { NativeTransport } from './transport-native.ts'

// kinds of events and results, as native/channels.cc numbers them
const BYTES = 1
const END = 2
const FAILED = 3
const DRAINED = 4
const CONNECTED = 5
export const BLOCKED = 6
const UNWRITABLE = 7
const SHUT = 8
const SECURED = 9
const BROKEN = 10

const NOTHING = (): void => {}
const NOBODY: readonly NativeChannel[] = []

export class NativeChannel implements Channel {
  readonly budget: Budget
  sink: ChannelSink = DEAF
  dead = false
  activeAt: number
  onConnected: () => void = NOTHING
  onSecured: () => void = NOTHING
  /** Hears that it is dead, whoever ended it. */
  onLeft: () => void = NOTHING
  readonly #transport: NativeTransport
  readonly #id: number
  /** Bytes that the kernel has not taken. */
  #backlog = 0
  /** Named by the last write: who waits if that write makes a backlog. */
  #source: NativeChannel | null = null
  /** The batch amid which it last got a backlog. */
  #blockedIn = -1
  #waiting = NOBODY
  #held = true
  #blockedBy = 0
  #ended = false
  #secure = false
  #closing: NodeJS.Timeout | null = null
  #shutdown: 'open' | 'wanted' | 'done' = 'open'
  /** Why writing failed: what is written from then on goes nowhere. */
  #unwritable: NodeJS.ErrnoException | null = null
  #lastRead: NodeJS.Timeout | null = null
  /** Who hears what passes while the addon pumps it. */
  #pump: PumpSink | null = null
  /** Bytes that it has heard of. */
  #passed = 0

  constructor(transport: NativeTransport, id: number, budget: Budget) {
    this.#transport = transport
    this.#id = id
    this.budget = budget
    this.activeAt = transport.nowMs
  }

  get desk(): Desk {
    return this.#transport
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

  /** Whether the peer will send no more. */
  get ended(): boolean {
    return this.#ended
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
    const channel = source as NativeChannel
    if (!this.#waiting.includes(channel)) return
    this.#waiting = this.#waiting.filter((each) => each !== channel)
    channel.#unblock()
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

  secure(how: TlsOptions): Promise<Secured> {
    return secureNative(this, { transport: this.#transport, id: this.#id }, how)
  }

  shutdown(): void {
    if (this.dead || this.#shutdown !== 'open' || this.#unwritable !== null) return
    this.#shutdown = 'wanted'
    this.#lastWords()
    this.#shutdownWhenSent()
  }

  reset(): void {
    if (!this.dead) this.#leave(true)
  }

  close(): void {
    if (this.dead || this.#closing !== null) return
    this.sink = DEAF
    this.#read(false)
    this.#lastWords()
    if (this.#backlog === 0) this.#leave(false)
    else this.#closing = setTimeout(() => this.#leave(false), CLOSE_LIMIT_MS).unref()
  }

  pump(other: Channel, sink: PumpSink): void {
    const peer = other as NativeChannel
    const { channels } = this.#transport
    joinSinks(this, peer, sink)
    this.#transport.flush()
    for (const channel of [this, peer]) {
      channel.#pump = sink
      channel.#held = false
      channel.#release()
    }
    const status = channels.pump(this.#id, peer.#id)
    if (status < 0) queueMicrotask(() => this.#lose(failureOf(status, 'pump'), false))
  }

  /** So many bytes came from it in all while it is pumped, and so many are held for it. */
  counted(received: number, held: number): void {
    if (this.#pump === null) return // of who had its id before
    const { budget } = this
    const more = held - this.#backlog
    this.activeAt = this.#transport.nowMs
    this.#holds(held)
    this.#pass(received)
    if (more > 0 && budget.spent) this.#lose(budget.failure(), false)
  }

  #pass(received: number): void {
    const bytes = received - this.#passed
    this.#passed = received
    if (bytes > 0) this.#pump?.passed(this, bytes)
  }

  /** Sends what is queued, and TLS's word of the end. */
  #lastWords(): void {
    this.#transport.flush()
    if (this.#secure && this.#shutdown !== 'done' && !this.dead) this.#transport.notifyClose(this.#id)
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
        if (this.#unwritable !== null) this.#lose(this.#unwritable, this.#unwritable.code === 'EPIPE')
        else if (this.#pump === null) this.sink.end() // else the addon passes it on
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
        return
      case SHUT:
        this.#shutdown = 'done'
        this.#closeWhenBothEnded()
        return
      case BLOCKED:
        this.onBlocked(a)
        return
      case SECURED:
        this.#secure = true
        this.onSecured()
        return
      case BROKEN:
        this.#lose(brokenNative(this.#transport, this.#id), false)
    }
  }

  onBlocked(backlog: number): void {
    const { budget } = this
    this.#blockedIn = this.#transport.batches
    this.#holds(backlog)
    if (budget.spent) queueMicrotask(() => this.#lose(budget.failure(), false)) // not amid what is being written
    const source = this.#source
    if (source === null || this.#waiting.includes(source)) return
    this.#waiting = [...this.#waiting, source]
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
    if (this.#blockedIn === this.#transport.batches) return // by what was written in this batch, and that came later
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
    if (this.#pump !== null) this.#guarded(() => this.#pass(this.#transport.channels.received(this.#id)))
    this.#transport.channels.close(this.#id, reset)
    this.#transport.left(this.#id)
    this.#release()
    this.onLeft()
  }

  /** So many bytes are held for it from now on. */
  #holds(backlog: number): void {
    const more = backlog - this.#backlog
    this.#backlog = backlog
    this.budget.held += more
    this.#transport.heldBytes += more
  }

  /** Lets the sources read again. */
  #release(): void {
    const waiting = this.#waiting
    if (waiting.length === 0) return
    this.#waiting = NOBODY
    for (const source of waiting) source.#unblock()
  }
}
