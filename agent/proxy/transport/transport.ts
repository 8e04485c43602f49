// How bytes come in and go out, whatever carries them: channels over sockets, in the shape that a native body can fill.

import type { SocketAddress } from '../../model/address.ts'
import type { Budget } from './budget.ts'
import type { Keepalive } from './keepalive.ts'
import type { PumpSink } from './pump.ts'
import type { Secured, TlsOptions } from './tls.ts'

/** How long a closed channel may take to hand over what is queued. */
export const CLOSE_LIMIT_MS = 10_000
/** How long a channel that cannot be written to any more may take to hand over what it had received. */
export const LAST_READ_MS = 30_000

/** Who hears of a channel. Exactly one of `lost` and `closed` is the last call, unless the owner itself ended it. */
export interface ChannelSink {
  /** Bytes `arena[from, to)` arrived. They are valid only until this returns: what must last is copied. */
  bytes(arena: Buffer, from: number, to: number): void
  /** The peer will send no more (FIN). Writing stays possible. */
  end(): void
  /** What was written has left for the kernel after there had been a backlog. */
  drained(): void
  /** Both directions have ended in order. */
  closed(): void
  /** The connection is gone: reset by the peer, timed out, or failed. */
  lost(cause: Error): void
}

/** Hears nothing. */
export const DEAF: ChannelSink = { bytes() {}, end() {}, drained() {}, closed() {}, lost() {} }

/** Memory that all channels of a transport write from: what was put together there is not copied once more. */
export interface Desk {
  readonly bytes: Buffer
  /** Where in `bytes` there is room for `length` bytes, at most DESK_BYTES. It is used before anything else is written. */
  clear(length: number): number
}

/** The most that a message put together at the desk may take. */
export const DESK_BYTES = 256 * 1024

/** A desk that is copied from, of no transport in particular. */
export function plainDesk(): Desk {
  return { bytes: Buffer.allocUnsafeSlow(DESK_BYTES), clear: () => 0 }
}

/** Both ends of a connection. */
export interface Ends {
  readonly local: SocketAddress
  readonly remote: SocketAddress
}

/** One TCP connection. A new channel is held: it reads nothing until its owner has set `sink` and calls `resume`. */
export interface Channel {
  sink: ChannelSink
  /** Bytes written that the kernel has not taken yet. */
  readonly backlog: number
  /** Whether the kernel has refused to take all that was sent: `drained` will tell when it has. */
  readonly blocked: boolean
  /** Whether it is not read now: held, or waiting for a destination's backlog. */
  readonly still: boolean
  /** True once it was closed, reset or lost: every call is then without effect. */
  readonly dead: boolean
  /** When bytes last passed, by the transport's coarse clock. */
  readonly activeAt: number
  /** Of the pod that it belongs to. */
  readonly budget: Budget
  /** Of its transport. */
  readonly desk: Desk
  /** Addresses of both ends; null once dead. */
  readonly ends: Ends | null
  /**
   * Queues a copy of `bytes[from, to)`; all that one event queued leaves in one write. While this channel has a backlog
   * because of it, `source` is not read (null: nobody waits, so what is written must be small).
   */
  write(bytes: Buffer, from: number, to: number, source: Channel | null): void
  /** `source` has written its last here: it is read again, though what it wrote may still be queued. */
  forget(source: Channel): void
  /** Stops reading, for the owner's own reasons. */
  hold(): void
  /** Reads again (once no destination's backlog stands against it). */
  resume(): void
  /**
   * Goes on by TLS, behind what was written until now, and is held from here on. Throws MeshError CALLER_TLS_FAILED (a
   * server's) or UPSTREAM_TLS_FAILED, caused by a TlsError or by the loss of the connection; the channel is gone then. From
   * then on FIN goes with TLS's own word of the end, and a FIN without it is a loss.
   */
  secure(how: TlsOptions): Promise<Secured>
  /** Sends FIN after everything queued. */
  shutdown(): void
  /** Sends RST now; what is queued is dropped. */
  reset(): void
  /** Closes after handing what is queued to the kernel; nothing more is heard. */
  close(): void
  /**
   * Joins it with another of the same transport, behind what has been written to both. From then on its owner may only
   * reset the two; their backlogs, `activeAt` and what has passed are as of the last tick.
   */
  pump(other: Channel, sink: PumpSink): void
}

/** A channel as those of its own body see it that have a backlog because of it. */
export interface Source {
  block(): void
  unblock(): void
}

export interface ConnectOptions {
  readonly timeoutMs: number
  readonly budget: Budget
  /** In place of the transport's own. */
  readonly keepalive?: Keepalive | null
  /** Gets, at once, what gives the attempt up: it throws CONNECT_TIMEOUT then. */
  readonly begun?: ((giveUp: () => void) => void) | undefined
}

/** Makes channels of non-blocking sockets with TCP_NODELAY. Owns the buffers they share. */
export interface Transport {
  /** Takes over an accepted socket. */
  adopt(fd: number, budget: Budget): Channel
  /**
   * Connects a socket made elsewhere. Throws MeshError CONNECT_REFUSED or CONNECT_TIMEOUT; the fd is closed then.
   */
  connect(fd: number, to: SocketAddress, how: ConnectOptions): Promise<Channel>
  /** The coarse clock: milliseconds, as of the last tick. */
  readonly nowMs: number
  /** Sets the coarse clock, and tells of pumps what has passed by now; call it about every half second. */
  tick(nowMs: number): void
  /** Bytes of staging buffers now lent to channels with a backlog. */
  readonly stagedBytes: number
}
