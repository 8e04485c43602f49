// A connection for one exchange: a kept one, else a new one, within what the rule for its host allows.

import { failureOf, MeshError } from '../model/failure.ts'
import type { Permit } from '../model/permit.ts'
import type { Call } from './classify.ts'
import { connect, type Leg, poolOf } from './connect.ts'
import { until } from './deadline.ts'
import type { Errand } from './exchange.ts'
import { Http1Upstream } from './http1/upstream.ts'
import type { Breaker } from './plane/breakers.ts'
import { giveBack, type Granted, type Queued, Ticket } from './plane/connections.ts'
import type { MeshNode } from './plane/node.ts'
import type { Pool } from './plane/pool.ts'
import type { Reaching } from './secure.ts'

/** What is to be reached, and for whom. */
export interface Goal {
  /** Waits; where it is stopped, so is what is done for it. */
  readonly errand: Pick<Errand, 'during'>
  readonly call: Call
  readonly node: MeshNode
  readonly permit: Permit
  readonly leg: Leg
  /** What bounds the traffic to the host, or null. */
  readonly breaker: Breaker | null
  /** A kept connection will not do. */
  readonly fresh: boolean
}

/** Hears what came of it, once. Neither call throws. */
export interface Reaches {
  reached(upstream: Http1Upstream): void
  unreached(failure: MeshError): void
}

/** A kept connection that will do, or null. */
export function keptFor(goal: Goal): Http1Upstream | null {
  return goal.fresh ? null : poolFor(goal).take(goal.node.transport.nowMs)
}

/** Keeps a connection for later exchanges, as far as it can be. One from before its host was bounded has no place there. */
export function keepFor(goal: Goal, upstream: Http1Upstream): void {
  const isUncounted = upstream.ticket === null && (goal.breaker?.connections ?? null) !== null
  if (isUncounted) upstream.close()
  else poolFor(goal).give(upstream, goal.node.transport.nowMs)
}

function poolFor({ leg, call, node, breaker }: Goal): Pool {
  return poolOf(leg, call, node, breaker === null ? leg.link.key : breaker.poolKey(leg.link.key))
}

/** The way to a new connection, or to one that somebody else has done with meanwhile. */
export class Reach {
  readonly #goal: Goal
  readonly #on: Reaches
  #queued: Queued | null = null
  #ticket: Ticket | null = null
  /** Gives up the connection that is being made. */
  #abandon: (() => void) | null = null
  #isOver = false

  constructor(goal: Goal, on: Reaches) {
    this.#goal = goal
    this.#on = on
  }

  begin(): void {
    this.#acquire()
  }

  /**
   * Nobody waits for it any more, and nothing of it goes on: a connection that is still being made has no place among those
   * that count. What it came to is not touched.
   */
  giveUp(): void {
    this.#isOver = true
    this.#queued?.cancel()
    this.#abandon?.()
    this.#ticket?.release()
    this.#queued = this.#abandon = this.#ticket = null
  }

  /** Dials, once there is a place for one more connection to the host. */
  #acquire(): void {
    const { breaker, errand, leg } = this.#goal
    const connections = breaker?.connections ?? null
    if (connections === null) {
      this.#dial()
      return
    }
    const place = connections.acquire(poolFor(this.#goal).name)
    if (place === null) {
      this.#on.unreached(new MeshError('OVERFLOW', `as many requests to ${leg.endpoint.address.ip} wait as may`))
      return
    }
    if (place instanceof Ticket) {
      this.#ticket = place
      this.#dial()
      return
    }
    this.#queued = place
    until(errand, place.granted, { discard: giveBack, isGivenUp: () => this.#isOver }).then(
      (granted) => (this.#isOver ? giveBack(granted) : this.#granted(granted)),
      (thrown: unknown) => {
        place.cancel()
        if (!this.#isOver) this.#on.unreached(failureOf(thrown))
      },
    )
  }

  #granted({ ticket, kept }: Granted): void {
    this.#queued = null
    if (kept?.reusable === true) {
      this.#on.reached(kept)
      return
    }
    kept?.close() // its place goes with it
    if (kept !== null) this.#acquire()
    else {
      this.#ticket = ticket
      this.#dial()
    }
  }

  #dial(): void {
    const { errand, permit, leg, node } = this.#goal
    const ticket = this.#ticket
    const waited = {
      discard: ({ channel }: Reaching) => channel.reset(),
      isGivenUp: () => this.#isOver,
    }
    const begun = (abandon: () => void): void => {
      if (this.#isOver) abandon()
      else this.#abandon = abandon
    }
    until(errand, connect(permit, leg, node, { protocol: 'http', begun }), waited).then(
      ({ channel, term }) => {
        if (this.#isOver) {
          channel.reset() // it came about as it was given up
          return
        }
        this.#abandon = null
        const upstream = new Http1Upstream(channel, node.limits, term)
        const { maxPerConnection, httpIdleMs } = leg.policy.pool
        upstream.most = maxPerConnection ?? Infinity
        upstream.keptMs = httpIdleMs === 0 ? Infinity : httpIdleMs
        upstream.ticket = ticket
        ticket?.settled()
        this.#ticket = null
        this.#on.reached(upstream)
      },
      (thrown: unknown) => {
        ticket?.release()
        this.#ticket = null
        if (!this.#isOver) this.#on.unreached(failureOf(thrown))
      },
    )
  }
}
