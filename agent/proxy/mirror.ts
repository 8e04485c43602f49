// Copies of requests, sent where a rule wants them too. A copy leaves once the request itself has been sent whole, walks
// pick, authorize and connect for itself, and its answer is read and dropped. It is tried once, and whatever becomes of it,
// the request it was made of never hears.

import type { Backends } from '../model/backends.ts'
import type { MeshError } from '../model/failure.ts'
import type { Forward } from '../model/http/route.ts'
import { UNASKED } from '../model/permit.ts'
import type { Request } from './attempt.ts'
import type { BodyCopy, Exchange } from './exchange.ts'
import { Head } from './http1/head.ts'
import { Store } from './http1/store.ts'
import { type SideBody, SideRequest, type SideTrip } from './side-request.ts'

/** Longest body that is kept for copies. */
export const MIRRORED_BODY_LIMIT = 1024 * 1024
/** How long a copy may take where nothing bounds its request. */
export const MIRROR_MS = 15_000

/** Label of weft_mirrors_total. `given-up`: its request did not come whole, or is too long. `dropped`: too many at once. */
type Result = 'answered' | 'failed' | 'timed-out' | 'given-up' | 'dropped'

/** The request that copies are made of. */
type Origin = Pick<Request, 'exchange' | 'call' | 'caller' | 'walk' | 'world'>

/** Has a request copied, where its rule wants that; `timeoutMs` is its own, null for none. What becomes of a tunnel is not. */
export function mirror(origin: Origin, route: Forward, timeoutMs: number | null): void {
  const { exchange } = origin
  if (exchange.method === 'CONNECT' || exchange.head.upgrade >= 0) return
  exchange.copyBody(new RequestCopy(origin, route, timeoutMs ?? MIRROR_MS))
}

/** A request as it leaves, kept for all its mirrors. */
interface Copied {
  readonly exchange: Exchange
  readonly head: Head
  readonly body: Store
  readonly trailers: Buffer | null
  readonly length: number
  readonly route: Forward
  readonly timeoutMs: number
}

/** Gathers a request. What it keeps counts for the pod. */
class RequestCopy implements BodyCopy {
  readonly #origin: Origin
  readonly #route: Forward
  readonly #timeoutMs: number
  readonly #body: Store
  #isOver = false
  #left: number

  constructor(origin: Origin, route: Forward, timeoutMs: number) {
    this.#origin = origin
    this.#route = route
    this.#timeoutMs = timeoutMs
    this.#left = route.mirrors.length
    this.#body = new Store(origin.exchange.channel.budget)
  }

  bodyBytes(bytes: Buffer, from: number, to: number): void {
    if (this.#isOver) return
    const { budget } = this.#origin.exchange.channel
    if (this.#body.length + (to - from) > MIRRORED_BODY_LIMIT || budget.scarce) this.lost()
    else this.#body.append(bytes, from, to)
  }

  lost(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#count('given-up', this.#left)
    this.#body.release()
  }

  bodyEnd(trailers: Buffer | null): void {
    if (this.#isOver) return
    this.#isOver = true
    const { exchange, walk } = this.#origin
    const { bytes, base, length } = exchange.head
    const head = new Head('request', walk.node.limits)
    head.parse(Buffer.from(bytes.subarray(base, base + length)), 0, length) // as it was parsed: the caller's is soon gone
    const copied: Copied = {
      exchange,
      head,
      body: this.#body,
      trailers: trailers === null ? null : Buffer.from(trailers),
      length: this.#body.length,
      route: this.#route,
      timeoutMs: this.#timeoutMs,
    }
    for (const backends of this.#route.mirrors) this.#send(copied, backends)
  }

  #send(copied: Copied, backends: Backends): void {
    const { node } = this.#origin.walk
    const { pod } = this.#origin.call
    const one = new Mirror(this.#origin, copied, backends, (result) => {
      node.mirrors.leave(pod, one)
      this.#ended(result)
    })
    if (node.mirrors.enter(pod, one)) one.begin()
    else this.#ended('dropped')
  }

  #ended(result: Result): void {
    this.#count(result, 1)
    if (--this.#left === 0) this.#body.release()
  }

  #count(result: Result, times: number): void {
    this.#origin.walk.node.account.cells.plain('weft_mirrors_total', result).value += times
  }
}

/** One copy on its way. */
class Mirror extends SideRequest {
  readonly #origin: Origin
  readonly #copied: Copied
  readonly #backends: Backends
  readonly #onEnd: (result: Result) => void

  constructor(origin: Origin, copied: Copied, backends: Backends, onEnd: (result: Result) => void) {
    const { method, target, authority, requestId, newId } = copied.exchange
    super({ method, target, authority, requestId, newId, head: copied.head })
    this.#origin = origin
    this.#copied = copied
    this.#backends = backends
    this.#onEnd = onEnd
  }

  protected get body(): SideBody {
    const { body, trailers } = this.#copied
    return { bytes: body.bytes, from: body.from, to: body.to, trailers }
  }

  protected get isRepeatable(): boolean {
    return false
  }

  protected open(): SideTrip {
    const { call, caller, walk, world } = this.#origin
    const { route, timeoutMs, exchange } = this.#copied
    const { method, requestId } = this
    const { minor, userAgent, forwardedFor } = exchange
    const [target, authority] = [route.target ?? this.target, route.authority ?? this.authority]
    const asked = { method, target, authority, minor, requestId, userAgent, forwardedFor }
    const ledger = walk.ledger.request(asked, this.head)
    ledger.isMirror = true
    const judged = { node: walk.node, call, caller, world, consented: UNASKED }
    return { ...judged, ledger, backends: this.#backends, route, facts: exchange, fromMs: ledger.startedAt, timeoutMs }
  }

  protected heardBody(): void {}

  protected over(failure: MeshError | null): void {
    const isLate = failure?.code === 'REQUEST_TIMEOUT'
    this.#onEnd(failure === null ? 'answered' : isLate ? 'timed-out' : 'failed')
  }
}
