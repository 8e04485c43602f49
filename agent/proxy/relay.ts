// Step 8 for TCP: bytes both ways between two channels. A half-close is a half-close, a reset is a reset.

import { lossOf, MeshError } from '../model/failure.ts'
import type { Channel, ChannelSink } from './transport/transport.ts'

/** Counts what passes. `received` is from the caller, `sent` is to it, whoever reports. */
export interface Tally {
  receivedBytes: number
  sentBytes: number
}

/** Bytes that had been read before the relay began. */
export interface Ahead {
  readonly fromCaller: Buffer | null
  readonly fromUpstream: Buffer | null
  /** The caller's FIN was read already. */
  readonly ended: boolean
}

export const NOTHING_AHEAD: Ahead = { fromCaller: null, fromUpstream: null, ended: false }

/** A relay under way. */
export interface Relay {
  /** Resolves when both directions have ended; rejects with CALLER_RESET, UPSTREAM_RESET, or what it was stopped for. */
  readonly done: Promise<void>
  /** Resets both ends. */
  stop(reason: MeshError): void
}

/** Relays until both ends are through. Memory is bounded: neither side is read while the other has a backlog. */
export function relay(caller: Channel, upstream: Channel, tally: Tally, ahead: Ahead = NOTHING_AHEAD): Relay {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let closed = 0
  const onClosed = (): void => {
    if (++closed === 2) resolve()
  }
  const stop = (reason: MeshError): void => {
    caller.reset()
    upstream.reset()
    reject(reason)
  }
  const fromCaller: ChannelSink = {
    bytes: (arena, from, to) => {
      tally.receivedBytes += to - from
      upstream.write(arena, from, to, caller)
    },
    end: () => upstream.shutdown(),
    drained: () => {},
    closed: onClosed,
    lost: (cause) => stop(lossOf('CALLER_RESET', cause.message, cause)),
  }
  const fromUpstream: ChannelSink = {
    bytes: (arena, from, to) => {
      tally.sentBytes += to - from
      caller.write(arena, from, to, upstream)
    },
    end: () => caller.shutdown(),
    drained: () => {},
    closed: onClosed,
    lost: (cause) => stop(lossOf('UPSTREAM_RESET', cause.message, cause)),
  }
  caller.sink = fromCaller
  upstream.sink = fromUpstream
  if (ahead.fromCaller !== null) fromCaller.bytes(ahead.fromCaller, 0, ahead.fromCaller.length)
  if (ahead.fromUpstream !== null) fromUpstream.bytes(ahead.fromUpstream, 0, ahead.fromUpstream.length)
  if (ahead.ended) fromCaller.end()
  if (caller.dead) stop(new MeshError('CALLER_RESET', 'the caller was gone before the relay began'))
  caller.resume()
  upstream.resume()
  return { done: promise, stop }
}
