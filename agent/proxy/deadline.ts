// Waiting within an exchange: each wait ends early where the exchange is stopped.

import { failureOf, MeshError } from '../model/failure.ts'
import type { Exchange } from './exchange.ts'

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

/** Waits for `work`, and throws what the exchange is stopped for; a result that comes too late goes to `discard`. */
export function until<T>(exchange: Exchange, work: Promise<T>, discard: (late: T) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    let stopped = false
    const stop = (reason: MeshError): void => {
      stopped = true
      reject(reason)
    }
    tryDuring(exchange, stop, null)
    work.then(
      (result) => {
        if (stopped) {
          discard(result)
          return
        }
        exchange.during(null, null)
        resolve(result)
      },
      (thrown: unknown) => {
        if (stopped) return
        exchange.during(null, null)
        reject(failureOf(thrown))
      },
    )
  })
}

function tryDuring(exchange: Exchange, stop: (reason: MeshError) => void, ended: (() => void) | null): void {
  try {
    exchange.during(stop, ended)
  } catch (reason) {
    stop(reason as MeshError)
  }
}
