// A connection for tests of what is kept and what is closed.

import { UNBOUNDED } from '../transport/budget.ts'
import { type Channel, type ChannelSink, plainDesk } from '../transport/transport.ts'

/** A channel to nowhere that remembers whether it was closed. */
export class StillChannel implements Channel {
  sink!: ChannelSink
  readonly backlog = 0
  readonly blocked = false
  readonly still = false
  readonly budget = UNBOUNDED
  readonly desk = plainDesk()
  readonly activeAt = 0
  readonly ends = null
  dead = false
  write(): void {}
  forget(): void {}
  hold(): void {}
  resume(): void {}
  shutdown(): void {}
  secure(): never {
    throw new Error('plain')
  }
  reset(): void {
    this.dead = true
  }
  close(): void {
    this.dead = true
  }
  pump(): void {}
}
