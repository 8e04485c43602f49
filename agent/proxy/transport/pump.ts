// Two channels joined: what one receives the other sends, until both are through.

import type { Channel, ChannelSink } from './transport.ts'

/** Who hears of a pump. Exactly one of `closed` and `lost` is the last call, unless the owner reset both channels. */
export interface PumpSink {
  /** So many bytes have come from one of the two. The last are told ahead of the last call. */
  passed(from: Channel, bytes: number): void
  /** Both directions have ended in order, and both channels are closed. */
  closed(): void
  /** The connection of one is gone; the other was reset. */
  lost(side: Channel, cause: Error): void
}

/** A channel that says whether its peer will send no more. */
export interface Ending extends Channel {
  readonly ended: boolean
}

/** Pumps by the channels' own sinks: neither is read while the other has a backlog. */
export function pumpBySinks(a: Ending, b: Ending, sink: PumpSink): void {
  joinSinks(a, b, sink)
  for (const channel of [a, b]) {
    if (channel.ended) channel.sink.end()
    channel.resume()
  }
}

/** The sinks alone. Each channel must be resumed. */
export function joinSinks(a: Channel, b: Channel, sink: PumpSink): void {
  let closed = 0
  const between = (from: Channel, to: Channel): ChannelSink => ({
    bytes: (arena, at, end) => {
      sink.passed(from, end - at)
      to.write(arena, at, end, from)
    },
    end: () => to.shutdown(),
    drained: () => {},
    closed: () => {
      if (++closed === 2) sink.closed()
    },
    lost: (cause) => {
      to.reset()
      sink.lost(from, cause)
    },
  })
  a.sink = between(a, b)
  b.sink = between(b, a)
}
