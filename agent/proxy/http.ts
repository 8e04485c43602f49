// A connection carried as HTTP: its requests, one after another, each walking the rest of the corridor for itself.

import { addressText } from '../model/address.ts'
import type { MeshError } from '../model/failure.ts'
import type { Caller } from '../model/identity.ts'
import { isTerminating, resolvePod, type Snapshot, type Target } from '../model/snapshot.ts'
import { plaintextRefusal } from './authenticate.ts'
import { type Call, current } from './classify.ts'
import type { Exchange } from './exchange.ts'
import { occupyWithHttp } from './http-place.ts'
import { HttpRequest, type RequestOwner } from './http-request.ts'
import { Http1Caller } from './http1/caller.ts'
import type { Requests } from './http1/requests.ts'
import type { Carried } from './http1/upstream.ts'
import type { Walk } from './plane/node.ts'

/** Serves requests until the caller is done. */
export function serveHttp(call: Call, caller: Caller, walk: Walk): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  new HttpConnection({ call, caller, walk }, { resolve, reject }).begin()
  return promise
}

/** What walks: the connection, who is at its other end, and what they stand on. */
interface Walking {
  readonly call: Call
  readonly caller: Caller
  readonly walk: Walk
}

interface Ending {
  readonly resolve: () => void
  readonly reject: (thrown: unknown) => void
}

class HttpConnection implements Requests, RequestOwner {
  readonly call: Call
  readonly caller: Caller
  readonly walk: Walk
  readonly #side: Http1Caller
  readonly #place: Disposable
  readonly #ending: Ending
  #world: Snapshot | null = null
  #target: Target

  constructor({ call, caller, walk }: Walking, ending: Ending) {
    this.call = call
    this.caller = caller
    this.walk = walk
    this.#ending = ending
    this.#target = call.target
    const { node } = walk
    const options = {
      port: call.dialled.port,
      authority: addressText(call.dialled),
      requestId: node.requestId,
      limits: node.limits,
      pathNormalization: () => node.snapshot.settings.mesh.pathNormalization,
      lastResponse: leaving(call, node),
    }
    this.#side = new Http1Caller(call.channel, options, this, call.first)
    if (call.ended) this.#side.end()
    this.#place = occupyWithHttp(this.#side, call, walk)
  }

  begin(): void {
    this.#side.next()
  }

  serve(exchange: Exchange): void {
    new HttpRequest(exchange, this).begin()
  }

  finished(failure: MeshError | null): void {
    if (failure !== null) {
      // a request that cannot be read: it has been answered, and ends the connection
      this.walk.ledger.fail(failure)
      this.walk.ledger.status = failure.kind.status
    }
    this.#place[Symbol.dispose]()
    this.#ending.resolve()
  }

  ended(how: Carried): void {
    if (how === 'done') this.#side.next()
    else this.finished(null)
  }

  broke(thrown: unknown): void {
    this.#place[Symbol.dispose]()
    this.#ending.reject(thrown)
  }

  /** Looked up once a snapshot: most requests come by the one that the request before came by. */
  target(world: Snapshot): Target {
    if (this.#world !== world) {
      const refusal = plaintextRefusal(world, this.call)
      if (refusal !== null) throw refusal
      this.#target = targetIn(world, this.call)
      this.#world = world
    }
    return this.#target
  }
}

/** What was dialled, as this snapshot has it: what was unknown may be known by now. Throws NO_CLUSTER where it is gone. */
function targetIn(world: Snapshot, { target, direction, dialled }: Call): Target {
  if (target.kind === 'service') return current(world, target)
  return target.kind === 'unknown' && direction === 'outbound' ? resolvePod(world, dialled) : target
}

/** Whether this is the time to leave: the node drains, what secures it is over, or the pod dialled is about to go. */
function leaving({ direction, dialled, target, term }: Call, node: Walk['node']): () => boolean {
  if (direction === 'outbound' && target.kind !== 'workload') return () => node.draining
  let seen: Snapshot | null = null
  let isGoing = false
  return () => {
    if (seen !== node.snapshot) {
      seen = node.snapshot
      isGoing = isTerminating(seen, dialled)
    }
    return isGoing || node.draining || term.isOver(node.transport.nowMs)
  }
}
