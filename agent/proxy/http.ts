// A connection carried as HTTP: each request is routed, picked, permitted, connected and relayed for itself, by the
// snapshot in force when it came.

import { addressText } from '../model/address.ts'
import { pickFor } from '../model/affinity.ts'
import { exhausted } from '../model/balance.ts'
import { type FailureCode, failureOf, MeshError } from '../model/failure.ts'
import { type Caller, workloadOf } from '../model/identity.ts'
import { type Backends, type HttpRoute, routeHttp, routeTcp } from '../model/route.ts'
import { routeAddress } from '../model/route-address.ts'
import { type Endpoint, nameOf } from '../model/service.ts'
import { isTerminating, resolvePod, type Snapshot } from '../model/snapshot.ts'
import { type Call, current } from './classify.ts'
import { allow, legTo } from './connect.ts'
import { deadline, pause } from './deadline.ts'
import type { Exchange } from './exchange.ts'
import { Http1Caller } from './http1/caller.ts'
import { FORWARDED_FOR, RQ_TIMEOUT, USER_AGENT } from './http1/fields.ts'
import { attempt, type Request, type Tried } from './attempt.ts'
import type { Walk } from './plane/node.ts'
import { occupyWithHttp } from './http-place.ts'
import { consumerOf } from './tcp.ts'

/** Body of an injected abort, as users of Istio know it. */
const ABORT_TEXT = 'fault filter abort'
/** Body of a refusal by policy, as users of Istio know it. */
const DENIED_TEXT = 'RBAC: access denied'

/** Milliseconds that a timer takes. */
const WHOLE_MS = /^\d{1,9}$/

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
      lastResponse: leaving(call, node),
    },
    call.first,
  )
  if (call.ended) side.end()
  using _occupied = occupyWithHttp(side, call, walk)
  try {
    for (;;) {
      const exchange = await side.next()
      if (exchange === null || (await serveRequest(exchange, call, caller, walk)) === 'upgraded') return
    }
  } catch (thrown) {
    // a request that cannot be read: it has been answered, and ends the connection
    const failure = failureOf(thrown)
    walk.ledger.fail(failure)
    walk.ledger.status = failure.kind.status
  }
}

/** Whether this is the time to leave: the node drains, or the pod dialled is about to go. Looked up once a snapshot. */
function leaving({ direction, dialled, target }: Call, node: Walk['node']): () => boolean {
  if (direction === 'outbound' && target.kind !== 'workload') return () => node.draining
  let seen: Snapshot | null = null
  let isGoing = false
  return () => {
    if (seen !== node.snapshot) {
      seen = node.snapshot
      isGoing = isTerminating(seen, dialled)
    }
    return isGoing || node.draining
  }
}

/** Serves one request to its end. Does not throw: what went wrong is told to the caller, and in the ledger. */
async function serveRequest(exchange: Exchange, call: Call, caller: Caller, walk: Walk): Promise<'done' | 'upgraded'> {
  const ledger = walk.ledger.request(askedOf(exchange))
  const world = walk.node.snapshot
  ledger.snapshot = world.version
  const request = { exchange, call, caller, walk, ledger, world }
  let timer: NodeJS.Timeout | null = null
  try {
    const route = routeOf(request)
    if (route.kind !== 'forward' || route.delayMs > 0) {
      if ((await detour(route, request)) === 'answered') return 'done'
    }
    const way = route as HttpRoute & { kind: 'forward' }
    ledger.routed(way.backends, way.by)
    ledger.service = world.serviceByHost.get(way.backends.host) ?? ledger.service
    timer = deadline(exchange, timeoutOf(way, request))
    return await forward(way, request)
  } catch (thrown) {
    const failure = failureOf(thrown)
    ledger.fail(failure)
    refuse(exchange, failure, call)
    return 'done'
  } finally {
    if (timer !== null) clearTimeout(timer)
    exchange.during(null, null)
    ledger.status = exchange.status
    ledger.receivedBytes = exchange.receivedBytes
    ledger.sentBytes = exchange.sentBytes
    ledger.write()
  }
}

/** What a caller dialled has routes; what arrives at a pod goes to its application as it is. */
function routeOf({ exchange, call, caller, walk, world }: Request): HttpRoute {
  const { target, direction } = call
  const asked = { request: exchange, caller: workloadOf(caller) }
  if (target.kind === 'service') return routeHttp(world, current(world, target), asked, walk.node.random)
  if (direction === 'outbound') {
    const known = target.kind === 'unknown' ? resolvePod(world, call.dialled) : target // it may be known by now
    return routeAddress(world, known, asked, walk.node.random)
  }
  const backends = routeTcp(world, target, consumerOf(call, caller))
  return { kind: 'forward', by: null, backends, delayMs: 0, target: null, authority: null, timeoutMs: null }
}

/** What is not plain forwarding: no route, an injected delay, an injected answer. */
async function detour(route: HttpRoute, request: Request): Promise<'answered' | 'delayed'> {
  const { exchange, ledger, walk } = request
  if (route.kind === 'none') throw new MeshError(route.code, route.why)
  ledger.routed(route.kind === 'forward' ? route.backends : null, route.by)
  if (route.delayMs > 0) {
    ledger.flag = 'DI'
    await pause(exchange, Math.min(route.delayMs, walk.node.limits.delayMs))
  }
  if (route.kind === 'forward') return 'delayed'
  const { object } = route.by
  ledger.fail(new MeshError('FAULT_ABORT', `${object.namespace}/${object.name} injects ${route.status}`))
  exchange.answer(route.status, ABORT_TEXT)
  return 'answered'
}

/**
 * How long the request may take: what the application asks for with `x-envoy-upstream-rq-timeout-ms` (milliseconds, 0 for
 * ever; Istio's "Request timeouts" names it, and only the caller's side hears it), else the rule, else the setting.
 */
function timeoutOf(route: HttpRoute & { kind: 'forward' }, { exchange, call, walk }: Request): number | null {
  const asked = call.direction === 'outbound' ? exchange.head.first(RQ_TIMEOUT) : null
  if (asked !== null && WHOLE_MS.test(asked)) return Number(asked) || null
  const { requestMs } = walk.node.limits
  return route.timeoutMs ?? (requestMs > 0 ? requestMs : null)
}

/** Tries endpoints until one has answered. */
async function forward(route: HttpRoute & { kind: 'forward' }, request: Request): Promise<'done' | 'upgraded'> {
  const { call, caller, walk, world } = request
  const { node } = walk
  const { backends } = route
  const tries = { failed: new Set<string>(), stale: false, lost: false }
  for (;;) {
    const endpoint = pickFor(call.peer.ip, backends, node, tries.failed)
    if (endpoint === null) throw new MeshError('NO_ENDPOINT', exhausted(backends))
    const permit = allow(caller, endpoint)
    const leg = legTo(endpoint, call, node, world)
    // over pooled connections a request goes once: a server that restarted has closed them all
    const outcome = await attempt(request, { permit, leg, route, fresh: tries.stale })
    if (outcome === 'done' || outcome === 'upgraded') return outcome
    if (!mayTryAgain(outcome, tries, { endpoint, backends, most: node.limits.connectRetries })) throw outcome.failure
    const why = outcome.how === 'stale' ? 'STALE_CONNECTION' : outcome.failure.code
    node.account.cells.plain('weft_retries_total', why).value++
  }
}

/** What was tried of one request. */
interface Tries {
  /** Names of endpoints that failed it: not asked again. */
  readonly failed: Set<string>
  stale: boolean
  lost: boolean
}

/**
 * Notes a failed try. A request is lost once at most. After a stale connection the same endpoint is asked again only where
 * there is no other: it may have restarted, but it may as well be about to go.
 */
function mayTryAgain(
  { how }: Tried,
  tries: Tries,
  at: { readonly endpoint: Endpoint; readonly backends: Backends; readonly most: number },
): boolean {
  if (how === 'lost' && tries.lost) return false
  tries.lost ||= how === 'lost'
  tries.stale ||= how === 'stale'
  const isOnly = at.backends.endpoints.length === tries.failed.size + 1
  if (how === 'stale' && isOnly) return true
  tries.failed.add(nameOf(at.endpoint))
  return tries.failed.size <= at.most && tries.failed.size < at.backends.endpoints.length
}

/** How an application fails that stops, as its own proxy sees it. */
const GONE: ReadonlySet<FailureCode> = new Set(['CONNECT_REFUSED', 'UPSTREAM_RESET'])

/** Tells the caller of a failure as far as it still can be told. */
function refuse(exchange: Exchange, failure: MeshError, { direction }: Call): void {
  const { status } = failure.kind
  // without the mesh too an application that is gone answers nothing: who called can then ask another endpoint
  const isGone = direction === 'inbound' && GONE.has(failure.code)
  if (isGone || failure.code === 'CALLER_RESET' || status === 0 || exchange.answered) exchange.abort()
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
