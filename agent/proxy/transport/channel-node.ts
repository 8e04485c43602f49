// A channel on node:net: who may read, what waits, how it ends.

import type { Budget } from './budget.ts'
import { secureNode } from './channel-tls.ts'
import { type Ending, pumpBySinks, type PumpSink } from './pump.ts'
import { ChannelSocket } from './socket.ts'
import type { Secured, TlsOptions } from './tls.ts'
import type { Channel, ChannelSink, Desk, Ends, Source } from './transport.ts'
import { CLOSE_LIMIT_MS, DEAF, LAST_READ_MS } from './transport.ts'
import type { NodeTransport } from './transport-node.ts'

/** Bytes of the read arena and of each write buffer: below it, large bodies cost visibly more. */
export const BUFFER_BYTES = 64 * 1024

export class NodeChannel implements Channel, Source {
  readonly socket: ChannelSocket
  readonly budget: Budget
  readonly desk: Desk
  sink: ChannelSink = DEAF
  /** Hears that it is dead, whoever ended it. */
  onLeft: () => void = () => {}
  dead = false
  activeAt: number
  readonly #transport: NodeTransport
  #staging: Buffer | null = null
  #staged = 0
  #lent: Buffer[] = []
  /** Named by the last write: who waits if that write makes a backlog. */
  #source: Source | null = null
  #waiting: Source[] = []
  #held = true
  #blockedBy = 0
  #closing = false
  #shutdown: 'open' | 'wanted' | 'sent' | 'done' = 'open'
  #resetWanted = false
  /** Set once writing has failed: what is written from then on goes nowhere. */
  #lastRead: NodeJS.Timeout | null = null

  constructor(transport: NodeTransport, fd: number, budget: Budget) {
    this.#transport = transport
    this.budget = budget
    this.desk = transport.desk
    this.activeAt = transport.nowMs
    this.socket = new ChannelSocket({
      fd,
      allowHalfOpen: true,
      onread: { buffer: transport.arena, callback: (length) => this.#onRead(length) },
    })
    this.socket.pause()
    this.socket.on('end', () => this.#tell((channel) => channel.sink.end()))
    this.socket.on('error', (error) => this.#onError(error))
    this.socket.on('close', () => this.#onClose())
    this.socket.on('finish', () => this.#onFinish())
    this.socket.onUnwritable = () => this.#onUnwritable()
  }

  get backlog(): number {
    return this.dead ? 0 : this.#staged + this.socket.writableLength
  }

  get blocked(): boolean {
    return this.#lent.length > 0
  }

  /** Whether the peer will send no more. */
  get ended(): boolean {
    return this.socket.readableEnded
  }

  get still(): boolean {
    return this.#held || this.#blockedBy > 0
  }

  get ends(): Ends | null {
    const { localAddress, localPort, remoteAddress, remotePort } = this.socket
    if (localAddress === undefined || localPort === undefined) return null
    if (remoteAddress === undefined || remotePort === undefined) return null
    return { local: { ip: localAddress, port: localPort }, remote: { ip: remoteAddress, port: remotePort } }
  }

  write(bytes: Buffer, from: number, to: number, source: Channel | null): void {
    if (this.dead || this.#closing || this.#lastRead !== null || from >= to) return
    this.activeAt = this.#transport.nowMs
    if (this.#staged === 0) this.#transport.touch(this)
    this.#source = source as NodeChannel | null
    let at = from
    while (at < to) {
      const staging = (this.#staging ??= this.#transport.take())
      const length = Math.min(to - at, BUFFER_BYTES - this.#staged)
      bytes.copy(staging, this.#staged, at, at + length)
      this.#staged += length
      at += length
      if (this.#staged === BUFFER_BYTES && at < to) this.send()
    }
  }

  /** Hands what is staged to the kernel; what it does not take at once stays lent to the socket. */
  send(): void {
    const staging = this.#staging
    if (staging === null) return
    const length = this.#staged
    this.#staging = null
    this.#staged = 0
    if (this.dead || length === 0 || this.#lastRead !== null) {
      this.#transport.give(staging)
      return
    }
    this.socket.write(length === BUFFER_BYTES ? staging : staging.subarray(0, length), this.#onWritten)
    if (this.socket.writableLength === 0) {
      this.#transport.give(staging)
      return
    }
    this.#lend(staging)
    const source = this.#source
    if (source === null || this.#waiting.includes(source)) return
    this.#waiting.push(source)
    source.block()
  }

  #lend(staging: Buffer): void {
    const { budget } = this
    this.#lent.push(staging)
    budget.held += BUFFER_BYTES
    if (budget.spent) queueMicrotask(() => this.#onError(budget.failure())) // not amid what is being written
  }

  forget(source: Channel): void {
    if (this.#source === (source as NodeChannel)) this.#source = null
    const at = this.#waiting.indexOf(source as NodeChannel)
    if (at < 0) return
    this.#waiting.splice(at, 1)
    ;(source as NodeChannel).unblock()
  }

  hold(): void {
    if (this.#held) return
    this.#held = true
    if (!this.dead) this.socket.pause()
  }

  resume(): void {
    if (!this.#held) return
    this.#held = false
    if (!this.dead && this.#blockedBy === 0) this.socket.resume()
  }

  secure(how: TlsOptions): Promise<Secured> {
    return secureNode(this, how, this.#transport)
  }

  shutdown(): void {
    if (this.dead || this.#shutdown !== 'open' || this.#lastRead !== null) return
    this.#shutdown = 'wanted'
    this.#shutdownWhenFlushed()
  }

  reset(): void {
    if (this.dead) return
    this.#resetWanted = true
    if (this.#shutdown === 'sent') return // libuv cannot reset amid shutdown(2); it ends within this turn of the loop
    this.#die()
    // resetAndDestroy alone would send FIN ahead of the RST, and a reader could take that for an orderly end.
    ;(this.socket as { writable: boolean }).writable = false
    this.socket.resetAndDestroy()
    this.socket.destroy()
  }

  close(): void {
    if (this.dead || this.#closing) return
    this.#closing = true
    this.sink = DEAF
    this.send()
    this.socket.pause()
    if (this.socket.writableLength === 0) this.#destroy()
    else setTimeout(() => this.#destroy(), CLOSE_LIMIT_MS).unref()
  }

  pump(other: Channel, sink: PumpSink): void {
    pumpBySinks(this, other as Channel & Ending, sink)
  }

  /** Gives up a connection that never came about. */
  abandon(): void {
    this.sink = DEAF
    this.#destroy()
  }

  static #deliver(channel: NodeChannel, length: number): void {
    channel.sink.bytes(channel.#transport.arena, 0, length)
  }

  #onRead(length: number): boolean {
    this.activeAt = this.#transport.nowMs
    this.#transport.event(this, NodeChannel.#deliver, length)
    return true
  }

  readonly #onWritten = (error?: Error | null): void => {
    if (this.dead || this.socket.writableLength > 0 || this.#lent.length === 0) return
    this.#release()
    if (this.#closing) {
      this.#destroy()
      return
    }
    if (this.#shutdown === 'wanted' && error == null) this.#shutdownWhenFlushed()
    this.#tell((channel) => channel.sink.drained())
  }

  #tell(run: (channel: NodeChannel) => void): void {
    this.#transport.event(this, run, 0)
  }

  block(): void {
    this.#blockedBy++
    if (!this.dead) this.socket.pause()
  }

  unblock(): void {
    this.#blockedBy--
    this.activeAt = this.#transport.nowMs // what it waited for has passed: its peer was not silent meanwhile
    if (this.#blockedBy === 0 && !this.#held && !this.dead) this.socket.resume()
  }

  #shutdownWhenFlushed(): void {
    this.send()
    if (this.socket.writableLength > 0) return // told again by #onWritten
    this.#shutdown = 'sent'
    this.socket.end()
  }

  /** Whoever owns it hears of the loss when all that was received has been read. */
  #onUnwritable(): void {
    const { failure } = this.socket
    this.#lastRead = setTimeout(() => this.#onError(failure as Error), LAST_READ_MS)
    this.#lastRead.unref()
  }

  #onFinish(): void {
    this.#shutdown = 'done'
    if (this.#resetWanted) this.reset()
  }

  #onError(error: Error): void {
    if (this.dead) return
    const { sink } = this
    this.#die()
    this.socket.destroy()
    this.#tell(() => sink.lost(error))
  }

  #onClose(): void {
    if (this.dead) return
    const { sink } = this
    this.#die()
    this.#tell(() => sink.closed())
  }

  #destroy(): void {
    if (this.dead) return
    this.#die()
    this.socket.destroy()
  }

  #die(): void {
    this.dead = true
    if (this.#lastRead !== null) clearTimeout(this.#lastRead)
    this.sink = DEAF
    this.#release()
    if (this.#staging !== null) this.#transport.give(this.#staging)
    this.#staging = null
    this.#staged = 0
    this.onLeft()
  }

  /** Takes the lent buffers back and lets the sources read again. */
  #release(): void {
    this.budget.held -= this.#lent.length * BUFFER_BYTES
    // A dead socket may still point into its buffers until its close is through: those are left to the collector.
    for (const buffer of this.#lent) {
      if (this.dead) this.#transport.stagedBytes -= BUFFER_BYTES
      else this.#transport.give(buffer)
    }
    this.#lent.length = 0
    const waiting = this.#waiting
    if (waiting.length === 0) return
    this.#waiting = []
    for (const source of waiting) source.unblock()
  }
}
