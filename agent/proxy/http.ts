// A connection carried as HTTP: its requests, one after another, each walking the rest of the corridor for itself.

import { addressText } from '../model/address.ts'
import { failureOf, type MeshError } from '../model/failure.ts'
import type { Caller } from '../model/identity.ts'
import type { PathNormalization } from '../model/mesh-settings.ts'
import { isTerminating, resolvePod, type Snapshot, type Target } from '../model/snapshot.ts'
import { plaintextRefusal } from './authenticate.ts'
import { type Call, current } from './classify.ts'
import type { Exchange } from './exchange.ts'
import { HttpOccupant } from './http-place.ts'
import { HttpRequest, type RequestOwner } from './http-request.ts'
import { Http1Caller } from './http1/caller.ts'
import type { CallerOptions, Requests } from './http1/requests.ts'
import type { HeadLimits } from './http1/scan.ts'
import type { Carried } from './http1/upstream.ts'
import { leave, type Walk } from './plane/node.ts'

/** Serves requests until the caller is done, and leaves then. */
export function serveHttp(call: Call, walk: Walk): void {
  new HttpConnection({ ...call, first: null }, walk).begin(call.first) // those bytes are not kept
}

/**
 * Most connections are between two requests most of the time, and there are thousands of them: no promise waits for the end
 * of one, and what others ask of it are methods and no closures.
 */
class HttpConnection implements Requests, RequestOwner, CallerOptions {
  readonly call: Call
  readonly walk: Walk
  #side: Http1Caller | null = null
  #world: Snapshot | null = null
  #target: Target
  /** Whether the pod dialled is about to go, and by which snapshot. */
  #isGoing = false
  #goingBy: Snapshot | null = null
  #isOver = false

  constructor(call: Call, walk: Walk) {
    this.call = call
    this.walk = walk
    this.#target = call.target
  }

  get caller(): Caller {
    return this.call.caller
  }

  get port(): number {
    return this.call.dialled.port
  }

  get authority(): string {
    return addressText(this.call.dialled)
  }

  get limits(): HeadLimits {
    return this.walk.node.limits
  }

  get pathNormalization(): PathNormalization {
    return this.walk.node.snapshot.settings.mesh.pathNormalization
  }

  requestId(): string {
    return this.walk.node.requestId()
  }

  /** Whether this is the time to leave: the node drains, what secures it is over, or the pod dialled is about to go. */
  get lastResponse(): boolean {
    const { direction, dialled, target, term } = this.call
    const { node } = this.walk
    if (direction === 'outbound' && target.kind !== 'workload') return node.draining
    if (this.#goingBy !== node.snapshot) {
      this.#goingBy = node.snapshot
      this.#isGoing = isTerminating(node.snapshot, dialled)
    }
    return this.#isGoing || node.draining || term.isOver(node.transport.nowMs)
  }

  /** `first`: what has been read of it. */
  begin(first: Buffer | null): void {
    const { call, walk } = this
    try {
      const side = new Http1Caller(call.channel, this, this, first)
      this.#side = side
      if (call.ended) side.end()
      walk.place.occupant = new HttpOccupant(side, call, walk.node)
      side.next()
    } catch (thrown) {
      this.broke(thrown)
    }
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
    this.#leave()
  }

  ended(how: Carried): void {
    if (how === 'done') this.#side?.next()
    else this.finished(null)
  }

  broke(thrown: unknown): void {
    this.walk.ledger.fail(failureOf(thrown))
    this.call.channel.reset()
    this.#leave()
  }

  #leave(): void {
    if (this.#isOver) return
    this.#isOver = true
    const { call, walk } = this
    // an application saw this caller's address on what was kept for it, or was told it: nobody else may have that
    walk.node.pools.drainClient(call.pod.captured.uid, call.peer)
    leave(walk)
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
