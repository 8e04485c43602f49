// A channel secured by node:tls, over a channel of node:net: what that reads is decrypted on its way to the sink.

import { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { Budget } from './budget.ts'
import { type Ending, pumpBySinks, type PumpSink } from './pump.ts'
import {
  HANDSHAKE_MOST,
  HANDSHAKE_MS,
  handshakeFailure,
  protocolError,
  type Secured,
  TlsError,
  type TlsOptions,
} from './tls.ts'
import { described, openSocket, refusalOf } from './tls-node.ts'
import type { Channel, ChannelSink, Desk, Ends, Source } from './transport.ts'
import { CLOSE_LIMIT_MS, DEAF } from './transport.ts'

/** Bytes not yet encrypted that make a source wait. */
const WAITING_MOST = 256 * 1024

interface Thread {
  readonly nowMs: number
  readonly onBug: (thrown: unknown) => void
}

interface Plain extends Ending {
  /** Hears that it is dead, whoever ended it. */
  onLeft: () => void
}

/** See Channel.secure. */
export function secureNode(plain: Plain, how: TlsOptions, thread: Thread): Promise<Secured> {
  return new Promise((resolve, reject) => {
    try {
      const channel: SecureChannel = new SecureChannel(plain, how, thread, {
        secured: () => resolve(channel.secured()),
        failed: (cause) => reject(handshakeFailure(how.side, cause)),
      })
    } catch (thrown) {
      plain.close()
      reject(handshakeFailure(how.side, thrown as Error))
    }
  })
}

interface Outcome {
  secured(): void
  failed(cause: Error): void
}

class SecureChannel implements Channel, Source {
  readonly budget: Budget
  readonly desk: Desk
  sink: ChannelSink = DEAF
  dead = false
  readonly #plain: Channel
  readonly #how: TlsOptions
  readonly #thread: Thread
  /** Null once the handshake has come to its end. */
  #outcome: Outcome | null
  readonly #timer: NodeJS.Timeout
  readonly #wire: Duplex
  readonly #tls: TLSSocket
  #shaken = 0
  /** What the plain channel ended by; what it had received before is read first. */
  #cause: Error | null = null
  /** The same, once all has been read and the peer has not said that it would send no more. */
  #loss: Error | null = null
  /** The peer has said by TLS that it will send no more. */
  #notified = false
  #ended = false
  #shutdown: 'open' | 'wanted' | 'done' = 'open'
  #closing: NodeJS.Timeout | null = null
  #activeAt = 0
  #heldBack = true
  #blockedBy = 0
  /** Bytes written and not encrypted. */
  #held = 0
  #corked = false
  #blocked = false
  #source: Source | null = null
  #waiting: Source[] = []
  /** Lets node:tls go on once the plain channel has no backlog. */
  #goOn: (() => void) | null = null

  constructor(plain: Plain, how: TlsOptions, thread: Thread, outcome: Outcome) {
    this.#plain = plain
    this.#how = how
    this.#thread = thread
    this.#outcome = outcome
    this.budget = plain.budget
    this.desk = plain.desk
    plain.hold()
    this.#wire = new Duplex({
      autoDestroy: false,
      read: () => plain.resume(),
      write: (chunk: Buffer, _encoding, done) => this.#send(chunk, done),
      final: (done) => this.#onFinal(done),
    })
    this.#wire.once('end', () => {
      if (!this.#notified) this.#loss = this.#cause
    })
    this.#tls = this.#open()
    this.#timer = setTimeout(() => this.#fail(new TlsError('timeout')), how.timeoutMs ?? HANDSHAKE_MS)
    plain.sink = {
      bytes: (arena, from, to) => this.#receive(Buffer.from(arena.subarray(from, to))),
      end: () => this.#cut(new TlsError('truncated')),
      drained: () => this.#onPlainDrained(),
      closed() {},
      lost: (cause) => this.#cut(cause),
    }
    plain.onLeft = () => queueMicrotask(() => this.#onPlainLeft()) // unless it says itself why
    if (how.side === 'server' && how.ahead !== undefined) this.#receive(Buffer.from(how.ahead))
    if (plain.ended) this.#cut(new TlsError('truncated'))
  }

  #open(): TLSSocket {
    const tls = openSocket(this.#how, this.#wire)
    tls.pause()
    // node:tls does not say whether the end came by TLS's own word: it is the end before the wire's
    const push = tls.push.bind(tls)
    tls.push = (chunk: unknown): boolean => {
      if (chunk === null && this.#loss === null) this.#notified = true
      return push(chunk)
    }
    tls.on('secure', () => this.#onSecure())
    tls.on('data', (chunk: Buffer) => this.#guarded(() => this.sink.bytes(chunk, 0, chunk.length)))
    tls.on('end', () => this.#onEnd())
    tls.on('error', (error) => this.#onError(error))
    tls.on('_tlsError', (error: Error) => this.#onError(error)) // all that a server's says that no node:tls server made
    tls.on('close', () => this.#lose(this.#loss ?? new TlsError('given-up')))
    return tls
  }

  get backlog(): number {
    return this.dead ? 0 : this.#tls.writableLength + this.#plain.backlog
  }

  get blocked(): boolean {
    return this.#blocked || this.#plain.blocked
  }

  /** Whether the peer will send no more. */
  get ended(): boolean {
    return this.#ended
  }

  get still(): boolean {
    return this.#heldBack || this.#blockedBy > 0
  }

  get activeAt(): number {
    return Math.max(this.#activeAt, this.#plain.activeAt)
  }

  get ends(): Ends | null {
    return this.#plain.ends
  }

  secured(): Secured {
    return { channel: this, ...described(this.#tls, this.#how) }
  }

  secure({ side }: TlsOptions): Promise<Secured> {
    this.reset()
    return Promise.reject(handshakeFailure(side, new TlsError('given-up', 'it is secured already')))
  }

  write(bytes: Buffer, from: number, to: number, source: Channel | null): void {
    if (this.dead || this.#closing !== null || this.#shutdown !== 'open' || from >= to) return
    this.#source = source as (Channel & Source) | null
    if (!this.#corked) {
      this.#corked = true
      this.#tls.cork()
      queueMicrotask(this.#uncork)
    }
    this.#tls.write(Buffer.from(bytes.subarray(from, to)), this.#onWritten)
  }

  readonly #uncork = (): void => {
    this.#corked = false
    if (this.dead) return
    this.#tls.uncork()
    this.#holds(this.#tls.writableLength)
    if (this.budget.spent) return this.#lose(this.budget.failure())
    if (this.#held <= WAITING_MOST && !this.#plain.blocked) return
    this.#blocked = true
    const source = this.#source
    if (source === null || this.#waiting.includes(source)) return
    this.#waiting.push(source)
    source.block()
  }

  readonly #onWritten = (error?: Error | null): void => {
    if (this.dead || error) return
    this.#holds(this.#tls.writableLength)
    if (this.#held > 0 || !this.#blocked) return
    this.#release()
    this.#guarded(() => this.sink.drained())
  }

  forget(source: Channel): void {
    const waiting = source as Channel & Source
    if (this.#source === waiting) this.#source = null
    const at = this.#waiting.indexOf(waiting)
    if (at < 0) return
    this.#waiting.splice(at, 1)
    waiting.unblock()
  }

  hold(): void {
    this.#heldBack = true
    this.#tls.pause()
  }

  resume(): void {
    this.#heldBack = false
    if (this.#blockedBy === 0 && !this.dead) this.#tls.resume()
  }

  block(): void {
    this.#blockedBy++
    this.#tls.pause()
  }

  unblock(): void {
    this.#blockedBy--
    this.#activeAt = this.#thread.nowMs
    if (!this.still && !this.dead) this.#tls.resume()
  }

  shutdown(): void {
    if (this.dead || this.#shutdown !== 'open') return
    this.#shutdown = 'wanted'
    this.#tls.end()
  }

  pump(other: Channel, sink: PumpSink): void {
    pumpBySinks(this, other as Channel & Ending, sink)
  }

  reset(): void {
    if (this.dead) return
    this.#plain.reset()
    this.#leave()
    this.#outcome?.failed(new TlsError('given-up'))
  }

  close(): void {
    if (this.dead || this.#closing !== null) return
    this.sink = DEAF
    this.#closing = setTimeout(() => this.#leave(), CLOSE_LIMIT_MS).unref()
    this.#tls.pause()
    if (this.#shutdown === 'done') this.#leave()
    else this.shutdown()
  }

  // --- the wire

  #receive(cipher: Buffer): void {
    if (this.#outcome !== null) this.#shaken += cipher.length
    if (this.#shaken > HANDSHAKE_MOST && this.#outcome !== null) this.#fail(new TlsError('excess'))
    else if (!this.#wire.push(cipher)) this.#plain.hold()
  }

  /** The connection has ended, or is gone: what was received is read first. */
  #cut(cause: Error): void {
    this.#cause ??= cause
    if (this.#ended && !(cause instanceof TlsError)) this.#lose(cause)
    else this.#wire.push(null)
  }

  #send(cipher: Buffer, done: () => void): void {
    this.#plain.write(cipher, 0, cipher.length, null)
    if (this.#plain.blocked) this.#goOn = done
    else done()
  }

  #onPlainLeft(): void {
    if (this.#outcome !== null && this.#cause === null) this.#fail(new TlsError('given-up'))
  }

  #onPlainDrained(): void {
    const goOn = this.#goOn
    this.#goOn = null
    goOn?.()
  }

  #onFinal(done: () => void): void {
    this.#plain.shutdown()
    this.#shutdown = 'done'
    done()
    if (this.#closing !== null) this.#leave()
    else queueMicrotask(() => this.#closeWhenBothEnded())
  }

  // --- node:tls

  #onSecure(): void {
    const refusal = refusalOf(this.#tls, this.#how)
    if (refusal !== null) return this.#fail(refusal)
    clearTimeout(this.#timer)
    const outcome = this.#outcome
    this.#outcome = null
    outcome?.secured()
  }

  #onEnd(): void {
    if (this.#outcome !== null) return this.#fail(this.#loss ?? new TlsError('truncated'))
    if (!this.#notified) return this.#lose(this.#loss ?? new TlsError('truncated'))
    this.#ended = true
    this.#guarded(() => this.sink.end())
    if (this.#cause !== null && !(this.#cause instanceof TlsError)) this.#lose(this.#cause)
    else this.#closeWhenBothEnded()
  }

  #onError(error: NodeJS.ErrnoException & { reason?: string }): void {
    const cause = this.#loss ?? (error.reason === undefined ? error : protocolError(error.reason))
    if (this.#outcome !== null) this.#fail(cause)
    else this.#lose(cause)
  }

  // --- its end

  #fail(cause: Error): void {
    const outcome = this.#outcome
    this.#outcome = null
    this.#leave()
    outcome?.failed(cause)
  }

  #closeWhenBothEnded(): void {
    if (this.dead || !this.#ended || this.#shutdown !== 'done') return
    const { sink } = this
    this.#leave()
    this.#guarded(() => sink.closed())
  }

  #lose(cause: Error): void {
    if (this.dead) return
    if (this.#outcome !== null) return this.#fail(cause)
    const { sink } = this
    this.#leave()
    this.#guarded(() => sink.lost(cause))
  }

  /** What a sink throws costs its own channel alone. */
  #guarded(tell: () => void): void {
    const { sink } = this
    try {
      tell()
    } catch (thrown) {
      this.#thread.onBug(thrown)
      if (this.dead) return
      this.reset()
      this.#guarded(() => sink.lost(thrown instanceof Error ? thrown : new Error(String(thrown))))
    }
  }

  #leave(): void {
    if (this.dead) return
    this.dead = true
    this.sink = DEAF
    clearTimeout(this.#timer)
    if (this.#closing !== null) clearTimeout(this.#closing)
    this.#holds(0)
    this.#plain.close()
    this.#tls.destroy()
    this.#release()
  }

  #holds(bytes: number): void {
    this.budget.held += bytes - this.#held
    this.#held = bytes
  }

  #release(): void {
    this.#blocked = false
    const waiting = this.#waiting
    this.#waiting = []
    for (const source of waiting) source.unblock()
  }
}
