// A connection carried as HTTP: each request is routed, picked, permitted, connected and relayed for itself, by the
// snapshot in force when it came.

import { addressText } from '../model/address.ts'
import { exhausted, pick } from '../model/balance.ts'
import { type FailureCode, failureOf, MeshError } from '../model/failure.ts'
import { type Caller, workloadOf } from '../model/identity.ts'
import { type Backends, type HttpRoute, routeHttp, routeTcp } from '../model/route.ts'
import { type Call, current } from './classify.ts'
import { allow, legTo } from './connect.ts'
import { deadline, pause } from './deadline.ts'
import type { Exchange } from './exchange.ts'
import { Http1Caller } from './http1/caller.ts'
import { FORWARDED_FOR, USER_AGENT } from './http1/fields.ts'
import { attempt, type Request, type Tried } from './attempt.ts'
import type { Walk } from './plane/node.ts'
import { occupyWithHttp } from './http-place.ts'
import { consumerOf } from './tcp.ts'

/** Body of an injected abort, as users of Istio know it. */
const ABORT_TEXT = 'fault filter abort'
/** Body of a refusal by policy, as users of Istio know it. */
const DENIED_TEXT = 'RBAC: access denied'

/** Serves requests until the caller is done. */
export async function serveHttp(call: Call, caller: Caller, walk: Walk): Promise<void> {
  const { node } = walk
  const side = new Http1Caller(
    call.channel,
    {
      port: call.dialled.port,
      authority: addressText(call.dialled),
      requestId: node.requestId,
      limits: node.limits,
      lastResponse: () => node.draining,
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
  using ledger = walk.ledger.request(askedOf(exchange), exchange)
  const world = walk.node.snapshot
  ledger.snapshot = world.version
  const request = { exchange, call, caller, walk, ledger, world }
  try {
    return await follow(routeOf(request), request)
  } catch (thrown) {
    const failure = failureOf(thrown)
    ledger.fail(failure)
    refuse(exchange, failure)
    return 'done'
  } finally {
    exchange.during(null, null)
    ledger.status = exchange.status
    ledger.receivedBytes = exchange.receivedBytes
    ledger.sentBytes = exchange.sentBytes
  }
}

/** A dialled service has routes; a dialled pod, or what nobody knows, is gone to as it is. */
function routeOf({ exchange, call, caller, walk, world }: Request): HttpRoute {
  const { target } = call
  if (target.kind === 'service') {
    return routeHttp(world, current(world, target), { request: exchange, caller: workloadOf(caller) }, walk.node.random)
  }
  const backends = routeTcp(world, target, consumerOf(call, caller))
  return { kind: 'forward', by: null, backends, delayMs: 0, target: null, authority: null, timeoutMs: null }
}

async function follow(route: HttpRoute, request: Request): Promise<'done' | 'upgraded'> {
  const { exchange, ledger, walk } = request
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
  const tried = new Set<string>()
  for (;;) {
    const endpoint = pick(route.backends, node.load, node.random, tried)
    if (endpoint === null) throw new MeshError('NO_ENDPOINT', exhausted(route.backends))
    const permit = allow(caller, endpoint)
    const leg = legTo(endpoint, call, node, world)
    const outcome = await attempt(request, { permit, leg, route })
    if (outcome === 'done' || outcome === 'upgraded') return outcome
    again(outcome, { tried, backends: route.backends, endpoint: addressText(endpoint.address) }, request)
  }
}

/** Notes a failed try; throws its failure where there is to be no other. */
function again(
  outcome: Tried,
  place: { readonly tried: Set<string>; readonly backends: Backends; readonly endpoint: string },
  { walk }: Request,
): void {
  const { failure, stale } = outcome
  const { node } = walk
  if (!stale) place.tried.add(place.endpoint)
  const left = place.tried.size <= node.limits.connectRetries && place.tried.size < place.backends.endpoints.length
  if (!stale && !(failure.kind.retry && left)) throw failure
  node.account.cells.plain('weft_retries_total', stale ? 'STALE_CONNECTION' : failure.code).value++
}

/** Tells the caller of a failure as far as it still can be told. */
function refuse(exchange: Exchange, failure: MeshError): void {
  const { status } = failure.kind
  if (failure.code === 'CALLER_RESET' || status === 0 || exchange.answered) exchange.abort()
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
