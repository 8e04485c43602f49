// What the register of live connections may ask of one that carries HTTP.

import { MeshError } from '../model/failure.ts'
import type { Snapshot } from '../model/snapshot.ts'
import { plaintextRefusal } from './authenticate.ts'
import type { Call } from './classify.ts'
import type { Http1Caller } from './http1/caller.ts'
import type { Occupant } from './plane/live.ts'
import type { MeshNode } from './plane/node.ts'

/** How much longer the callee's end waits: the caller's is to be the one that leaves, for it knows what it is sending. */
const GRACE_MS = 5_000

/** See Occupant. */
export class HttpOccupant implements Occupant {
  readonly #side: Http1Caller
  readonly #call: Call
  readonly #node: MeshNode

  constructor(side: Http1Caller, call: Call, node: MeshNode) {
    this.#side = side
    this.#call = call
    this.#node = node
  }

  overdue(nowMs: number): MeshError | null {
    const side = this.#side
    const { idleMs, headMs, bodyMs } = this.#node.limits
    if (this.#call.term.isOver(nowMs - GRACE_MS)) side.drain()
    if (side.headSince !== null && nowMs - side.headSince > headMs) {
      return new MeshError('CALLER_TIMEOUT', `no whole request head in ${headMs} ms`)
    }
    if (bodyMs > 0 && side.bodySince !== null && nowMs - side.bodySince > bodyMs) {
      return new MeshError('CALLER_TIMEOUT', `no byte of the request body in ${bodyMs} ms`)
    }
    return nowMs - side.activeAt > idleMs ? new MeshError('IDLE_TIMEOUT', 'no byte passed for too long') : null
  }

  /** For the rest each request asks for its own permit. */
  forbidden(snapshot: Snapshot): MeshError | null {
    return plaintextRefusal(snapshot, this.#call)
  }

  stop(reason: MeshError): void {
    this.#side.expire(reason)
  }

  /** A caller that was heard a moment ago may be sending now: its next request is answered, and told to be the last. */
  drain(nowMs: number): void {
    const side = this.#side
    if (!side.idle || nowMs - side.activeAt >= this.#node.limits.quietMs) side.drain()
  }
}
