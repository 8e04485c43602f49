// One try of a request: over a pooled connection or a new one.

import { addressText } from '../model/address.ts'
import { failureOf, MeshError } from '../model/failure.ts'
import type { Caller } from '../model/identity.ts'
import type { Permit } from '../model/permit.ts'
import type { HttpRoute } from '../model/route.ts'
import { hasLeft } from '../model/serving.ts'
import type { Snapshot } from '../model/snapshot.ts'
import type { RequestLedger } from '../telemetry/ledger.ts'
import type { Call } from './classify.ts'
import { connectToPod, type Leg } from './connect.ts'
import { until } from './deadline.ts'
import type { Exchange } from './exchange.ts'
import { Http1Upstream } from './http1/upstream.ts'
import type { Walk } from './plane/node.ts'
import { type PoolKey, poolKey } from './plane/pool.ts'
import { relay } from './relay.ts'
import { occupant } from './tcp.ts'

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
}

/**
 * A try that failed without harm. `stale`: the pooled connection had been closed by its other end meanwhile. A new one
 * breaks so where the application closed its listener before it took the connection.
 */
export interface Tried {
  readonly failure: MeshError
  readonly stale: boolean
}

/** RFC 9110 §9.2.2: doing it twice is as doing it once. */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'])

/** Returns how it ended, or that it failed and may be tried again; throws where it may not. */
export async function attempt(request: Request, way: Way): Promise<'done' | 'upgraded' | Tried> {
  const { call, walk, ledger, exchange } = request
  const { node } = walk
  const endpoint = addressText(way.leg.endpoint.address)
  const key = poolKey(call.pod.captured.uid, endpoint, way.leg.client)
  ledger.sent(way.leg)
  node.load.begin(endpoint)
  try {
    const upstream = await upstreamFor(key, request, way)
    if ('failure' in upstream) return upstream
    ledger.upstreamLocal = upstream.local
    return await send(upstream, key, request, way)
  } finally {
    walk.place.asking = null
    node.load.end(endpoint)
    exchange.during(null, null)
  }
}

async function upstreamFor(key: PoolKey, request: Request, { permit, leg }: Way): Promise<Http1Upstream | Tried> {
  const { node } = request.walk
  const pooled = node.pools.take(key, node.transport.nowMs)
  if (pooled !== null) return pooled
  try {
    const channel = await until(request.exchange, connectToPod(permit, leg, request.walk), (late) => late.reset())
    return new Http1Upstream(channel)
  } catch (thrown) {
    const failure = failureOf(thrown)
    if (!failure.kind.retry) throw failure
    return { failure, stale: false }
  }
}

async function send(
  upstream: Http1Upstream,
  key: PoolKey,
  request: Request,
  way: Way,
): Promise<'done' | 'upgraded' | Tried> {
  const { exchange, walk, ledger } = request
  const { node } = walk
  const { reused } = upstream
  const callee = way.leg.callee?.uid
  // its end was told while the connection was made, and nobody was here to hear it
  if (callee !== undefined && !node.snapshot.workloadByUid.has(callee)) {
    upstream.close()
    return { failure: new MeshError('CONNECT_REFUSED', 'its pod is gone'), stale: false }
  }
  walk.place.asking = callee === undefined ? null : { callee, lost: (cause) => upstream.lost(cause) }
  try {
    const how = await upstream.carry(exchange, way.route, ledger)
    if (how === 'upgraded') await tunnel(upstream, request)
    else keep(upstream, key, request)
    return how
  } catch (thrown) {
    const failure = failureOf(thrown)
    node.pools.give(key, upstream, node.transport.nowMs) // where it was stopped before anything was sent
    if (!upstream.heard && failure.code === 'UPSTREAM_RESET' && replayable(exchange)) return { failure, stale: reused }
    throw failure
  }
}

/** An endpoint that has left meanwhile is not kept: it waits for its connections to end. */
function keep(upstream: Http1Upstream, key: PoolKey, { walk, world }: Request): void {
  const { node } = walk
  const isLeft = node.snapshot !== world && key.client === '' && hasLeft(world, node.snapshot, key.endpoint)
  if (isLeft && upstream.reusable) upstream.close()
  else node.pools.give(key, upstream, node.transport.nowMs)
}

function replayable(exchange: Exchange): boolean {
  return exchange.framing === 'none' && IDEMPOTENT.has(exchange.method) && !exchange.answered
}

/** After 101: bytes both ways until both ends are through. */
async function tunnel(upstream: Http1Upstream, { exchange, walk }: Request): Promise<void> {
  const { ahead } = upstream
  const flow = relay(exchange.channel, upstream.channel, exchange, {
    fromCaller: ahead?.fromCaller ?? null,
    fromUpstream: ahead?.fromUpstream ?? null,
    ended: exchange.halfClosed,
  })
  walk.place.occupant = occupant(flow, [exchange.channel, upstream.channel], () => null, walk.node.limits)
  await flow.done
}
