// One try of a request: over a pooled connection or a new one.

import { failureOf, type MeshError } from '../model/failure.ts'
import type { Caller } from '../model/identity.ts'
import type { Permit } from '../model/permit.ts'
import type { HttpRoute } from '../model/route.ts'
import { nameOf } from '../model/service.ts'
import { hasLeft } from '../model/serving.ts'
import type { Snapshot } from '../model/snapshot.ts'
import type { RequestLedger } from '../telemetry/ledger.ts'
import type { HeaderSource } from '../telemetry/recorder.ts'
import type { Call } from './classify.ts'
import { connect, type Leg } from './connect.ts'
import { until } from './deadline.ts'
import type { Exchange } from './exchange.ts'
import { type Carried, type Carrier, Http1Upstream } from './http1/upstream.ts'
import type { Waiting } from './plane/live.ts'
import type { Walk } from './plane/node.ts'
import type { Pool } from './plane/pool.ts'
import { relay } from './relay.ts'
import { judgeOf, occupant } from './tcp.ts'

/**
 * What a failed try did. `refused`: nothing was sent. `stale`: the pooled connection had been closed by its other end
 * meanwhile. `lost`: a new connection was reset before a byte of an answer, as one is that still waited to be accepted when
 * the application stopped listening; the request may be sent twice (RFC 9110 §9.2.2). `final`: it must not be tried again.
 */
export type Harm = 'refused' | 'stale' | 'lost' | 'final'

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
  failed(failure: MeshError, harm: Harm): void
}

/** What a try goes by. */
export interface Way {
  readonly permit: Permit
  readonly leg: Leg
  readonly route: HttpRoute & { kind: 'forward' }
  /** Over a connection of its own: a pooled one has just turned out to be closed. */
  readonly fresh: boolean
}

/** One try. */
export class Attempt implements Carrier, Waiting {
  readonly #request: Request
  readonly #way: Way
  readonly #endpoint: string
  #upstream: Http1Upstream | null = null

  constructor(request: Request, way: Way) {
    this.#request = request
    this.#way = way
    this.#endpoint = nameOf(way.leg.endpoint)
  }

  begin(): void {
    const { node } = this.#request.walk
    this.#request.ledger.sent(this.#way.leg)
    node.load.begin(this.#endpoint)
    const pooled = this.#way.fresh ? null : this.#pool().take(node.transport.nowMs)
    if (pooled === null) this.#dial()
    else this.#carry(pooled)
  }

  get clientCert(): string | null {
    return this.#way.leg.clientCert
  }

  heard(head: HeaderSource): void {
    this.#request.ledger.heard(head)
  }

  carried(how: Carried): void {
    if (how === 'upgraded') {
      this.#tunnel().then(
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
    if (upstream !== null) this.#keep() // where it was stopped before anything was sent
    this.#leave(walk)
    exchange.during(null, null)
    const isLost = upstream?.heard === false && failure.code === 'UPSTREAM_RESET' && exchange.repeatable
    if (upstream === null) this.#request.failed(failure, failure.kind.retry ? 'refused' : 'final')
    else this.#request.failed(failure, isLost ? (upstream.reused ? 'stale' : 'lost') : 'final')
  }

  isGone({ workloadByUid }: Snapshot): boolean {
    const { workload } = this.#way.leg.endpoint
    return workload !== null && !workloadByUid.has(workload) // of what is no pod nobody knows whether it is gone
  }

  lose(): void {
    this.#upstream?.lose('the pod behind it is gone')
  }

  #pool(): Pool {
    const { call, walk } = this.#request
    const { leg } = this.#way
    return walk.node.pools.of(call.pod.captured.uid, { endpoint: this.#endpoint, key: leg.link.key }, leg.client)
  }

  #dial(): void {
    const { exchange, walk } = this.#request
    const { permit, leg } = this.#way
    until(exchange, connect(permit, leg, walk.node, 'http'), ({ channel }) => channel.reset()).then(
      ({ channel, term }) => this.#carry(new Http1Upstream(channel, walk.node.limits, term)),
      (thrown: unknown) => this.failed(failureOf(thrown)),
    )
  }

  #carry(upstream: Http1Upstream): void {
    const { exchange, ledger, walk } = this.#request
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
    place.waiting = null
    node.load.end(this.#endpoint)
  }

  /** An endpoint that has left meanwhile is not kept: it waits for its connections to end. */
  #keep(): void {
    const { walk, world } = this.#request
    const { node } = walk
    const upstream = this.#upstream as Http1Upstream
    if (!upstream.reusable) return
    const { leg } = this.#way
    const hasGone = node.snapshot !== world && leg.client === undefined && hasLeft(world, node.snapshot, this.#endpoint)
    if (hasGone) upstream.close()
    else this.#pool().give(upstream, node.transport.nowMs)
  }

  /** After 101: bytes both ways until both ends are through. */
  async #tunnel(): Promise<void> {
    const { exchange, walk, call, caller, world } = this.#request
    const { leg, route } = this.#way
    const upstream = this.#upstream as Http1Upstream
    const { ahead } = upstream
    const judge = judgeOf({ call, caller, leg, backends: route.backends })
    // what came into force since the request was routed found no tunnel in this place to judge
    const refusal = walk.node.snapshot === world ? null : judge(walk.node.snapshot)
    if (refusal !== null) {
      upstream.channel.reset()
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
