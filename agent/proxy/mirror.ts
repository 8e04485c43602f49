// Copies of requests, sent where a rule wants them too. A copy leaves once the request itself has been sent whole, walks
// pick, authorize and connect for itself, and its answer is read and dropped. It is tried once, and whatever becomes of it,
// the request it was made of never hears.

import { pickFor } from '../model/balance/affinity.ts'
import { exhausted } from '../model/balance/balance.ts'
import type { Backends } from '../model/backends.ts'
import type { Outcome } from '../model/balance/outlier.ts'
import { failureOf, MeshError } from '../model/failure.ts'
import { hashOf } from '../model/balance/hash-policy.ts'
import type { Forward } from '../model/http/route.ts'
import { nameOf } from '../model/service.ts'
import { hasLeft } from '../model/serving.ts'
import type { RequestLedger } from '../telemetry/ledger.ts'
import { isEndpoints, type Request } from './attempt.ts'
import { type Leg, legTo, permitFor } from './connect.ts'
import type { BodyCopy, BodySink, Errand, Exchange, Stop } from './exchange.ts'
import { type Framing, Head } from './http1/head.ts'
import { Store } from './http1/store.ts'
import type { Carrier, Http1Upstream } from './http1/upstream.ts'
import type { Deadline } from './plane/deadlines.ts'
import { type Goal, keepFor, keptFor, Reach, type Reaches } from './reach.ts'

/** Longest body that is kept for copies. */
export const MIRRORED_BODY_LIMIT = 1024 * 1024
/** How long a copy may take where nothing bounds its request. */
export const MIRROR_MS = 15_000

/** Label of weft_mirrors_total. `given-up`: its request did not come whole, or is too long. `dropped`: too many at once. */
type Result = 'answered' | 'failed' | 'timed-out' | 'given-up' | 'dropped'

const NOBODY: ReadonlySet<string> = new Set()

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
class Mirror implements Errand, Carrier, Reaches {
  readonly method: string
  readonly target: string
  readonly authority: string
  readonly head: Head
  readonly framing: Framing
  readonly requestId: string
  readonly newId: boolean
  readonly halfClosed = false
  /** Nobody waits for it. */
  readonly channel = null
  clientCert: string | null = null
  readonly #origin: Origin
  readonly #copied: Copied
  readonly #backends: Backends
  readonly #onEnd: (result: Result) => void
  #ledger: RequestLedger | null = null
  #leg: Leg | null = null
  #goal: Goal | null = null
  #reach: Reach | null = null
  #upstream: Http1Upstream | null = null
  #deadline: Deadline | null = null
  #stop: Stop | null = null
  #stopped: MeshError | null = null
  #status = 0
  #received = 0
  /** It counts as a request under way to the host. */
  #isCounted = false
  #isOver = false

  constructor(origin: Origin, copied: Copied, backends: Backends, onEnd: (result: Result) => void) {
    const { exchange, head } = copied
    this.method = exchange.method
    this.target = exchange.target
    this.authority = exchange.authority
    this.requestId = exchange.requestId
    this.newId = exchange.newId
    this.head = head
    this.framing = head.requestFraming()
    this.#origin = origin
    this.#copied = copied
    this.#backends = backends
    this.#onEnd = onEnd
  }

  begin(): void {
    try {
      this.#begin()
    } catch (thrown) {
      this.#end(failureOf(thrown))
    }
  }

  stop(reason: MeshError): void {
    if (this.#stopped !== null) return
    this.#stopped = reason
    const stop = this.#stop
    this.#stop = null
    if (stop === null) this.#end(reason)
    else stop(reason)
  }

  during(stop: Stop | null): void {
    if (stop !== null && this.#stopped !== null) throw this.#stopped
    this.#stop = stop
  }

  sendBody(sink: BodySink): void {
    const { body, trailers } = this.#copied
    if (body.length > 0) sink.bodyBytes(body.bytes, body.from, body.to, null)
    sink.bodyEnd(trailers)
  }

  interim(): void {}

  respond(head: Head): void {
    this.#status = head.status
  }

  bodyBytes(_bytes: Buffer, from: number, to: number): void {
    this.#received += to - from
  }

  bodyEnd(): void {}

  upgrade(): Buffer | null {
    return null // it asks for none
  }

  heard(head: Head): boolean {
    this.#ledger?.heard(head)
    this.#result(head.status)
    return true
  }

  dropped(): void {}

  carried(): void {
    this.#keep()
    this.#end(null)
  }

  failed(reason: MeshError): void {
    this.#end(reason)
  }

  #begin(): void {
    const { call, caller, walk, world } = this.#origin
    const { node } = walk
    const { route, timeoutMs, exchange } = this.#copied
    const backends = this.#backends
    const { method, requestId } = this
    const { minor, userAgent, forwardedFor } = exchange
    const [target, authority] = [route.target ?? this.target, route.authority ?? this.authority]
    const asked = { method, target, authority, minor, requestId, userAgent, forwardedFor }
    const ledger = (this.#ledger = walk.ledger.request(asked, this.head))
    ledger.isMirror = true
    ledger.snapshot = world.version
    ledger.service = world.serviceByHost.get(backends.host) ?? null
    ledger.routed(backends, route.by)
    const expire = (): void => this.stop(new MeshError('REQUEST_TIMEOUT', `no whole response in ${timeoutMs} ms`))
    this.#deadline = node.deadlines.set(timeoutMs, ledger.startedAt, expire)
    const hashed = hashOf(backends, { client: call.peer.ip, request: exchange, seed: node.requestId })
    const endpoint = pickFor({ client: call.peer.ip, hash: hashed?.hash ?? null }, backends, node, NOBODY)
    if (endpoint === null) throw new MeshError('NO_ENDPOINT', exhausted(backends))
    const leg = legTo({ endpoint, wish: backends }, call, node, world)
    const permit = permitFor(caller, leg)
    if (permit instanceof MeshError) throw permit
    ledger.sent(leg)
    this.clientCert = leg.clientCert
    this.#leg = leg
    node.load.begin(nameOf(endpoint))
    const breaker = node.breakers.of(backends)
    const goal = (this.#goal = { errand: this, call, node, permit, leg, breaker, fresh: false })
    const kept = keptFor(goal)
    if (kept !== null) {
      this.reached(kept)
      return
    }
    this.#reach = new Reach(goal, this)
    this.#reach.begin()
  }

  /** A copy is a request to its host like any other: it is bounded with them, and tells how its endpoint fares. */
  reached(upstream: Http1Upstream): void {
    this.#result('connected')
    const goal = this.#goal as Goal
    if (goal.breaker !== null && !goal.breaker.requests.enter()) {
      keepFor(goal, upstream)
      this.#end(new MeshError('OVERFLOW', 'as many requests are under way to the host as may be'))
      return
    }
    this.#isCounted = true
    this.#carry(upstream)
  }

  #result(outcome: Outcome): void {
    const goal = this.#goal
    if (goal !== null) goal.breaker?.result(nameOf(goal.leg.endpoint), outcome)
  }

  unreached(failure: MeshError): void {
    this.#end(failure)
  }

  #carry(upstream: Http1Upstream): void {
    this.#upstream = upstream
    if (this.#ledger !== null) this.#ledger.upstreamLocal = upstream.local
    try {
      upstream.carry(this, this.#copied.route, this)
    } catch (thrown) {
      this.#keep() // stopped before anything was sent
      this.#end(failureOf(thrown))
    }
  }

  #keep(): void {
    const { walk, world } = this.#origin
    const { node } = walk
    const [upstream, goal] = [this.#upstream, this.#goal]
    if (upstream === null || goal === null || !upstream.reusable) return
    const { leg } = goal
    const hasGone = node.snapshot !== world && hasLeft(world, node.snapshot, nameOf(leg.endpoint))
    // one that tells of its caller is good for that caller alone, who may be gone by now, and ends with it
    if (hasGone || leg.header !== null) upstream.close()
    else keepFor(goal, upstream)
  }

  /** Into the books, once. Nothing that goes wrong here reaches the request that it is a copy of. */
  #end(failure: MeshError | null): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#deadline?.lift()
    this.#reach?.giveUp()
    if (failure !== null && isEndpoints(failure, this.#upstream, this.#status > 0)) this.#result('failed')
    if (this.#isCounted) this.#goal?.breaker?.requests.leave()
    const ledger = this.#ledger
    if (this.#leg !== null) this.#origin.walk.node.load.end(nameOf(this.#leg.endpoint))
    if (ledger !== null) {
      if (failure !== null) ledger.fail(failure)
      ledger.status = this.#status
      ledger.receivedBytes = this.#copied.length
      ledger.sentBytes = this.#received
      ledger.write()
    }
    const isLate = failure?.code === 'REQUEST_TIMEOUT'
    this.#onEnd(failure === null ? 'answered' : isLate ? 'timed-out' : 'failed')
  }
}
