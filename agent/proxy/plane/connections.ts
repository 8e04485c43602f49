// The connections that the pods of this node may have to one host at once, whichever worker makes them. Who finds none free
// waits, and he who has waited longest on the node comes first. An idle connection keeps its place only while nobody waits.

import type { Limit } from '../../model/balance/limit.ts'
import type { ConnectionTicket, Http1Upstream } from '../http1/upstream.ts'
import { ARRIVALS, headsAt, ring } from './breaker-cells.ts'
import type { Scope } from './scope.ts'

/** What a wait came to: a place for a new connection, or one that has become idle and goes with its place. */
export interface Granted {
  readonly ticket: Ticket
  readonly kept: Http1Upstream | null
}

/** One that waits for a place. */
export interface Queued {
  readonly granted: Promise<Granted>
  /** Waits no more. Where it was granted already this does nothing: what came of it is to be given back. */
  cancel(): void
}

interface Waiter extends Queued {
  readonly pool: string
  /** Its number on this node: lower ones come first. */
  readonly arrival: number
  readonly grant: (granted: Granted) => void
}

/** What bounds them; null: nothing does. */
export interface ConnectionBounds {
  readonly maxConnections: number | null
  readonly maxPending: number | null
}

/** Gives back what was granted to somebody who has gone meanwhile. */
export function giveBack({ ticket, kept }: Granted): void {
  if (kept === null) ticket.release()
  else kept.close()
}

/** Connections to one host, as one worker makes them. */
export class Connections {
  bounds: ConnectionBounds
  readonly #scope: Scope
  readonly #overflow: (limit: Limit) => void
  /** Those that have something to do as this worker is woken. */
  readonly #busy: Set<Connections>
  readonly #queue = new Set<Waiter>()
  /** Places of connections that are idle in this worker; the one that became so first is the first. */
  readonly #idle = new Map<Ticket, Http1Upstream>()

  constructor(
    scope: Scope,
    bounds: ConnectionBounds,
    { overflow, busy }: { readonly overflow: (limit: Limit) => void; readonly busy: Set<Connections> },
  ) {
    this.bounds = bounds
    this.#scope = scope
    this.#overflow = overflow
    this.#busy = busy
  }

  /**
   * A place for a connection of an HTTP request that found no idle one: at once, or after a wait; null where as many wait as
   * may. The request counts as pending until the ticket is settled or released. `pool`: the pool (Pool.name) that it looked
   * in, for a connection of this one that becomes idle meanwhile is handed over.
   */
  acquire(pool: string): Ticket | Queued | null {
    const { counts } = this.#scope
    if (!counts.pending.enter(this.bounds.maxPending ?? Infinity)) {
      this.#overflow('pending')
      return null
    }
    this.#scope.held++
    const isFree = counts.waiting.total === 0 && this.#claim()
    return isFree ? new Ticket(this, true) : this.#wait(pool)
  }

  /** A place for a TCP connection: null where there is none free, for a flow does not wait. */
  take(): Ticket | null {
    if (this.#claim()) return new Ticket(this, false)
    this.#overflow('connections')
    return null
  }

  /** Called as this worker is woken: gives up idle connections that others wait for, and grants what is free. */
  stir(): void {
    const { waiting, connections } = this.#scope.counts
    if (this.#idle.size > 0) {
      let wanted = waiting.total - Math.max(0, this.#max - connections.total)
      while (wanted-- > 0 && this.#idle.size > 0) this.#closeIdle()
    }
    this.#serve()
    if (this.#idle.size === 0 && this.#queue.size === 0) this.#busy.delete(this)
  }

  /** An exchange is through, and its connection may be kept. `taken`: another has it; `wanted`: it is to be closed. */
  rest(ticket: Ticket, upstream: Http1Upstream, pool: string): 'kept' | 'taken' | 'wanted' {
    if (this.#scope.counts.waiting.total === 0) {
      this.#idle.set(ticket, upstream)
      this.#busy.add(this)
      return 'kept'
    }
    const head = this.#head
    if (head === null || head.pool !== pool || !this.#isFirst(head)) return 'wanted'
    this.#grant(head, { ticket, kept: upstream })
    return 'taken'
  }

  work(ticket: Ticket): void {
    this.#idle.delete(ticket)
  }

  settle(): void {
    this.#scope.counts.pending.leave()
    this.#scope.held--
  }

  leave(ticket: Ticket): void {
    this.#idle.delete(ticket)
    this.#scope.counts.connections.leave()
    this.#scope.held--
    if (this.#scope.counts.waiting.total > 0) this.#serve()
  }

  get #max(): number {
    return this.bounds.maxConnections ?? Infinity
  }

  get #head(): Waiter | null {
    return this.#queue.values().next().value ?? null
  }

  #claim(): boolean {
    const { connections } = this.#scope.counts
    for (;;) {
      if (connections.enter(this.#max)) {
        this.#scope.held++
        return true
      }
      if (this.#idle.size === 0) return false
      this.#closeIdle()
    }
  }

  #closeIdle(): void {
    const [ticket, upstream] = this.#idle.entries().next().value as [Ticket, Http1Upstream]
    this.#idle.delete(ticket)
    upstream.close()
    ticket.release() // also where it was closed already
  }

  #wait(pool: string): Queued {
    const { promise: granted, resolve: grant } = Promise.withResolvers<Granted>()
    const waiter: Waiter = { pool, arrival: this.#arrive(), granted, grant, cancel: () => this.#cancel(waiter) }
    this.#queue.add(waiter)
    this.#busy.add(this)
    this.#scope.counts.waiting.enter()
    this.#publish()
    const { columns } = this.#scope.tables.memory
    for (let column = 0; column < columns; column++) {
      if (this.#isOther(column) && this.#scope.counts.connections.of(column) > 0) this.#ring(column)
    }
    this.#serve() // what was given back before all could know
    return waiter
  }

  #cancel(waiter: Waiter): void {
    if (!this.#queue.has(waiter)) return
    this.#unqueue(waiter)
    this.settle()
    this.#serve() // others may have waited behind it
  }

  #grant(waiter: Waiter, granted: Granted): void {
    this.#unqueue(waiter)
    if (granted.kept !== null) this.settle()
    waiter.grant(granted)
  }

  #unqueue(waiter: Waiter): void {
    this.#queue.delete(waiter)
    this.#scope.counts.waiting.leave()
    this.#publish()
  }

  /** Grants what is free to those of this worker whose turn it is, and wakes the worker of whoever is next. */
  #serve(): void {
    for (let head = this.#head; head !== null && this.#isFirst(head); head = this.#head) {
      if (!this.#claim()) return
      if (this.#queue.has(head)) this.#grant(head, { ticket: new Ticket(this, true), kept: null })
      else this.#unclaim()
    }
    const { waiting, connections } = this.#scope.counts
    if (waiting.total === 0 || connections.total >= this.#max) return
    const next = this.#first()
    if (next !== null && this.#isOther(next)) this.#ring(next)
  }

  /** As idle connections were closed for a place, the one who waited was served already. */
  #unclaim(): void {
    this.#scope.counts.connections.leave()
    this.#scope.held--
  }

  #arrive(): number {
    const { words, at } = this.#scope
    for (;;) {
      const arrival = (Atomics.add(words, at + ARRIVALS, 1) + 1) | 0
      if (arrival !== 0) return arrival // 0 is nobody
    }
  }

  /** Says to all who waits longest here. */
  #publish(): void {
    Atomics.store(this.#scope.words, this.#headAt(this.#scope.tables.column), this.#head?.arrival ?? 0)
  }

  #isFirst({ arrival }: Waiter): boolean {
    const first = this.#first()
    return first === null || Atomics.load(this.#scope.words, this.#headAt(first)) === arrival
  }

  /** The worker with whom somebody waits longest; null: nobody does. Numbers go round: what is less than half of all ahead is later. */
  #first(): number | null {
    const { columns } = this.#scope.tables.memory
    let first: { readonly column: number; readonly arrival: number } | null = null
    for (let column = 0; column < columns; column++) {
      const arrival = Atomics.load(this.#scope.words, this.#headAt(column))
      if (arrival === 0) continue
      if (first === null || ((arrival - first.arrival) | 0) < 0) first = { column, arrival }
    }
    return first?.column ?? null
  }

  #headAt(column: number): number {
    return this.#scope.at + headsAt(this.#scope.tables.memory.columns) + column
  }

  #isOther(column: number): boolean {
    return column !== this.#scope.tables.column
  }

  #ring(column: number): void {
    ring(this.#scope.tables.bells, column)
  }
}

/** A connection's place among those that its host may have: it is released once, with the connection. */
export class Ticket implements ConnectionTicket {
  readonly #connections: Connections
  #isPending: boolean
  #isOver = false

  constructor(connections: Connections, isPending: boolean) {
    this.#connections = connections
    this.#isPending = isPending
  }

  /** The connection is made, or could not be: its request waits no longer. */
  settled(): void {
    if (!this.#isPending) return
    this.#isPending = false
    this.#connections.settle()
  }

  rest(upstream: Http1Upstream, pool: string): 'kept' | 'taken' | 'wanted' {
    return this.#connections.rest(this, upstream, pool)
  }

  work(): void {
    this.#connections.work(this)
  }

  release(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.settled()
    this.#connections.leave(this)
  }
}
