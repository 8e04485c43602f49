// One try of a request: over a pooled connection or a new one.

import { type FailureCode, failureOf, MeshError } from '../model/failure.ts'
import type { Caller } from '../model/identity.ts'
import type { Forward } from '../model/http/route.ts'
import { nameOf } from '../model/service.ts'
import { hasLeft } from '../model/serving.ts'
import type { Snapshot } from '../model/snapshot.ts'
import type { RequestLedger } from '../telemetry/ledger.ts'
import { type Admitted, isTunnel } from './admission.ts'
import type { Call } from './classify.ts'
import { isEnding, isUnreached } from './connect.ts'
import type { Exchange } from './exchange.ts'
import type { Head } from './http1/head.ts'
import type { Carried, Carrier, Http1Upstream } from './http1/upstream.ts'
import type { Deadline } from './plane/deadlines.ts'
import type { Waiting } from './plane/live.ts'
import type { Walk } from './plane/node.ts'
import { type Goal, keepFor, keptFor, Reach, type Reaches } from './reach.ts'
import { relay } from './relay.ts'
import { judgeOf, occupant } from './tcp.ts'
import type { TryEnd } from './tries.ts'

/** One request on its way, and who hears how a try went: neither call throws. */
export interface Request {
  readonly exchange: Exchange
  readonly call: Call
  readonly caller: Caller
  readonly walk: Walk
  readonly ledger: RequestLedger
  /** Read once, kept for all retries. */
  readonly world: Snapshot
  carried(how: Carried): void
  /** `end` is null where it must not be tried again. */
  failed(failure: MeshError, end: TryEnd | null): void
  /** Whether a response with this head is the caller's; else it is dropped, and `again` is called. */
  takes(head: Head): boolean
  again(): void
}

/** What a try goes by. */
export interface Way extends Goal {
  readonly route: Forward
  /** What it was admitted with. */
  readonly cargo: Admitted['cargo']
  /** Milliseconds that this try may take until its response begins, or null. */
  readonly perTryMs: number | null
}

const GONE = 'the pod behind it is gone'

/** One try. */
export class Attempt implements Carrier, Reaches, Waiting {
  readonly #request: Request
  readonly #way: Way
  readonly #endpoint: string
  #upstream: Http1Upstream | null = null
  #deadline: Deadline | null = null
  /** Where no connection was kept. */
  #reach: Reach | null = null
  /** It counts as a request under way to the host. */
  #isCounted = false

  constructor(request: Request, way: Way) {
    this.#request = request
    this.#way = way
    this.#endpoint = nameOf(way.leg.endpoint)
  }

  begin(): void {
    const { node } = this.#request.walk
    this.#request.ledger.sent(this.#way.leg)
    node.load.begin(this.#endpoint)
    if (this.#hasGone()) {
      this.lose()
      return
    }
    const { perTryMs } = this.#way
    if (perTryMs !== null) {
      const nowMs = this.#request.walk.node.transport.nowMs
      this.#deadline = node.deadlines.set(perTryMs, nowMs, () => this.#expire(perTryMs))
    }
    const kept = keptFor(this.#way)
    if (kept !== null) {
      this.reached(kept)
      return
    }
    this.#request.walk.place.waiting = this
    this.#reach = new Reach(this.#way, this)
    this.#reach.begin()
  }

  reached(upstream: Http1Upstream): void {
    const { breaker } = this.#way
    if (breaker !== null) {
      breaker.result(this.#endpoint, 'connected')
      if (!breaker.requests.enter()) {
        keepFor(this.#way, upstream)
        this.failed(new MeshError('OVERFLOW', 'as many requests are under way to the host as may be'))
        return
      }
      this.#isCounted = true
    }
    this.#carry(upstream)
  }

  unreached(failure: MeshError): void {
    this.failed(failure)
  }

  get clientCert(): string | null {
    return this.#way.leg.clientCert
  }

  heard(head: Head): boolean {
    this.#deadline?.lift()
    this.#request.ledger.heard(head)
    this.#way.breaker?.result(this.#endpoint, head.status)
    return this.#request.takes(head)
  }

  dropped(): void {
    this.#leave(this.#request.walk)
    this.#request.exchange.detachBody()
    this.#request.again()
  }

  carried(how: Carried): void {
    if (how === 'upgraded') {
      const { ticket } = this.#upstream as Http1Upstream
      const tunnel = this.#tunnel().finally(() => ticket?.release())
      tunnel.then(
        () => this.#end(how),
        (thrown: unknown) => this.failed(failureOf(thrown)),
      )
      return
    }
    this.#keep()
    this.#end(how)
  }

  failed(failure: MeshError): void {
    const { exchange, walk } = this.#request
    const upstream = this.#upstream
    if (isEndpoints(failure, upstream, exchange.answered)) this.#way.breaker?.result(this.#endpoint, 'failed')
    if (upstream !== null) this.#keep() // where it was stopped before anything was sent
    this.#leave(walk)
    exchange.during(null, null)
    exchange.detachBody()
    this.#request.failed(failure, upstream === null ? unconnected(failure) : this.#brokenOff(upstream, failure))
  }

  #brokenOff(upstream: Http1Upstream, { code }: MeshError): TryEnd | null {
    const { exchange } = this.#request
    const { resendable } = exchange
    if (code === 'PER_TRY_TIMEOUT') return { setback: { kind: 'slow' }, replay: null, resendable }
    if (code !== 'UPSTREAM_RESET' && code !== 'UPSTREAM_BAD_RESPONSE') return null
    const isReplayed = !upstream.heard && code === 'UPSTREAM_RESET' && exchange.repeatable
    const setback = { kind: 'reset', sent: true } as const
    return { setback, replay: isReplayed ? (upstream.reused ? 'stale' : 'lost') : null, resendable }
  }

  /** The response has not begun in the time of a single try. */
  #expire(ms: number): void {
    const failure = new MeshError('PER_TRY_TIMEOUT', `no response in the ${ms} ms of one try`)
    if (this.#upstream !== null) this.#upstream.expire(failure)
    else this.failed(failure)
  }

  isGone({ workloadByUid }: Snapshot): boolean {
    const { workload } = this.#way.leg.endpoint
    return workload !== null && !workloadByUid.has(workload) // of what is no pod nobody knows whether it is gone
  }

  lose(): void {
    if (this.#upstream === null) this.failed(new MeshError('CONNECT_REFUSED', GONE))
    else this.#upstream.lose(new MeshError('UPSTREAM_RESET', GONE))
  }

  /** Whether its pod has gone since the request came, which may have waited for something else when those that wait were looked over. */
  #hasGone(): boolean {
    const { walk, world } = this.#request
    const { snapshot } = walk.node
    return snapshot !== world && this.isGone(snapshot)
  }

  #carry(upstream: Http1Upstream): void {
    const { exchange, ledger, walk } = this.#request
    if (isTunnel(exchange)) this.#way.cargo.request?.keep() // what it asked is judged again, when its head is gone
    this.#upstream = upstream
    ledger.upstreamLocal = upstream.local
    walk.place.waiting = this
    try {
      upstream.carry(exchange, this.#way.route, this)
    } catch (thrown) {
      this.failed(failureOf(thrown))
    }
  }

  #end(how: Carried): void {
    this.#leave(this.#request.walk)
    this.#request.carried(how)
  }

  #leave({ place, node }: Walk): void {
    this.#reach?.giveUp()
    this.#deadline?.lift()
    if (this.#isCounted) this.#way.breaker?.requests.leave()
    this.#isCounted = false
    place.waiting = null
    node.load.end(this.#endpoint)
  }

  /** None is kept to an endpoint that has left meanwhile, or ends: it waits for its connections to end. */
  #keep(): void {
    const { walk, world } = this.#request
    const { node } = walk
    const upstream = this.#upstream as Http1Upstream
    if (!upstream.reusable) return
    const { leg } = this.#way
    const isOut = leg.client === undefined
    const hasGone = isOut && node.snapshot !== world && hasLeft(world, node.snapshot, this.#endpoint)
    if (hasGone || (isOut && isEnding(leg))) upstream.close()
    else keepFor(this.#way, upstream)
  }

  /** After 101: bytes both ways until both ends are through. */
  async #tunnel(): Promise<void> {
    const { exchange, walk, call, caller, world } = this.#request
    const { leg, route, cargo } = this.#way
    const upstream = this.#upstream as Http1Upstream
    const { ahead } = upstream
    const judge = judgeOf({ call, caller, leg, cargo, backends: route.backends })
    // what came into force since the request was routed found no tunnel in this place to judge
    const refusal = walk.node.snapshot === world ? null : judge(walk.node.snapshot)
    if (refusal !== null) {
      for (const { channel } of [upstream, exchange]) channel.reset() // neither is its protocol's any more
      throw refusal
    }
    const flow = relay(exchange.channel, upstream.channel, exchange, {
      fromCaller: ahead?.fromCaller ?? null,
      fromUpstream: ahead?.fromUpstream ?? null,
    })
    const ends = { channels: [exchange.channel, upstream.channel], terms: [call.term, upstream.term] }
    walk.place.occupant = occupant(flow, ends, judge, walk.node.limits)
    await flow.done
  }
}

/** Nothing was sent. A connection that was too long in coming is as one that did not come. */
function unconnected({ kind, code }: MeshError): TryEnd | null {
  if (code === 'PER_TRY_TIMEOUT') return { setback: { kind: 'slow' }, replay: null, resendable: true }
  return kind.retry ? { setback: { kind: 'unconnected' }, replay: null, resendable: true } : null
}

/** What an endpoint is to blame for that was asked, and did not answer. */
const UNANSWERED: ReadonlySet<FailureCode> = new Set<FailureCode>([
  ...(['UPSTREAM_RESET', 'UPSTREAM_BAD_RESPONSE', 'PER_TRY_TIMEOUT', 'REQUEST_TIMEOUT'] as const),
])

/** Whether a failure is the endpoint's: no connection, no answer in time, or none. A kept connection may be closed at any time. */
export function isEndpoints(failure: MeshError, upstream: Http1Upstream | null, isAnswered: boolean): boolean {
  if (upstream === null) return isUnreached(failure)
  if (isAnswered || !UNANSWERED.has(failure.code)) return false
  return !(failure.code === 'UPSTREAM_RESET' && upstream.reused && !upstream.heard)
}
