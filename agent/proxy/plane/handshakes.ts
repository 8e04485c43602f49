// What a pod may ask of the node in handshakes: they cost more than all else that a connection does, and the node has one
// proxy for all.

import { MeshError } from '../../model/failure.ts'

export interface HandshakeLimits {
  /** Handshakes of one pod under way at once. */
  readonly podHandshakes: number
  /** Handshakes that one pod may begin in a second, after a second without any twice as many. */
  readonly podHandshakesPerSecond: number
}

/** The handshakes of one pod in one direction, in this worker. */
export class Handshakes {
  readonly #limits: HandshakeLimits
  #open = 0
  #left: number
  #filledMs = -Infinity

  constructor(limits: HandshakeLimits) {
    this.#limits = limits
    this.#left = 2 * limits.podHandshakesPerSecond
  }

  /** Whether another may begin now; then `end` is to be called once. `nowMs`: the transport's coarse clock. */
  begin(nowMs: number): boolean {
    const { podHandshakes, podHandshakesPerSecond: rate } = this.#limits
    if (nowMs > this.#filledMs) {
      this.#left = Math.min(2 * rate, this.#left + ((nowMs - this.#filledMs) / 1000) * rate)
      this.#filledMs = nowMs
    }
    if (this.#open >= podHandshakes || this.#left < 1) return false
    this.#open++
    this.#left--
    return true
  }

  end(): void {
    this.#open--
  }

  /** Has one made. Throws SOCKET_LIMIT where no other may begin, and what it comes to. `nowMs` as of begin(). */
  async run<T>(nowMs: number, shake: () => Promise<T>): Promise<T> {
    if (!this.begin(nowMs)) throw new MeshError('SOCKET_LIMIT', 'too many handshakes of one pod')
    try {
      return await shake()
    } finally {
      this.end()
    }
  }
}
