// One request on its way through the rest of the corridor, by the snapshot in force when it came:
//
//     route → pick → authorize → connect and relay (attempt.ts) → account
//
// Calls and not promises: with a kept connection all of it happens within the event that brought the request, and its answer
// within the one that brought that. Only what has to wait (an injected delay, a new connection, a tunnel) is asynchronous.

import { pickFor } from '../model/balance/affinity.ts'
import type { Backends } from '../model/backends.ts'
import { candidates, exhausted } from '../model/balance/balance.ts'
import { type FailureCode, failureOf, MeshError } from '../model/failure.ts'
import { hashOf } from '../model/balance/hash-policy.ts'
import { type Caller, workloadOf } from '../model/identity.ts'
import { type Forward, forward, type HttpRoute } from '../model/http/route.ts'
import { RETRY_NEVER, type Setback } from '../model/http/retry.ts'
import { UNASKED } from '../model/permit.ts'
import { routeHttp, routeTcp } from '../model/route.ts'
import { routeAddress } from '../model/route-address.ts'
import type { HeaderChanges } from '../model/policy.ts'
import { type Endpoint, nameOf } from '../model/service.ts'
import type { Snapshot, Target } from '../model/snapshot.ts'
import type { RequestLedger } from '../telemetry/ledger.ts'
import { admit, type Admitted } from './admission.ts'
import { Attempt, type Request } from './attempt.ts'
import type { Call } from './classify.ts'
import { type Leg, legTo } from './connect.ts'
import { pause, wait } from './deadline.ts'
import type { Exchange } from './exchange.ts'
import { RQ_TIMEOUT } from './http1/fields.ts'
import type { Head } from './http1/head.ts'
import type { Carried } from './http1/upstream.ts'
import { mirror } from './mirror.ts'
import type { Breaker } from './plane/breakers.ts'
import type { Deadline } from './plane/deadlines.ts'
import type { Gate } from './plane/gates.ts'
import type { Walk } from './plane/node.ts'
import { consumerOf } from './tcp.ts'
import { NOBODY, Tries, type TryEnd } from './tries.ts'

/** Body of an injected abort, as users of Istio know it; for a gRPC call, its message. */
const ABORT_TEXT = 'fault filter abort'
/** A call of gRPC, in any of its encodings. */
const GRPC = /^application\/grpc(?:$|[+;])/i
/** Body of a refusal by policy, as users of Istio know it. */
const DENIED_TEXT = 'RBAC: access denied'

/** Milliseconds that a timer takes. */
const WHOLE = /^\d{1,9}$/

/** Whose request it is. */
export interface RequestOwner {
  readonly call: Call
  readonly caller: Caller
  readonly walk: Walk
  /** What was dialled, as this snapshot has it. Throws NO_CLUSTER where it is gone. */
  target(world: Snapshot): Target
  /** It has been answered, as far as it could be, and is in the books. */
  ended(how: Carried): void
  /** It cannot be ended in order: a bug. */
  broke(thrown: unknown): void
}

/** One request. */
export class HttpRequest implements Request {
  readonly exchange: Exchange
  readonly call: Call
  readonly caller: Caller
  readonly walk: Walk
  readonly world: Snapshot
  readonly ledger: RequestLedger
  readonly #owner: RequestOwner
  /** Where it goes, once that is decided. */
  #route: Forward | null = null
  /** What bounds the traffic to its host, or null. */
  #breaker: Breaker | null = null
  /** Of its response, whichever try it comes from. */
  #changes: readonly HeaderChanges[] = []
  /** By which it is balanced, where its rule wants that; null: by none. */
  #hash: number | null = null
  /** Once a try was in vain. */
  #tries: Tries | null = null
  /** Of the last try. */
  #endpoint: Endpoint | null = null
  /** Until the next try, in milliseconds. */
  #waitMs = 0
  #deadline: Deadline | null = null
  /** Where the retry under way is counted. */
  #retrying: Gate | null = null
  #isOver = false

  constructor(exchange: Exchange, owner: RequestOwner) {
    this.exchange = exchange
    this.#owner = owner
    this.call = owner.call
    this.caller = owner.caller
    this.walk = owner.walk
    this.world = owner.walk.node.snapshot
    this.ledger = owner.walk.ledger.request(exchange, exchange)
    this.ledger.snapshot = this.world.version
  }

  begin(): void {
    try {
      const route = this.#routed()
      if (route.kind !== 'none') this.exchange.changes = route.changes.response
      if (route.kind === 'forward' && route.delayMs === 0) this.#forward(route)
      else this.#detour(route)
    } catch (thrown) {
      this.#end('done', failureOf(thrown))
    }
  }

  carried(how: Carried): void {
    this.#end(how)
  }

  failed(failure: MeshError, end: TryEnd | null): void {
    this.#step(() => {
      if (end === null || !this.#mayTryAgain(end, failure.code)) throw failure
      this.again()
    })
  }

  takes(head: Head): boolean {
    if (this.#route?.retries.looksAtAnswers !== true) return true
    const { resendable } = this.exchange
    const grpc = head.header('grpc-status')
    const setback: Setback = {
      kind: 'answered',
      status: head.status,
      grpcStatus: grpc !== undefined && WHOLE.test(grpc) ? Number(grpc) : null,
      limited: head.header('x-envoy-ratelimited') !== undefined,
    }
    return !this.#mayTryAgain({ setback, replay: null, resendable }, 'ANSWERED')
  }

  again(): void {
    const waitMs = this.#waitMs
    if (waitMs === 0) {
      this.#step(() => this.#try())
      return
    }
    wait(this.exchange, waitMs).then(
      () => this.#step(() => this.#try()),
      (thrown: unknown) => this.#end('done', failureOf(thrown)),
    )
  }

  /** Takes a step; one that fails ends the request. */
  #step(step: () => void): void {
    try {
      step()
    } catch (thrown) {
      this.#end('done', failureOf(thrown))
    }
  }

  /** What a caller dialled has routes; what arrives at a pod goes to its application as it is. */
  #routed(): HttpRoute {
    const { exchange, call, caller, walk, world } = this
    const target = this.#owner.target(world)
    const asked = { request: exchange, caller: workloadOf(caller) }
    if (target.kind === 'service') return routeHttp(world, target, asked, walk.node.random)
    if (call.direction === 'outbound') return routeAddress(world, target, asked, walk.node.random)
    const backends = routeTcp(world, target, consumerOf(call, caller))
    return { ...forward(backends, null), retries: RETRY_NEVER }
  }

  /** What is not plain forwarding: no route, an injected delay, an injected answer. */
  #detour(route: HttpRoute): void {
    if (route.kind === 'none') throw new MeshError(route.code, route.why)
    const { exchange, ledger, walk } = this
    ledger.routed(route.kind === 'forward' ? route.backends : null, route.by)
    const goOn = (): void => {
      if (route.kind === 'forward') this.#forward(route)
      else if (route.kind === 'abort') this.#abort(route)
      else this.#answer(route)
    }
    if (route.delayMs === 0) {
      goOn()
      return
    }
    ledger.note('DI')
    pause(exchange, Math.min(route.delayMs, walk.node.limits.delayMs)).then(
      () => this.#step(goOn),
      (thrown: unknown) => this.#end('done', failureOf(thrown)),
    )
  }

  /** A gRPC call that fails is an answer of 200 whose fields say so (the gRPC protocol's "Trailers-Only"). */
  #abort({ by: { object }, status, grpcStatus }: HttpRoute & { kind: 'abort' }): void {
    const { exchange, ledger } = this
    const isCall = grpcStatus !== null && GRPC.test(exchange.header('content-type') ?? '')
    const what = isCall ? `grpc-status ${grpcStatus}` : String(status)
    ledger.fail(new MeshError('FAULT_ABORT', `${object.namespace}/${object.name} injects ${what}`))
    if (isCall) {
      const fields = {
        'content-type': 'application/grpc',
        'grpc-status': String(grpcStatus),
        'grpc-message': ABORT_TEXT,
      }
      exchange.answer(200, '', Object.entries(fields))
    } else exchange.answer(status, ABORT_TEXT)
    this.#end('done')
  }

  #answer({ how, status, fields, body }: HttpRoute & { kind: 'answer' }): void {
    this.ledger.details = how === 'preflight' ? 'cors_response' : 'direct_response'
    this.exchange.answer(status, body ?? '', fields)
    this.#end('done')
  }

  #forward(route: Forward): void {
    const { ledger, world, exchange, walk } = this
    ledger.routed(route.backends, route.by)
    ledger.service = world.serviceByHost.get(route.backends.host) ?? ledger.service
    const timeoutMs = this.#timeoutOf(route)
    if (timeoutMs !== null) {
      const expire = (): void => exchange.stop(new MeshError('REQUEST_TIMEOUT', `no response in ${timeoutMs} ms`))
      const fromMs = route.delayMs === 0 ? ledger.startedAt : walk.node.transport.nowMs // an injected delay is no part of it
      this.#deadline = walk.node.deadlines.set(timeoutMs, fromMs, expire)
    }
    if (route.mirrors.length > 0) mirror(this, route, timeoutMs)
    this.#route = route
    this.#changes = exchange.changes
    if (this.call.direction === 'outbound') this.#breaker = walk.node.breakers.of(route.backends)
    if (route.backends.policy.balancing.hash !== null) this.#hash = this.#hashed(route)
    if (route.retries.mayResend) exchange.keepBody(walk.node.limits.retryBytes)
    this.#try()
  }

  /** What is hashed of it, once for all its tries. A cookie that must be had goes with whatever answer comes. */
  #hashed({ backends }: Forward): number | null {
    const { exchange, call, walk } = this
    const hashed = hashOf(backends, { client: call.peer.ip, request: exchange, seed: walk.node.requestId })
    if (hashed?.cookie != null) {
      const issued: HeaderChanges = { remove: [], set: [], add: [['set-cookie', hashed.cookie]] }
      this.#changes = exchange.changes = [...exchange.changes, issued]
    }
    return hashed?.hash ?? null
  }

  /** Tries an endpoint that has not failed it. `refusal`: why the last one was not to be had. */
  #try(refusal: MeshError | null = null): void {
    const { exchange, call, caller, walk, world } = this
    const { node } = walk
    const route = this.#route as Forward
    const { backends } = route
    exchange.changes = this.#changes // less what was to be told of a try before
    const asked = { client: call.peer.ip, hash: this.#hash, anyLocality: this.#tries?.anyLocality === true }
    let why = refusal
    for (;;) {
      const endpoint = pickFor(asked, backends, node, this.#tries?.passed ?? NOBODY)
      if (endpoint === null && why === null && this.#tries?.forgive() === true) continue
      if (endpoint === null) throw why ?? this.#nobody(backends)
      const leg = legTo({ endpoint, wish: backends }, call, node, world)
      const verdict = admit({ errand: exchange, route, call, caller, node, world, consented: UNASKED }, leg)
      if (verdict instanceof Promise) {
        this.#wait(verdict, leg)
        return
      }
      if (!(verdict instanceof MeshError)) {
        this.#send(verdict, leg)
        return
      }
      why = verdict
      this.#tried.pass(nameOf(endpoint)) // of others' nodes another may take it
    }
  }

  /** A verdict that takes its time: a token is verified, an authorizer asked. */
  #wait(verdict: Promise<Admitted | MeshError>, leg: Leg): void {
    const goOn = (late: Admitted | MeshError): void => {
      if (!(late instanceof MeshError)) {
        this.#send(late, leg)
        return
      }
      this.#tried.pass(nameOf(leg.endpoint))
      this.#try(late)
    }
    verdict.then(
      (late) => this.#step(() => goOn(late)),
      (thrown: unknown) => this.#end('done', failureOf(thrown)),
    )
  }

  #send({ permit, route, response, cargo }: Admitted, leg: Leg): void {
    const { exchange, call, walk } = this
    const { node } = walk
    this.ledger.decided(permit.decision)
    this.#endpoint = leg.endpoint
    if (response.length > 0) exchange.changes = [...this.#changes, ...response]
    const { perTryMs } = route.retries
    const breaker = this.#breaker
    const fresh = this.#tries !== null && this.#tries.isStale
    new Attempt(this, { errand: exchange, call, node, permit, leg, breaker, fresh, route, cargo, perTryMs }).begin()
  }

  get #tried(): Tries {
    return (this.#tries ??= new Tries((this.#route as Forward).retries, this.walk.node.random))
  }

  /** Nobody is left to be asked: none serves, or none that is not ejected. */
  #nobody(backends: Backends): MeshError {
    const code = this.#breaker?.ejected() == null ? 'NO_ENDPOINT' : 'NO_HEALTHY_ENDPOINT'
    return new MeshError(code, exhausted(backends))
  }

  /**
   * How long the request may take: what the application asks for with `x-envoy-upstream-rq-timeout-ms` (milliseconds, 0 for
   * ever; Istio's "Request timeouts" names it, and only the caller's side hears it), else the rule, else the setting.
   */
  #timeoutOf({ timeoutMs }: Forward): number | null {
    const asked = this.call.direction === 'outbound' ? this.exchange.head.first(RQ_TIMEOUT) : null
    if (asked !== null && WHOLE.test(asked)) return Number(asked) || null
    const { requestMs } = this.walk.node.limits
    return (timeoutMs ?? requestMs) || null
  }

  /** Notes how a try ended. Whether there is another one: when, stands in #waitMs then. */
  #mayTryAgain(end: TryEnd, why: string): boolean {
    const tries = this.#tried
    const { retries } = tries
    this.#leaveRetry()
    const { backends } = this.#route as Forward
    const waitMs = tries.after(end, this.#endpoint as Endpoint, candidates(backends, this.walk.node, null))
    if (waitMs === null) {
      if (tries.isExhausted) this.ledger.note('URX')
      return false
    }
    if (tries.retries > retries && this.#breaker !== null && !this.#enterRetry(this.#breaker)) {
      this.ledger.note('UO')
      return false
    }
    const label = end.replay === 'stale' ? 'STALE_CONNECTION' : why
    this.walk.node.account.cells.plain('weft_retries_total', label).value++
    this.#waitMs = waitMs
    return true
  }

  #enterRetry({ retries }: Breaker): boolean {
    if (!retries.enter()) return false
    this.#retrying = retries
    return true
  }

  #leaveRetry(): void {
    this.#retrying?.leave()
    this.#retrying = null
  }

  /** Into the books, once; of a failure the caller is told as far as it still can be. */
  #end(how: Carried, failure: MeshError | null = null): void {
    if (this.#isOver) return
    this.#isOver = true
    const { exchange, ledger } = this
    try {
      this.#deadline?.lift()
      this.#leaveRetry()
      exchange.during(null, null)
      if (failure !== null) {
        ledger.fail(failure)
        refuse(exchange, failure, this.call)
      }
      ledger.status = exchange.status
      ledger.receivedBytes = exchange.receivedBytes
      ledger.sentBytes = exchange.sentBytes
      ledger.write()
    } catch (thrown) {
      this.#owner.broke(thrown)
      return
    }
    this.#owner.ended(how)
  }
}

/** How an application fails that stops, as its own proxy sees it. */
const GONE: ReadonlySet<FailureCode> = new Set(['CONNECT_REFUSED', 'UPSTREAM_RESET'])

function refuse(exchange: Exchange, failure: MeshError, { direction }: Call): void {
  const { answer } = failure
  const status = answer?.status ?? failure.kind.status
  // without the mesh too an application that is gone answers nothing: who called can then ask another endpoint
  const isGone = direction === 'inbound' && GONE.has(failure.code)
  if (isGone || failure.code === 'CALLER_RESET' || status === 0 || exchange.answered) exchange.abort()
  else if (answer !== null) exchange.answer(status, answer.body, answer.fields)
  else exchange.answer(status, textOf(failure.code, failure.message))
}

function textOf(code: FailureCode, message: string): string {
  return code === 'DENIED' ? DENIED_TEXT : code === 'MESH_BUG' ? code : `${code}: ${message}`
}
