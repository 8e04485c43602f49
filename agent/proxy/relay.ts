// Step 8 for TCP: bytes both ways between two channels. A half-close is a half-close, a reset is a reset.

import { lossOf, MeshError } from '../model/failure.ts'
import type { Channel } from './transport/transport.ts'

/** Counts what passes. `received` is from the caller, `sent` is to it, whoever reports. */
export interface Tally {
  receivedBytes: number
  sentBytes: number
}

/** Bytes that had been read before the relay began. */
export interface Ahead {
  readonly fromCaller: Buffer | null
  readonly fromUpstream: Buffer | null
}

/** A relay under way. */
export interface Relay {
  /** Resolves when both directions have ended; rejects with CALLER_RESET, UPSTREAM_RESET, or what it was stopped for. */
  readonly done: Promise<void>
  /** Resets both ends. */
  stop(reason: MeshError): void
}

/** Relays until both ends are through. Memory is bounded: neither side is read while the other has a backlog. */
export function relay(caller: Channel, upstream: Channel, tally: Tally, ahead: Ahead): Relay {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const stop = (reason: MeshError): void => {
    caller.reset()
    upstream.reset()
    reject(reason)
  }
  const { fromCaller, fromUpstream } = ahead
  if (fromCaller !== null) {
    tally.receivedBytes += fromCaller.length
    upstream.write(fromCaller, 0, fromCaller.length, caller)
  }
  if (fromUpstream !== null) {
    tally.sentBytes += fromUpstream.length
    caller.write(fromUpstream, 0, fromUpstream.length, upstream)
  }
  if (caller.dead) stop(new MeshError('CALLER_RESET', 'the caller was gone before the relay began'))
  else if (upstream.dead) stop(new MeshError('UPSTREAM_RESET', 'the upstream was gone before the relay began'))
  else {
    caller.pump(upstream, {
      passed: (from, bytes) => {
        if (from === caller) tally.receivedBytes += bytes
        else tally.sentBytes += bytes
      },
      closed: resolve,
      lost: (side, cause) => reject(lossOf(side === caller ? 'CALLER_RESET' : 'UPSTREAM_RESET', cause.message, cause)),
    })
  }
  return { done: promise, stop }
}
