// Idle HTTP connections to endpoints, kept for the caller pod that opened them. Two pods never share one.

import type { SocketAddress } from '../../model/address.ts'
import { addressText } from '../../model/address.ts'
import type { Http1Upstream, UpstreamOwner } from '../http1/upstream.ts'
import type { Limits } from './limits.ts'

/** A server that announces `Keep-Alive: timeout` is left this much earlier. */
const EARLIER_MS = 1000

/** Whom a pooled connection may serve. */
export interface PoolKey {
  /** uid of the pod in whose network namespace it was made. */
  readonly pod: string
  readonly endpoint: string
  /** On a leg to the application also whom it sees as its client: empty elsewhere. */
  readonly client: string
}

interface Idle {
  readonly upstream: Http1Upstream
  readonly key: string
  readonly pod: string
  readonly endpoint: string
  readonly client: string
  readonly untilMs: number
}

/** The key of a leg, as text. */
export function poolKey(pod: string, endpoint: string, client: SocketAddress | undefined): PoolKey {
  return { pod, endpoint, client: client === undefined ? '' : addressText(client) }
}

/** All pools of this worker. */
export class Pools implements UpstreamOwner {
  readonly #limits: Limits
  readonly #byKey = new Map<string, Idle[]>()
  readonly #byUpstream = new Map<Http1Upstream, Idle>()
  readonly #perPod = new Map<string, number>()

  constructor(limits: Limits) {
    this.#limits = limits
  }

  /** Idle connections in all. */
  get size(): number {
    return this.#byUpstream.size
  }

  /** The connection used last, or null. It is the taker's then. What its server may be closing by now is not given. */
  take(key: PoolKey, nowMs: number): Http1Upstream | null {
    const text = textOf(key)
    for (;;) {
      const idle = this.#byKey.get(text)?.at(-1)
      if (idle === undefined) return null
      if (idle.untilMs <= nowMs) {
        idle.upstream.close()
        continue
      }
      this.#remove(idle)
      return idle.upstream
    }
  }

  /** Keeps a connection, or closes it where it cannot be used again or there are enough. */
  give(key: PoolKey, upstream: Http1Upstream, nowMs: number): void {
    if (!upstream.reusable) return // it closed itself
    const text = textOf(key)
    const list = this.#byKey.get(text) ?? []
    const ofPod = this.#perPod.get(key.pod) ?? 0
    const { idlePerEndpoint, idlePerPod, idleInAll, pooledIdleMs } = this.#limits
    if (list.length >= idlePerEndpoint || ofPod >= idlePerPod || this.size >= idleInAll) {
      upstream.close()
      return
    }
    const told = upstream.keepAliveSeconds < 0 ? Infinity : upstream.keepAliveSeconds * 1000 - EARLIER_MS
    const idle = { upstream, ...key, key: text, untilMs: nowMs + Math.min(pooledIdleMs, told) }
    list.push(idle)
    this.#byKey.set(text, list)
    this.#byUpstream.set(upstream, idle)
    this.#perPod.set(key.pod, ofPod + 1)
    upstream.owner = this
  }

  unusable(upstream: Http1Upstream): void {
    const idle = this.#byUpstream.get(upstream)
    if (idle !== undefined) this.#remove(idle)
  }

  /** Closes what has been idle for too long. */
  sweep(nowMs: number): void {
    this.#closeWhere((idle) => idle.untilMs <= nowMs)
  }

  /** Closes what a pod left behind. */
  drainPod(pod: string): void {
    this.#closeWhere((idle) => idle.pod === pod)
  }

  /**
   * Closes what is kept for endpoints that have left. Connections to a pod's own application stay: each belongs to a caller
   * that is still there, and the application ends them itself.
   */
  drainEndpoints(hasLeft: (endpoint: string) => boolean): void {
    const judged = new Map<string, boolean>()
    this.#closeWhere(({ endpoint, client }) => {
      if (client !== '') return false
      const left = judged.get(endpoint) ?? hasLeft(endpoint)
      judged.set(endpoint, left)
      return left
    })
  }

  /** Closes what is kept for one key. */
  drainKey(key: PoolKey): void {
    const text = textOf(key)
    for (const { upstream } of [...(this.#byKey.get(text) ?? [])]) upstream.close()
  }

  /** Closes all. */
  drain(): void {
    this.#closeWhere(() => true)
  }

  #closeWhere(test: (idle: Idle) => boolean): void {
    for (const idle of [...this.#byUpstream.values()]) if (test(idle)) idle.upstream.close()
  }

  #remove(idle: Idle): void {
    idle.upstream.owner = null
    this.#byUpstream.delete(idle.upstream)
    const list = this.#byKey.get(idle.key) ?? []
    const at = list.lastIndexOf(idle)
    if (at >= 0) list.splice(at, 1)
    if (list.length === 0) this.#byKey.delete(idle.key)
    const ofPod = (this.#perPod.get(idle.pod) ?? 1) - 1
    if (ofPod > 0) this.#perPod.set(idle.pod, ofPod)
    else this.#perPod.delete(idle.pod)
  }
}

function textOf({ pod, endpoint, client }: PoolKey): string {
  return `${pod}|${endpoint}|${client}`
}
