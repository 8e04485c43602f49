// A connection carried as HTTP: each request is routed, picked, permitted, connected and relayed for itself, by the
// snapshot in force when it came.

import { addressText } from '../model/address.ts'
import { pickFor } from '../model/affinity.ts'
import { exhausted } from '../model/balance.ts'
import { type FailureCode, failureOf, MeshError } from '../model/failure.ts'
import { type Caller, workloadOf } from '../model/identity.ts'
import { type Backends, type HttpRoute, routeHttp, routeTcp } from '../model/route.ts'
import { routeAddress } from '../model/route-address.ts'
import { BLACK_HOLE } from '../model/service.ts'
import { hasLeft } from '../model/serving.ts'
import type { Snapshot } from '../model/snapshot.ts'
import { type Call, current } from './classify.ts'
import { allow, legTo } from './connect.ts'
import { deadline, pause } from './deadline.ts'
import type { Exchange } from './exchange.ts'
import { Http1Caller } from './http1/caller.ts'
import { FORWARDED_FOR, USER_AGENT } from './http1/fields.ts'
import { attempt, type Request, type Tried } from './attempt.ts'
import type { Walk } from './plane/node.ts'
import { occupyWithHttp } from './http-place.ts'
import { asker, consumerOf } from './tcp.ts'

/** Body of an injected abort, as users of Istio know it. */
const ABORT_TEXT = 'fault filter abort'
/** Body of a refusal by policy, as users of Istio know it. */
const DENIED_TEXT = 'RBAC: access denied'

const RESETS: ReadonlySet<FailureCode> = new Set(['CONNECT_REFUSED', 'UPSTREAM_RESET'])

/** Serves requests until the caller is done. */
export async function serveHttp(call: Call, caller: Caller, walk: Walk): Promise<void> {
  const { node } = walk
  const side = new Http1Caller(
    call.channel,
    {
      port: call.dialled.port,
      authority: addressText(call.dialled),
      requestId: node.requestId,
      lastResponse: () => node.draining || isLeaving(call, node),
    },
    call.first,
  )
  if (call.ended) side.end()
  using _occupied = occupyWithHttp(side, call, walk)
  for (;;) {
    const exchange = await nextOf(side, walk)
    if (exchange === null) return
    if ((await serveRequest(exchange, call, caller, walk)) === 'upgraded') return
  }
}

/** Whether the pod at the other end is being ended: who keeps a connection to that very pod had better leave. */
function isLeaving({ direction, pod, target }: Call, node: Walk['node']): boolean {
  if (direction === 'inbound') return pod.leaving
  return target.kind === 'workload' && node.snapshot.workloadByUid.get(target.workload.uid)?.terminating === true
}

/** The next request; one that cannot be read has been answered, and ends the connection. */
async function nextOf(side: Http1Caller, { ledger }: Walk): Promise<Exchange | null> {
  try {
    return await side.next()
  } catch (thrown) {
    const failure = failureOf(thrown)
    ledger.fail(failure)
    ledger.status = failure.kind.status
    return null
  }
}

async function serveRequest(exchange: Exchange, call: Call, caller: Caller, walk: Walk): Promise<'done' | 'upgraded'> {
  using ledger = walk.ledger.request(askedOf(exchange))
  const world = walk.node.snapshot
  ledger.snapshot = world.version
  const request = { exchange, call, caller, walk, ledger, world }
  try {
    return await follow(routeOf(request), request)
  } catch (thrown) {
    const failure = failureOf(thrown)
    ledger.fail(failure)
    refuse(exchange, failure, call)
    return 'done'
  } finally {
    exchange.during(null, null)
    ledger.status = exchange.status
    ledger.receivedBytes = exchange.receivedBytes
    ledger.sentBytes = exchange.sentBytes
  }
}

/** What a caller dialled has routes; what arrives at a pod goes to its application as it is. */
function routeOf({ exchange, call, caller, walk, world }: Request): HttpRoute {
  const { target, direction } = call
  const asked = { request: exchange, caller: workloadOf(caller) }
  if (target.kind === 'service') {
    return routeHttp(world, current(world, target), asked, walk.node.random)
  }
  if (direction === 'outbound') return routeAddress(world, target, asked, walk.node.random)
  const backends = routeTcp(world, target, consumerOf(call, caller))
  return { kind: 'forward', by: null, backends, delayMs: 0, target: null, authority: null, timeoutMs: null }
}

async function follow(route: HttpRoute, request: Request): Promise<'done' | 'upgraded'> {
  const { exchange, ledger, walk } = request
  if (route.kind === 'none' && route.code === 'BLACKHOLE') ledger.service = BLACK_HOLE
  if (route.kind === 'none') throw new MeshError(route.code, route.why)
  if (route.kind === 'forward') {
    ledger.routed(route.backends, route.by)
    ledger.service = request.world.serviceByHost.get(route.backends.host) ?? ledger.service
  } else ledger.routed(null, route.by)
  if (route.delayMs > 0) {
    ledger.flag = 'DI'
    await pause(exchange, Math.min(route.delayMs, walk.node.limits.delayMs))
  }
  if (route.kind === 'abort') {
    ledger.fail(
      new MeshError('FAULT_ABORT', `${route.by.object.namespace}/${route.by.object.name} injects ${route.status}`),
    )
    exchange.answer(route.status, ABORT_TEXT)
    return 'done'
  }
  using _deadline = deadline(exchange, route.timeoutMs)
  return await forward(route, request)
}

/** Tries endpoints until one has answered. Another is tried only where nothing can have been acted upon. */
async function forward(route: HttpRoute & { kind: 'forward' }, request: Request): Promise<'done' | 'upgraded'> {
  const { call, caller, walk, world } = request
  const { node } = walk
  const place = { tried: new Set<string>(), failed: 0, resets: 0, backends: route.backends }
  for (;;) {
    const endpoint = pickFor(route.backends, asker(call, node), node, place.tried)
    if (endpoint === null) throw new MeshError('NO_ENDPOINT', exhausted(route.backends))
    const permit = allow(caller, endpoint)
    const leg = legTo(endpoint, call, node, world)
    const outcome = await attempt(request, { permit, leg, route })
    if (outcome === 'done' || outcome === 'upgraded') return outcome
    again(outcome, addressText(endpoint.address), place, request)
  }
}

/** How far a request has come with its backends. */
interface Place {
  readonly tried: Set<string>
  /** Endpoints that failed it. */
  failed: number
  resets: number
  readonly backends: Backends
}

/** Notes a failed try; throws its failure where there is to be no other. */
function again(outcome: Tried, endpoint: string, place: Place, { walk, world }: Request): void {
  const { failure, stale } = outcome
  const { node } = walk
  const { tried, backends } = place
  if (!stale) {
    tried.add(endpoint)
    place.failed++
  }
  if (node.snapshot !== world) passOver(backends, tried, { world, now: node.snapshot })
  const left = place.failed <= node.limits.connectRetries && tried.size < backends.endpoints.length
  if (!stale && !(left && (failure.kind.retry || ++place.resets <= node.limits.resetRetries))) throw failure
  node.account.cells.plain('weft_retries_total', stale ? 'STALE_CONNECTION' : failure.code).value++
}

/** Endpoints that have left since the request came are not tried again. */
function passOver(
  { endpoints }: Backends,
  tried: Set<string>,
  { world, now }: Record<'world' | 'now', Snapshot>,
): void {
  for (const { address } of endpoints) {
    const name = addressText(address)
    if (hasLeft(world, now, name)) tried.add(name)
  }
}

/**
 * Tells the caller of a failure as far as it still can be told. An application that refuses or breaks off is a reset for
 * who called its pod: the caller, or its own node's proxy, knows from that what may be sent again, and to whom.
 */
function refuse(exchange: Exchange, failure: MeshError, { direction }: Call): void {
  const { status } = failure.kind
  const isReset = direction === 'inbound' && RESETS.has(failure.code)
  if (failure.code === 'CALLER_RESET' || status === 0 || exchange.answered || isReset) exchange.abort()
  else exchange.answer(status, textOf(failure.code, failure.message))
}

function textOf(code: FailureCode, message: string): string {
  return code === 'DENIED' ? DENIED_TEXT : code === 'MESH_BUG' ? code : `${code}: ${message}`
}

function askedOf(exchange: Exchange) {
  const { method, target, authority, requestId, head } = exchange
  return {
    method,
    target,
    authority,
    requestId,
    minor: head.minor,
    userAgent: head.first(USER_AGENT),
    forwardedFor: head.first(FORWARDED_FOR),
  }
}
