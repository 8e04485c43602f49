// One try of a request: over a pooled connection or a new one.

import { failureOf, type MeshError } from '../model/failure.ts'
import type { Caller } from '../model/identity.ts'
import type { Permit } from '../model/permit.ts'
import type { HttpRoute } from '../model/route.ts'
import { nameOf } from '../model/service.ts'
import { hasLeft } from '../model/serving.ts'
import type { Snapshot } from '../model/snapshot.ts'
import type { RequestLedger } from '../telemetry/ledger.ts'
import type { Call } from './classify.ts'
import { connect, type Leg } from './connect.ts'
import { until } from './deadline.ts'
import type { Exchange } from './exchange.ts'
import { Http1Upstream } from './http1/upstream.ts'
import type { Waiting } from './plane/live.ts'
import type { Walk } from './plane/node.ts'
import { type PoolKey, poolKey } from './plane/pool.ts'
import { relay } from './relay.ts'
import { judgeOf, occupant } from './tcp.ts'

/** One request on its way. */
export interface Request {
  readonly exchange: Exchange
  readonly call: Call
  readonly caller: Caller
  readonly walk: Walk
  readonly ledger: RequestLedger
  /** Read once, kept for all retries. */
  readonly world: Snapshot
}

/** What a try goes by. */
export interface Way {
  readonly permit: Permit
  readonly leg: Leg
  readonly route: HttpRoute & { kind: 'forward' }
  /** Over a connection of its own: a pooled one has just turned out to be closed. */
  readonly fresh: boolean
}

/**
 * A try that failed without harm. `refused`: nothing was sent. `stale`: the pooled connection had been closed by its other
 * end meanwhile. `lost`: a new connection was reset before a byte of an answer, as one is that still waited to be accepted
 * when the application stopped listening; the request may be sent twice (RFC 9110 §9.2.2).
 */
export interface Tried {
  readonly failure: MeshError
  readonly how: 'refused' | 'stale' | 'lost'
}

/** Returns how it ended, or that it failed and may be tried again; throws where it may not. */
export async function attempt(request: Request, way: Way): Promise<'done' | 'upgraded' | Tried> {
  const { call, walk, ledger, exchange } = request
  const { node } = walk
  const endpoint = nameOf(way.leg.endpoint)
  const key = poolKey(call.pod.captured.uid, endpoint, way.leg.client)
  ledger.sent(way.leg)
  node.load.begin(endpoint)
  let upstream: Http1Upstream | null = null
  try {
    // one function and not three: each that waits costs the hot path a promise more
    upstream = (way.fresh ? null : node.pools.take(key, node.transport.nowMs)) ?? (await dial(request, way))
    ledger.upstreamLocal = upstream.local
    walk.place.waiting = waitingFor(upstream, way.leg)
    const how = await upstream.carry(exchange, way.route, ledger)
    if (how === 'upgraded') await tunnel(upstream, request, way)
    else keep(upstream, key, request)
    return how
  } catch (thrown) {
    const failure = failureOf(thrown)
    if (upstream === null) {
      if (failure.kind.retry) return { failure, how: 'refused' }
      throw failure
    }
    keep(upstream, key, request) // where it was stopped before anything was sent
    const isLost = !upstream.heard && failure.code === 'UPSTREAM_RESET' && exchange.repeatable
    if (isLost) return { failure, how: upstream.reused ? 'stale' : 'lost' }
    throw failure
  } finally {
    walk.place.waiting = null
    node.load.end(endpoint)
    exchange.during(null, null)
  }
}

/** An endpoint that has left meanwhile is not kept: it waits for its connections to end. */
function keep(upstream: Http1Upstream, key: PoolKey, { walk: { node }, world }: Request): void {
  const isOver = node.snapshot !== world && key.endpoint !== null && hasLeft(world, node.snapshot, key.endpoint)
  if (isOver && upstream.reusable) upstream.close()
  else node.pools.give(key, upstream, node.transport.nowMs)
}

function waitingFor(upstream: Http1Upstream, { endpoint: { workload } }: Leg): Waiting | null {
  if (workload === null) return null // no pod, so nobody knows whether it is gone
  return {
    isGone: ({ workloadByUid }) => !workloadByUid.has(workload),
    lose: () => upstream.lose('the pod behind it is gone'),
  }
}

async function dial({ exchange, walk }: Request, { permit, leg }: Way): Promise<Http1Upstream> {
  const channel = await until(exchange, connect(permit, leg, walk.node), (late) => late.reset())
  return new Http1Upstream(channel, walk.node.limits)
}

/** After 101: bytes both ways until both ends are through. */
async function tunnel(upstream: Http1Upstream, request: Request, { leg, route: { backends } }: Way): Promise<void> {
  const { exchange, walk, call, caller, world } = request
  const { ahead } = upstream
  const flow = relay(exchange.channel, upstream.channel, exchange, {
    fromCaller: ahead?.fromCaller ?? null,
    fromUpstream: ahead?.fromUpstream ?? null,
    ended: exchange.halfClosed,
  })
  const judge = judgeOf({ call, caller, leg, backends })
  walk.place.occupant = occupant(flow, [exchange.channel, upstream.channel], judge, walk.node.limits)
  // a snapshot that came since the request was routed found no tunnel in this place to judge
  const refusal = walk.node.snapshot === world ? null : judge(walk.node.snapshot)
  if (refusal !== null) flow.stop(refusal)
  await flow.done
}
