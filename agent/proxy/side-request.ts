// A request that no caller waits for: a copy, a question to an authorizer. It walks pick, authorize and connect for itself,
// once, is bounded in time, and ends in a line of its own.

import { pickFor } from '../model/balance/affinity.ts'
import { exhausted } from '../model/balance/balance.ts'
import type { Backends } from '../model/backends.ts'
import type { Outcome } from '../model/balance/outlier.ts'
import { failureOf, MeshError } from '../model/failure.ts'
import { hashOf } from '../model/balance/hash-policy.ts'
import type { RequestFacts } from '../model/http/match.ts'
import type { Caller } from '../model/identity.ts'
import type { Forward } from '../model/http/route.ts'
import { nameOf } from '../model/service.ts'
import { hasLeft } from '../model/serving.ts'
import type { Snapshot } from '../model/snapshot.ts'
import type { RequestLedger } from '../telemetry/ledger.ts'
import { admit, type Admitted } from './admission.ts'
import { isEndpoints } from './attempt.ts'
import type { Call } from './classify.ts'
import { isEnding, type Leg, legTo } from './connect.ts'
import type { BodySink, Errand, Stop } from './exchange.ts'
import type { Framing, Head } from './http1/head.ts'
import type { Carrier, Http1Upstream } from './http1/upstream.ts'
import type { Deadline } from './plane/deadlines.ts'
import type { MeshNode } from './plane/node.ts'
import { type Goal, keepFor, keptFor, Reach, type Reaches } from './reach.ts'

/** What is asked, and of whom. `head` is its own: it does not go with a caller's bytes. */
export interface SideAsked extends Pick<Errand, 'method' | 'target' | 'authority' | 'requestId' | 'newId'> {
  readonly head: Head
}

/** Where it goes, for whom, and what it is judged by. */
export interface SideTrip {
  readonly call: Call
  readonly caller: Caller
  readonly node: MeshNode
  readonly world: Snapshot
  readonly ledger: RequestLedger
  readonly backends: Backends
  readonly route: Forward
  /** By which an endpoint is chosen, where a rule hashes requests. */
  readonly facts: RequestFacts
  /** By the ledger's clock, in milliseconds. */
  readonly fromMs: number
  readonly timeoutMs: number
  /** Authorizers that need not be asked about it. */
  readonly consented: ReadonlySet<string>
}

/** The body, all of it at hand. */
export interface SideBody {
  readonly bytes: Buffer
  readonly from: number
  readonly to: number
  readonly trailers: Buffer | null
}

export abstract class SideRequest implements Errand, Carrier, Reaches {
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
  /** Status of its answer, 0 until there is one. */
  protected status = 0
  #trip: SideTrip | null = null
  #route: Forward | null = null
  #leg: Leg | null = null
  #goal: Goal | null = null
  #reach: Reach | null = null
  #upstream: Http1Upstream | null = null
  #deadline: Deadline | null = null
  #stop: Stop | null = null
  #stopped: MeshError | null = null
  #received = 0
  /** Endpoints that could not be reached, by name. */
  readonly #passed = new Set<string>()
  /** It counts as a request under way to the host. */
  #isCounted = false
  #isOver = false

  constructor({ method, target, authority, requestId, newId, head }: SideAsked) {
    this.method = method
    this.target = target
    this.authority = authority
    this.requestId = requestId
    this.newId = newId
    this.head = head
    this.framing = head.requestFraming()
  }

  /** Opens its ledger and says where it goes. What it throws is what it ends by. */
  protected abstract open(): SideTrip
  protected abstract get body(): SideBody
  /** Whether it may be sent once more where it was not answered: twice is as once. */
  protected abstract get isRepeatable(): boolean
  /** A part of its answer's body. */
  protected abstract heardBody(bytes: Buffer, from: number, to: number): void
  /** It is over, once: null where its answer came whole. */
  protected abstract over(failure: MeshError | null): void

  begin(): void {
    if (this.#isOver) return
    try {
      this.#go((this.#trip = this.open()))
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
    const { bytes, from, to, trailers } = this.body
    if (to > from) sink.bodyBytes(bytes, from, to, null)
    sink.bodyEnd(trailers)
  }

  readAhead(most: number, told: (body: Buffer, isWhole: boolean) => void): void {
    const { bytes, from, to } = this.body
    told(bytes.subarray(from, Math.min(to, from + most)), to - from <= most)
  }

  interim(): void {}

  respond(head: Head): void {
    this.status = head.status
  }

  bodyBytes(bytes: Buffer, from: number, to: number): void {
    this.#received += to - from
    this.heardBody(bytes, from, to)
  }

  bodyEnd(): void {}

  upgrade(): Buffer | null {
    return null // it asks for none
  }

  heard(head: Head): boolean {
    this.#trip?.ledger.heard(head)
    this.#result(head.status)
    return true
  }

  dropped(): void {}

  carried(): void {
    this.#keep()
    this.#end(null)
  }

  failed(reason: MeshError): void {
    if (this.#isStale(reason)) this.#reachAnew()
    else this.#end(reason)
  }

  #go(trip: SideTrip): void {
    const { node, world, ledger, backends, route, fromMs, timeoutMs } = trip
    ledger.snapshot = world.version
    ledger.service = world.serviceByHost.get(backends.host) ?? null
    ledger.routed(backends, route.by)
    const expire = (): void => this.stop(new MeshError('REQUEST_TIMEOUT', `no whole response in ${timeoutMs} ms`))
    this.#deadline = node.deadlines.set(timeoutMs, fromMs, expire)
    this.#pick(trip, null)
  }

  /** `failure`: why it did not come to the endpoint before. */
  #pick(trip: SideTrip, failure: MeshError | null): void {
    const { call, caller, node, world, backends, route, facts, consented } = trip
    const hashed = hashOf(backends, { client: call.peer.ip, request: facts, seed: node.requestId })
    const endpoint = pickFor({ client: call.peer.ip, hash: hashed?.hash ?? null }, backends, node, this.#passed)
    if (endpoint === null) throw failure ?? new MeshError('NO_ENDPOINT', exhausted(backends))
    const leg = legTo({ endpoint, wish: backends }, call, node, world)
    const verdict = admit({ errand: this, route, call, caller, node, world, consented }, leg)
    if (!(verdict instanceof Promise)) {
      this.#admitted(verdict, leg, trip)
      return
    }
    const goOn = (late: Admitted | MeshError): void => {
      if (!this.#isOver) this.#admitted(late, leg, trip)
    }
    verdict.then(goOn).catch((thrown: unknown) => this.#end(failureOf(thrown)))
  }

  #admitted(admitted: Admitted | MeshError, leg: Leg, { call, node, ledger, backends }: SideTrip): void {
    if (admitted instanceof MeshError) throw admitted
    const { permit, route } = admitted
    this.#route = route
    ledger.decided(permit.decision)
    ledger.sent(leg)
    this.clientCert = leg.clientCert
    this.#leg = leg
    node.load.begin(nameOf(leg.endpoint))
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

  /** It is a request to its host like any other: bounded with them, and it tells how its endpoint fares. */
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
    const trip = this.#trip as SideTrip
    const isOver = this.#stopped !== null || this.#passed.size >= trip.node.limits.connectRetries
    if (!this.isRepeatable || !failure.kind.retry || isOver) {
      this.#end(failure)
      return
    }
    const name = nameOf((this.#leg as Leg).endpoint)
    if (isEndpoints(failure, null, false)) this.#result('failed')
    trip.node.load.end(name)
    this.#passed.add(name)
    this.#leg = this.#goal = null
    this.#count(trip, failure.code)
    try {
      this.#pick(trip, failure)
    } catch (thrown) {
      this.#end(failureOf(thrown))
    }
  }

  /** The kept connection had been closed by its other end meanwhile. */
  #isStale({ code }: MeshError): boolean {
    const [upstream, goal] = [this.#upstream, this.#goal]
    if (!this.isRepeatable || this.#stopped !== null || goal === null || goal.fresh || code !== 'UPSTREAM_RESET')
      return false
    return upstream?.reused === true && !upstream.heard
  }

  #reachAnew(): void {
    const goal = (this.#goal = { ...(this.#goal as Goal), fresh: true })
    if (this.#isCounted) goal.breaker?.requests.leave()
    this.#isCounted = false
    this.#upstream = null
    this.#count(this.#trip as SideTrip, 'STALE_CONNECTION')
    this.#reach = new Reach(goal, this)
    this.#reach.begin()
  }

  #count({ node }: SideTrip, why: string): void {
    node.account.cells.plain('weft_retries_total', why).value++
  }

  #carry(upstream: Http1Upstream): void {
    this.#upstream = upstream
    const { ledger } = this.#trip as SideTrip
    ledger.upstreamLocal = upstream.local
    try {
      upstream.carry(this, this.#route as Forward, this)
    } catch (thrown) {
      this.#keep() // stopped before anything was sent
      this.#end(failureOf(thrown))
    }
  }

  #keep(): void {
    const [upstream, goal, trip] = [this.#upstream, this.#goal, this.#trip]
    if (upstream === null || goal === null || trip === null || !upstream.reusable) return
    const { node, world } = trip
    const { leg } = goal
    const { endpoint } = leg
    const hasGone = isEnding(leg) || (node.snapshot !== world && hasLeft(world, node.snapshot, nameOf(endpoint)))
    // one that tells of its caller is good for that caller alone, who may be gone by now, and ends with it
    if (hasGone || leg.header !== null) upstream.close()
    else keepFor(goal, upstream)
  }

  /** Into the books, once. Nothing that goes wrong here reaches the request that it is for but by over(). */
  #end(failure: MeshError | null): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#deadline?.lift()
    this.#reach?.giveUp()
    if (failure !== null && isEndpoints(failure, this.#upstream, this.status > 0)) this.#result('failed')
    if (this.#isCounted) this.#goal?.breaker?.requests.leave()
    const trip = this.#trip
    if (trip !== null) {
      const { ledger, node } = trip
      if (this.#leg !== null) node.load.end(nameOf(this.#leg.endpoint))
      if (failure !== null) ledger.fail(failure)
      ledger.status = this.status
      ledger.receivedBytes = this.body.to - this.body.from
      ledger.sentBytes = this.#received
      ledger.write()
    }
    this.over(failure)
  }
}
