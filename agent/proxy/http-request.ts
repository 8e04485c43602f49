// One request on its way through the rest of the corridor, by the snapshot in force when it came:
//
//     route → pick → authorize → connect and relay (attempt.ts) → account
//
// Calls and not promises: with a kept connection all of it happens within the event that brought the request, and its answer
// within the one that brought that. Only what has to wait (an injected delay, a new connection, a tunnel) is asynchronous.

import { pickFor } from '../model/affinity.ts'
import { exhausted } from '../model/balance.ts'
import { type FailureCode, failureOf, MeshError } from '../model/failure.ts'
import { type Caller, workloadOf } from '../model/identity.ts'
import { type HttpRoute, routeHttp, routeTcp } from '../model/route.ts'
import { routeAddress } from '../model/route-address.ts'
import { type Endpoint, nameOf } from '../model/service.ts'
import type { Snapshot, Target } from '../model/snapshot.ts'
import type { RequestLedger } from '../telemetry/ledger.ts'
import { Attempt, type Harm, type Request } from './attempt.ts'
import type { Call } from './classify.ts'
import { legTo, permitFor } from './connect.ts'
import { pause } from './deadline.ts'
import type { Exchange } from './exchange.ts'
import { RQ_TIMEOUT } from './http1/fields.ts'
import type { Carried } from './http1/upstream.ts'
import type { Deadline } from './plane/deadlines.ts'
import type { Walk } from './plane/node.ts'
import { consumerOf } from './tcp.ts'

/** Body of an injected abort, as users of Istio know it. */
const ABORT_TEXT = 'fault filter abort'
/** Body of a refusal by policy, as users of Istio know it. */
const DENIED_TEXT = 'RBAC: access denied'

/** Milliseconds that a timer takes. */
const WHOLE_MS = /^\d{1,9}$/

type Forward = HttpRoute & { kind: 'forward' }

interface Going {
  readonly route: Forward
  readonly endpoint: Endpoint
}

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

const NOBODY: ReadonlySet<string> = new Set()

/** One request. */
export class HttpRequest implements Request {
  readonly exchange: Exchange
  readonly call: Call
  readonly caller: Caller
  readonly walk: Walk
  readonly world: Snapshot
  readonly ledger: RequestLedger
  readonly #owner: RequestOwner
  /** The last try. */
  #going: Going | null = null
  #deadline: Deadline | null = null
  /** Names of endpoints that failed it: not asked again. */
  #failed: Set<string> | null = null
  /** Endpoints that were asked in vain: those that may not be are no tries. */
  #dials = 0
  /** A pooled connection was found closed. */
  #isStale = false
  /** It was lost on a new connection. */
  #isLost = false
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
      if (route.kind === 'forward' && route.delayMs === 0) this.#forward(route)
      else this.#detour(route)
    } catch (thrown) {
      this.#end('done', failureOf(thrown))
    }
  }

  carried(how: Carried): void {
    this.#end(how)
  }

  failed(failure: MeshError, harm: Harm): void {
    this.#step(() => {
      if (harm === 'final' || !this.#mayTryAgain(harm)) throw failure
      const why = harm === 'stale' ? 'STALE_CONNECTION' : failure.code
      this.walk.node.account.cells.plain('weft_retries_total', why).value++
      this.#try((this.#going as Going).route)
    })
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
    return { kind: 'forward', by: null, backends, delayMs: 0, target: null, authority: null, timeoutMs: null }
  }

  /** What is not plain forwarding: no route, an injected delay, an injected answer. */
  #detour(route: HttpRoute): void {
    if (route.kind === 'none') throw new MeshError(route.code, route.why)
    const { exchange, ledger, walk } = this
    ledger.routed(route.kind === 'forward' ? route.backends : null, route.by)
    const goOn = (): void => {
      if (route.kind === 'forward') this.#forward(route)
      else this.#abort(route)
    }
    if (route.delayMs === 0) {
      goOn()
      return
    }
    ledger.flag = 'DI'
    pause(exchange, Math.min(route.delayMs, walk.node.limits.delayMs)).then(
      () => this.#step(goOn),
      (thrown: unknown) => this.#end('done', failureOf(thrown)),
    )
  }

  #abort({ by: { object }, status }: HttpRoute & { kind: 'abort' }): void {
    this.ledger.fail(new MeshError('FAULT_ABORT', `${object.namespace}/${object.name} injects ${status}`))
    this.exchange.answer(status, ABORT_TEXT)
    this.#end('done')
  }

  #forward(route: Forward): void {
    const { ledger, world, exchange, walk } = this
    ledger.routed(route.backends, route.by)
    ledger.service = world.serviceByHost.get(route.backends.host) ?? ledger.service
    const timeoutMs = this.#timeoutOf(route)
    if (timeoutMs !== null) {
      const expire = (): void => exchange.stop(new MeshError('REQUEST_TIMEOUT', `no response in ${timeoutMs} ms`))
      this.#deadline = walk.node.deadlines.set(timeoutMs, ledger.startedAt, expire)
    }
    this.#try(route)
  }

  /** Tries an endpoint that has not failed it. */
  #try(route: Forward): void {
    const { call, caller, walk, world } = this
    const { backends } = route
    let refusal: MeshError | null = null
    for (;;) {
      const endpoint = pickFor(call.peer.ip, backends, walk.node, this.#failed ?? NOBODY)
      if (endpoint === null) throw refusal ?? new MeshError('NO_ENDPOINT', exhausted(backends))
      const leg = legTo({ endpoint, wish: backends }, call, walk.node, world)
      const permit = permitFor(caller, leg)
      if (permit instanceof MeshError) {
        refusal = permit
        ;(this.#failed ??= new Set()).add(nameOf(endpoint)) // of others' nodes another may take it
        continue
      }
      this.#going = { route, endpoint }
      // over pooled connections a request goes once: a server that restarted has closed them all
      new Attempt(this, { permit, leg, route, fresh: this.#isStale }).begin()
      return
    }
  }

  /**
   * How long the request may take: what the application asks for with `x-envoy-upstream-rq-timeout-ms` (milliseconds, 0 for
   * ever; Istio's "Request timeouts" names it, and only the caller's side hears it), else the rule, else the setting.
   */
  #timeoutOf({ timeoutMs }: Forward): number | null {
    const asked = this.call.direction === 'outbound' ? this.exchange.head.first(RQ_TIMEOUT) : null
    if (asked !== null && WHOLE_MS.test(asked)) return Number(asked) || null
    const { requestMs } = this.walk.node.limits
    return timeoutMs ?? (requestMs > 0 ? requestMs : null)
  }

  /**
   * Notes a failed try. A request is lost once at most. After a stale connection the same endpoint is asked again only where
   * there is no other: it may have restarted, but it may as well be about to go.
   */
  #mayTryAgain(harm: Harm): boolean {
    if (harm === 'lost' && this.#isLost) return false
    this.#isLost ||= harm === 'lost'
    this.#isStale ||= harm === 'stale'
    const { endpoint, route } = this.#going as Going
    const { endpoints } = route.backends
    const failed = (this.#failed ??= new Set())
    if (harm === 'stale' && endpoints.length === failed.size + 1) return true
    failed.add(nameOf(endpoint))
    return ++this.#dials <= this.walk.node.limits.connectRetries && failed.size < endpoints.length
  }

  /** Into the books, once; of a failure the caller is told as far as it still can be. */
  #end(how: Carried, failure: MeshError | null = null): void {
    if (this.#isOver) return
    this.#isOver = true
    const { exchange, ledger } = this
    try {
      this.#deadline?.lift()
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
  const { status } = failure.kind
  // without the mesh too an application that is gone answers nothing: who called can then ask another endpoint
  const isGone = direction === 'inbound' && GONE.has(failure.code)
  if (isGone || failure.code === 'CALLER_RESET' || status === 0 || exchange.answered) exchange.abort()
  else exchange.answer(status, textOf(failure.code, failure.message))
}

function textOf(code: FailureCode, message: string): string {
  return code === 'DENIED' ? DENIED_TEXT : code === 'MESH_BUG' ? code : `${code}: ${message}`
}
