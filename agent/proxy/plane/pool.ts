// Idle HTTP connections to endpoints, kept for the caller pod that opened them. Two pods never share one.

import { addressText, type SocketAddress } from '../../model/address.ts'
import type { Http1Upstream, UpstreamOwner } from '../http1/upstream.ts'
import type { Limits } from './limits.ts'

/** A server that announces `Keep-Alive: timeout` is left this much earlier. */
const EARLIER_MS = 1000

/** Idle connections looked at between two looks at the clock. */
const STEP = 32

type Bounds = Pick<Limits, 'idlePerEndpoint' | 'idlePerPod' | 'idleInAll' | 'pooledIdleMs'>

/** What counts together: all of a worker, or all that one pod opened. */
interface Count {
  idle: number
}

/** Whose connections a pool holds. */
interface Ends {
  /** `ip:port` */
  readonly endpoint: string
  readonly name: string
  readonly ofPod: Count
  readonly inAll: Count
}

/**
 * Where a leg leads. `key` names the endpoint, and whom it is proved to be; `told`: the caller that its connections tell of,
 * whose own they are then, null for none.
 */
export interface Towards {
  readonly endpoint: string
  readonly key: string
  readonly told: SocketAddress | null
}

/** Idle connections from one pod to one endpoint, and on a leg to the application for one client of it. */
export class Pool implements UpstreamOwner {
  readonly endpoint: string
  /** Names it among all of this worker, for those who wait for one of its connections; '' where nobody does. */
  readonly name: string
  readonly #limits: Bounds
  readonly #ofPod: Count
  readonly #inAll: Count
  /** The one used last is the last. */
  readonly #idle: Http1Upstream[] = []

  constructor(limits: Bounds, { endpoint, name, ofPod, inAll }: Ends) {
    this.endpoint = endpoint
    this.name = name
    this.#limits = limits
    this.#ofPod = ofPod
    this.#inAll = inAll
  }

  get size(): number {
    return this.#idle.length
  }

  /** The connection used last, or null. It is the taker's then. What its server may be closing by now is not given. */
  take(nowMs: number): Http1Upstream | null {
    for (;;) {
      const upstream = this.#idle.at(-1)
      if (upstream === undefined) return null
      if (upstream.idleUntilMs > nowMs && !upstream.term.isOver(nowMs)) {
        this.unusable(upstream)
        return upstream
      }
      upstream.close()
    }
  }

  /** Keeps a connection, or closes it where it cannot be used again or there are enough; one who waits for it gets it. */
  give(upstream: Http1Upstream, nowMs: number): void {
    if (!upstream.reusable) return // it closed itself
    const { idlePerEndpoint, idlePerPod, idleInAll, pooledIdleMs } = this.#limits
    const isOver = upstream.term.isOver(nowMs)
    if (isOver || this.size >= idlePerEndpoint || this.#ofPod.idle >= idlePerPod || this.#inAll.idle >= idleInAll) {
      upstream.close()
      return
    }
    const rests = upstream.ticket?.rest(upstream, this.name) ?? 'kept'
    if (rests === 'wanted') upstream.close()
    if (rests !== 'kept') return
    const told = upstream.keepAliveSeconds < 0 ? Infinity : upstream.keepAliveSeconds * 1000 - EARLIER_MS
    upstream.idleUntilMs = nowMs + Math.min(upstream.keptMs ?? pooledIdleMs, told)
    upstream.owner = this
    this.#idle.push(upstream)
    this.#ofPod.idle++
    this.#inAll.idle++
  }

  /** It is kept no more. */
  unusable(upstream: Http1Upstream): void {
    const at = this.#idle.lastIndexOf(upstream)
    if (at < 0) return
    upstream.owner = null
    upstream.ticket?.work()
    if (at === this.#idle.length - 1) this.#idle.pop()
    else this.#idle.splice(at, 1)
    this.#ofPod.idle--
    this.#inAll.idle--
  }

  /** Closes what has been idle for too long; with Infinity all. */
  sweep(nowMs: number): void {
    for (const upstream of [...this.#idle]) if (upstream.idleUntilMs <= nowMs) upstream.close()
  }
}

/** The pools of one pod. */
class PodPools implements Count {
  idle = 0
  readonly byKey = new Map<string, Pool>()
  /** Of its application, by the client that it sees: an address is one object for as long as its connection lives. */
  readonly byClient = new Map<SocketAddress, Pool>()
  /** Those that tell of a caller, by whom. */
  readonly byTold = new Map<SocketAddress, Map<string, Pool>>()

  /** By key, of connections that tell of nobody or of this caller. */
  keyed(told: SocketAddress | null): Map<string, Pool> {
    if (told === null) return this.byKey
    let pools = this.byTold.get(told)
    if (pools === undefined) this.byTold.set(told, (pools = new Map<string, Pool>()))
    return pools
  }

  /** Of all that lead to endpoints and no application of the pod's own. */
  outward(): Pool[] {
    return [this.byKey, ...this.byTold.values()].flatMap((pools) => [...pools.values()])
  }

  sweep(nowMs: number): void {
    for (const pools of [this.byKey, this.byClient, ...this.byTold.values()] as Map<unknown, Pool>[]) {
      for (const [key, pool] of pools) {
        pool.sweep(nowMs)
        if (pool.size === 0) pools.delete(key)
      }
    }
    for (const [told, pools] of this.byTold) if (pools.size === 0) this.byTold.delete(told)
  }
}

/** All pools of this worker. */
export class Pools implements Count {
  idle = 0
  readonly #limits: Bounds
  readonly #pods = new Map<string, PodPools>()

  constructor(limits: Bounds) {
    this.#limits = limits
  }

  /**
   * The pool of a leg; not to be kept, for one that is empty is forgotten. `pod`: uid of the pod in whose network namespace
   * its connections are made; `client`: whom the pod's own application sees, undefined where it is not gone to.
   */
  of(pod: string, { endpoint, key, told }: Towards, client: SocketAddress | undefined): Pool {
    let pools = this.#pods.get(pod)
    if (pools === undefined) this.#pods.set(pod, (pools = new PodPools()))
    let pool = client === undefined ? pools.keyed(told).get(key) : pools.byClient.get(client)
    if (pool !== undefined) return pool
    const name = client === undefined ? `${pod} ${key} ${told === null ? '' : addressText(told)}` : ''
    pool = new Pool(this.#limits, { endpoint, name, ofPod: pools, inAll: this })
    if (client === undefined) pools.keyed(told).set(key, pool)
    else pools.byClient.set(client, pool)
    return pool
  }

  /** Closes what has been idle for too long. */
  sweep(nowMs: number): void {
    for (const [pod, pools] of this.#pods) {
      pools.sweep(nowMs)
      if (pools.idle === 0) this.#pods.delete(pod)
    }
  }

  /** Closes what a pod left behind. */
  drainPod(pod: string): void {
    this.#pods.get(pod)?.sweep(Infinity)
    this.#pods.delete(pod)
  }

  /** Closes what is kept for one client of a pod's application, or tells of this caller. */
  drainClient(pod: string, client: SocketAddress): void {
    const pools = this.#pods.get(pod)
    pools?.byClient.get(client)?.sweep(Infinity)
    pools?.byClient.delete(client)
    for (const pool of pools?.byTold.get(client)?.values() ?? []) pool.sweep(Infinity)
    pools?.byTold.delete(client)
  }

  /** Closes what is kept for endpoints that have left; an application ends its connections itself. Yields where the work may pause. */
  *drainEndpoints(hasLeft: (endpoint: string) => boolean): Generator<void> {
    let seen = 0
    for (const pool of [...this.#pods.values()].flatMap((pools) => pools.outward())) {
      if (pool.size > 0 && hasLeft(pool.endpoint)) pool.sweep(Infinity)
      if (++seen % STEP === 0) yield
    }
  }

  /** Closes all. */
  drain(): void {
    for (const pod of [...this.#pods.keys()]) this.drainPod(pod)
  }
}
