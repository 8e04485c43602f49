// What the register of live connections may ask of one that carries HTTP.

import { MeshError } from '../model/failure.ts'
import { plaintextRefusal } from './authenticate.ts'
import type { Call } from './classify.ts'
import type { Http1Caller } from './http1/caller.ts'
import type { Walk } from './plane/node.ts'

/** How much longer the callee's end waits: the caller's is to be the one that leaves, for it knows what it is sending. */
const GRACE_MS = 5_000

/** Puts the connection in its place; disposing it closes what was kept for this connection alone. */
export function occupyWithHttp(side: Http1Caller, call: Call, { place, node }: Walk): Disposable {
  const { idleMs, headMs, bodyMs, quietMs } = node.limits
  place.occupant = {
    overdue: (nowMs) => {
      if (call.term.isOver(nowMs - GRACE_MS)) side.drain()
      if (side.headSince !== null && nowMs - side.headSince > headMs) {
        return new MeshError('CALLER_TIMEOUT', `no whole request head in ${headMs} ms`)
      }
      if (bodyMs > 0 && side.bodySince !== null && nowMs - side.bodySince > bodyMs) {
        return new MeshError('CALLER_TIMEOUT', `no byte of the request body in ${bodyMs} ms`)
      }
      return nowMs - side.activeAt > idleMs ? new MeshError('IDLE_TIMEOUT', 'no byte passed for too long') : null
    },
    forbidden: (snapshot) => plaintextRefusal(snapshot, call), // for the rest each request asks for its own permit
    stop: (reason) => side.expire(reason),
    // a caller that was heard a moment ago may be sending now: its next request is answered, and told to be the last
    drain: (nowMs) => {
      if (!side.idle || nowMs - side.activeAt >= quietMs) side.drain()
    },
  }
  return {
    [Symbol.dispose]: () => {
      // an application saw this caller's address on it, or was told it: nobody else may have it
      node.pools.drainClient(call.pod.captured.uid, call.peer)
    },
  }
}
