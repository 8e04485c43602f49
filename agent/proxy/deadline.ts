// Waiting within an exchange: each wait ends early where the exchange is stopped.

import { failureOf, MeshError } from '../model/failure.ts'
import type { Errand, Exchange } from './exchange.ts'

/** Waits. Throws what the exchange is stopped for; a caller that ends its side is taken to have given up. */
export function pause(exchange: Exchange, ms: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      exchange.during(null, null)
      resolve()
    }, ms)
    const stop = (reason: MeshError): void => {
      clearTimeout(timer)
      reject(reason)
    }
    const ended = (): void => exchange.stop(new MeshError('CALLER_RESET', 'the caller gave up during the delay'))
    if (exchange.halfClosed) ended()
    tryDuring(exchange, stop, ended)
  })
}

/** The longest that a timer of the run-time takes; a longer one would be over at once. */
const LONGEST_MS = 2 ** 31 - 1

/** Waits. Throws what the exchange is stopped for: nothing is left of the waiting then. */
export function wait(exchange: Pick<Errand, 'during'>, ms: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const over = (): void => {
      exchange.during(null, null)
      resolve()
    }
    const timer = setTimeout(over, Math.min(ms, LONGEST_MS))
    const stop = (reason: MeshError): void => {
      clearTimeout(timer)
      reject(reason)
    }
    tryDuring(exchange, stop, null)
  })
}

/** Waiting that may be given up for itself, the exchange going on. */
export interface Waited<T> {
  /** Gets a result that comes too late. */
  readonly discard: (late: T) => void
  /** Whether nobody waits any more. */
  readonly isGivenUp?: () => boolean
}

/** Waits for `work`, and throws what the exchange is stopped for. Once given up it neither resolves nor throws. */
export function until<T>(
  exchange: Pick<Errand, 'during'>,
  work: Promise<T>,
  { discard, isGivenUp }: Waited<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    let stopped = false
    const stop = (reason: MeshError): void => {
      stopped = true
      reject(reason)
    }
    tryDuring(exchange, stop, null)
    work.then(
      (result) => {
        if (stopped || isGivenUp?.() === true) {
          discard(result)
          return
        }
        exchange.during(null, null)
        resolve(result)
      },
      (thrown: unknown) => {
        if (stopped || isGivenUp?.() === true) return
        exchange.during(null, null)
        reject(failureOf(thrown))
      },
    )
  })
}

/** Has `stop` called where the exchange is stopped, at once where it was already: then it is false. */
export function tryDuring(
  exchange: Pick<Errand, 'during'>,
  stop: (reason: MeshError) => void,
  ended: (() => void) | null,
): boolean {
  try {
    exchange.during(stop, ended)
    return true
  } catch (reason) {
    stop(reason as MeshError)
    return false
  }
}
