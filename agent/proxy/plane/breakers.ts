// What bounds the traffic to a host, and which of its endpoints are not asked: one for the node, whichever worker asks.

import { performance } from 'node:perf_hooks' // the global is a getter, and this is asked with every request
import type { Backends } from '../../model/backends.ts'
import { isBounding, type Limit } from '../../model/balance/limit.ts'
import type { Outcome, Streak } from '../../model/balance/outlier.ts'
import type { OutlierDetection } from '../../model/traffic-policy.ts'
import type { BreakerMemory } from './breaker-cells.ts'
import { Connections } from './connections.ts'
import { type Gate, requestGate, retryGate } from './gates.ts'
import { checkOutliers, matters, Outliers } from './outliers.ts'
import { Scope, ScopeTables } from './scope.ts'

export interface BreakersOptions {
  readonly memory: BreakerMemory
  /** Which of the workers this is. */
  readonly column: number
  /** Milliseconds of a clock that is one for all threads and never goes back. */
  readonly nowMs?: () => number
  /** Hears of what was refused, once for each. */
  readonly onOverflow: (limit: Limit) => void
  /** Hears of each endpoint that this worker ejected. */
  readonly onEjection: (host: string, cause: Streak) => void
}

/** How often what is unused is looked over, and after how many looks a cell is given back. */
const LOOK_MS = 60_000
const LOOKS = 5

/** A scope as all breakers of it use it. */
interface Use {
  readonly scope: Scope
  connections: Connections | null
  /** As the newest policy has them. */
  rules: OutlierDetection | null
}

/** The clock that all threads of this machine agree on: what process.hrtime says, read as cheaply as performance.now(). */
export function sharedClock(): () => number {
  const ahead = Number(process.hrtime.bigint()) / 1e6 - performance.now()
  return () => performance.now() + ahead
}

/** All breakers of one worker. */
export class Breakers {
  readonly #options: BreakersOptions
  readonly #nowMs: () => number
  readonly #tables: ScopeTables
  readonly #uses = new Map<string, Use>()
  readonly #known = new WeakMap<Backends, Breaker | null>()
  readonly #busy = new Set<Connections>()
  #lookedAt: number
  #isListening = false
  #isClosed = false

  constructor(options: BreakersOptions) {
    this.#options = options
    this.#nowMs = options.nowMs ?? sharedClock()
    this.#tables = new ScopeTables(options.memory, options.column)
    this.#lookedAt = this.#nowMs()
  }

  /** What bounds the traffic to these backends; null where nothing does. */
  of(backends: Backends): Breaker | null {
    const { policy } = backends
    if (policy.scope === '') return null
    let breaker = this.#known.get(backends)
    if (breaker === undefined) {
      breaker = isBounding(policy) ? new Breaker(this, backends, { ...this.#options, nowMs: this.#nowMs }) : null
      this.#known.set(backends, breaker)
    }
    return breaker
  }

  /** Names (`ip:port`) of the endpoints that are not to be asked, or null where there are none: one object until it changes. */
  ejected(backends: Backends): ReadonlySet<string> | null {
    return this.of(backends)?.ejected() ?? null
  }

  /** Cells that could not be had so far, so that this worker counts for itself alone there. */
  get exhausted(): number {
    return this.#tables.exhausted
  }

  /** Scopes in use by this worker. */
  get size(): number {
    return this.#uses.size
  }

  /** Takes endpoints back whose time is over, and gives up cells that are not used any more. To be called each half second. */
  tick(): void {
    const nowMs = this.#nowMs()
    for (const { scope, rules } of this.#uses.values()) if (rules !== null) checkOutliers(scope, rules, nowMs)
    for (const connections of [...this.#busy]) connections.stir() // a rule may let more connections be by now
    if (nowMs - this.#lookedAt < LOOK_MS) return
    this.#lookedAt = nowMs
    for (const [text, { scope, rules }] of this.#uses) {
      const isUnused = ++scope.quiet > LOOKS || !scope.isShared // there may be room by now
      if (isUnused && scope.held === 0 && scope.leave()) this.#uses.delete(text)
      else scope.shed(LOOKS, (cell) => rules !== null && matters(cell))
    }
  }

  /** Hears no more of other workers. */
  close(): void {
    this.#isClosed = true
    Atomics.notify(this.#tables.bells, this.#tables.column)
  }

  /** The scope of a policy, claimed where it is not in use. */
  use({ policy }: Backends): Use {
    const { scope: text, outliers, pool, retryBudget } = policy
    let use = this.#uses.get(text)
    if (use === undefined) {
      use = { scope: new Scope(text, this.#tables, this.#nowMs()), connections: null, rules: outliers }
      this.#uses.set(text, use)
    }
    use.rules = outliers
    if (use.connections !== null) use.connections.bounds = pool
    // a budget counts those that wait, too
    else if (pool.maxConnections !== null || pool.maxPending !== null || retryBudget !== null) {
      const overflow = this.#options.onOverflow
      use.connections = new Connections(use.scope, pool, { overflow, busy: this.#busy })
    }
    if (pool.maxConnections !== null) this.#listen()
    return use
  }

  /** Hears the bell of this worker from now on. */
  #listen(): void {
    if (this.#isListening) return
    this.#isListening = true
    this.#hear()
  }

  #hear(): void {
    if (this.#isClosed) return
    const { bells, column } = this.#tables
    const heard = Atomics.load(bells, column)
    for (const connections of [...this.#busy]) connections.stir()
    const { async: isWaiting, value } = Atomics.waitAsync(bells, column, heard)
    if (isWaiting) void value.then(() => this.#hear())
    else setImmediate(() => this.#hear()) // rung meanwhile
  }
}

/** What bounds the traffic to one set of backends. */
export class Breaker {
  /**
   * Requests under way. To be entered once a request has its connection; where it may not, the connection is kept and the
   * request fails by OVERFLOW.
   */
  readonly requests: Gate
  /**
   * Retries under way: entered as one is decided upon, ahead of its backoff, and left as it has ended or the next is
   * decided upon. Where it may not be, what the try before came to stands, with the flag UO.
   */
  readonly retries: Gate
  readonly #owner: Breakers
  readonly #backends: Backends
  readonly #outliers: Outliers | null
  readonly #nowMs: () => number
  #use: Use

  constructor(
    owner: Breakers,
    backends: Backends,
    { nowMs, onOverflow: overflow, onEjection }: BreakersOptions & { readonly nowMs: () => number },
  ) {
    const { outliers, pool, retryBudget: budget } = backends.policy
    this.#owner = owner
    this.#backends = backends
    this.#nowMs = nowMs
    this.#use = owner.use(backends)
    const scope = (): Scope => this.#current.scope
    this.requests = requestGate(scope, { max: pool.maxRequests, budget }, { overflow, nowMs })
    this.retries = retryGate(scope, { max: pool.maxRetries, budget }, { overflow, nowMs })
    this.#outliers =
      outliers === null
        ? null
        : new Outliers(outliers, backends, (cause, isEnforced) => {
            if (isEnforced) onEjection(backends.host, cause)
            else overflow('ejections')
          })
  }

  /** Where a connection is asked for; null where they are not bounded. */
  get connections(): Connections | null {
    return this.#current.connections
  }

  /** The key that connections are pooled by: those of a bounded scope are no other's, for each has a place there. */
  poolKey(key: string): string {
    return this.#current.connections === null ? key : `${key} ${this.#current.scope.text}`
  }

  /** Counts how a try at an endpoint (`ip:port`) went. */
  result(endpoint: string, outcome: Outcome): void {
    this.#outliers?.result(this.#current.scope, endpoint, outcome, this.#nowMs)
  }

  /** As Breakers.ejected(). */
  ejected(): ReadonlySet<string> | null {
    return this.#outliers?.ejected(this.#current.scope) ?? null
  }

  /**
   * The scope in use: one that was given up for want of use is claimed anew. It goes by this policy from here on: a request that
   * still goes by an older snapshot (a delay, a long body) has its say, and not the last one.
   */
  get #current(): Use {
    if (this.#use.scope.isGone) this.#use = this.#owner.use(this.#backends)
    const use = this.#use
    const { outliers, pool } = this.#backends.policy
    use.rules = outliers
    if (use.connections !== null) use.connections.bounds = pool
    use.scope.quiet = 0
    return use
  }
}
