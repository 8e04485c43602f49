// Idle HTTP connections to endpoints, kept for the caller pod that opened them. Two pods never share one.

import type { SocketAddress } from '../../model/address.ts'
import { addressText } from '../../model/address.ts'
import type { Http1Upstream, UpstreamOwner } from '../http1/upstream.ts'
import type { Limits } from './limits.ts'

/** A server that announces `Keep-Alive: timeout` is left this much earlier. */
const EARLIER_MS = 1000

/** Idle connections looked at between two looks at the clock. */
const STEP = 32

/** Whom a pooled connection may serve. */
export interface PoolKey {
  /** uid of the pod in whose network namespace it was made. */
  readonly pod: string
  /** `ip:port`; null on a leg to the pod's own application, which ends its connections itself. */
  readonly endpoint: string | null
  /** Pod, endpoint, and on a leg to the application whom that sees as its client. */
  readonly text: string
}

interface Idle {
  readonly upstream: Http1Upstream
  readonly key: string
  readonly pod: string
  readonly endpoint: string | null
  readonly untilMs: number
}

/** The key of a leg. */
export function poolKey(pod: string, endpoint: string, client: SocketAddress | undefined): PoolKey {
  if (client === undefined) return { pod, endpoint, text: `${pod}|${endpoint}` }
  return { pod, endpoint: null, text: `${pod}|${endpoint}|${addressText(client)}` }
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
    const { text } = key
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
    const { text } = key
    const list = this.#byKey.get(text) ?? []
    const ofPod = this.#perPod.get(key.pod) ?? 0
    const { idlePerEndpoint, idlePerPod, idleInAll, pooledIdleMs } = this.#limits
    if (list.length >= idlePerEndpoint || ofPod >= idlePerPod || this.size >= idleInAll) {
      upstream.close()
      return
    }
    const told = upstream.keepAliveSeconds < 0 ? Infinity : upstream.keepAliveSeconds * 1000 - EARLIER_MS
    const untilMs = nowMs + Math.min(pooledIdleMs, told)
    const idle = { upstream, key: text, pod: key.pod, endpoint: key.endpoint, untilMs }
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

  /** Closes what is kept for endpoints that have left. Yields where the work may pause. */
  *drainEndpoints(hasLeft: (endpoint: string) => boolean): Generator<void> {
    let seen = 0
    for (const { endpoint, upstream } of [...this.#byUpstream.values()]) {
      // by now it may be another's, who gives it back to be looked at then
      if (endpoint !== null && this.#byUpstream.has(upstream) && hasLeft(endpoint)) upstream.close()
      if (++seen % STEP === 0) yield
    }
  }

  /** Closes what is kept for one key. */
  drainKey(key: PoolKey): void {
    const { text } = key
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
