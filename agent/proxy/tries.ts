// The tries of one request: which endpoints are passed over, and whether and when there is another one.

import type { Random } from '../model/chance.ts'
import { backoffMs, isRetried, type RetryPolicy, type Setback } from '../model/http/retry.ts'
import { type Endpoint, nameOf } from '../model/service.ts'

/**
 * How a try ended that was none. Beside what a rule says of setbacks the mesh sends a request again of its own accord where
 * that cannot do harm (RFC 9110 §9.2.2): `stale`, the pooled connection had been closed by its other end meanwhile; `lost`, a
 * new connection was reset before a byte of an answer, as one is that still waited to be accepted when the application stopped
 * listening.
 */
export interface TryEnd {
  readonly setback: Setback
  readonly replay: 'stale' | 'lost' | null
  /** Whether the whole request can be sent once more. */
  readonly resendable: boolean
}

/** Of a request that has had no try in vain. */
export const NOBODY: ReadonlySet<string> = new Set()

export class Tries {
  /** A pooled connection was found closed: the next is a new one, for a server that restarted has closed them all. */
  isStale = false
  /** The rule would have had another try, and there are no more. */
  isExhausted = false
  readonly #policy: RetryPolicy
  readonly #random: Random
  #passed: Set<string> | null = null
  #retries = 0
  #isLost = false

  constructor(policy: RetryPolicy, random: Random) {
    this.#policy = policy
    this.#random = random
  }

  /** Names of the endpoints that are not asked again. */
  get passed(): ReadonlySet<string> {
    return this.#passed ?? NOBODY
  }

  /** Whether endpoints of all localities are asked alike by now. */
  get anyLocality(): boolean {
    return this.#retries > 0 && this.#policy.remoteLocalities
  }

  /** Retries so far that the rule's policy has made. */
  get retries(): number {
    return this.#retries
  }

  /** An endpoint that may not be gone to: no try. */
  pass(endpoint: string): void {
    ;(this.#passed ??= new Set()).add(endpoint)
  }

  /** Whether those that were passed over may be asked again, for nobody else is left to be. */
  forgive(): boolean {
    const isAny = this.#passed !== null
    this.#passed = null
    return isAny
  }

  /** Milliseconds until the next try, after one at an endpoint that ended so; null where there is none. */
  after({ setback, replay, resendable }: TryEnd, endpoint: Endpoint, all: readonly Endpoint[]): number | null {
    const name = nameOf(endpoint)
    if (replay === 'stale' && !this.isStale) {
      this.isStale = true
      // it may have restarted, but it may as well be about to go: the same one is asked where there is no other
      if (this.#isOtherLeft(name, all)) this.pass(name)
      return 0
    }
    if (replay === 'lost' && !this.#isLost && this.#isOtherLeft(name, all)) {
      this.#isLost = true
      this.pass(name)
      return 0
    }
    if (!isRetried(this.#policy, setback) || (setback.kind !== 'unconnected' && !resendable)) return null
    if (this.#retries >= this.#policy.attempts) {
      this.isExhausted = this.#policy.attempts > 0
      return null
    }
    this.#retries++
    return this.#waitMs(setback, name, all)
  }

  /** Another endpoint is dialled at once where the rule names no backoff: that one has not failed. */
  #waitMs(setback: Setback, name: string, all: readonly Endpoint[]): number {
    const isOther = this.#isOtherLeft(name, all)
    if (!isOther)
      this.#passed = null // once each has failed, each may be asked again
    else if (this.#policy.ignorePrevious) this.pass(name)
    const isAtOnce = isOther && setback.kind === 'unconnected' && this.#policy.backoffMs === null
    return isAtOnce && this.#policy.ignorePrevious ? 0 : backoffMs(this.#policy, this.#retries, this.#random)
  }

  #isOtherLeft(name: string, all: readonly Endpoint[]): boolean {
    const passed = this.#passed
    return all.some((endpoint) => nameOf(endpoint) !== name && passed?.has(nameOf(endpoint)) !== true)
  }
}
