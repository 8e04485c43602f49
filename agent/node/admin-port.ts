// The port of the admin endpoint, which two agents of a node cannot have at once: waited for, and given up.

import type { Server } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

const POLL_MS = 50

export class AdminPort {
  readonly #listen: () => Promise<Server>
  #server: Server | null = null
  /** Raised by each word of whoever holds this: what was begun before it is over. */
  #turn = 0

  /** `listen` starts the endpoint, or rejects, with EADDRINUSE where another has the port. */
  constructor(listen: () => Promise<Server>) {
    this.#listen = listen
  }

  /** Listens, unless it does already. A port that is taken is waited for so long, or until close(). Rejects where it cannot be had. */
  async open(waitMs = 0): Promise<void> {
    const turn = ++this.#turn
    const deadline = performance.now() + waitMs
    while (this.#server === null && this.#turn === turn) {
      try {
        const server = await this.#listen()
        if (this.#turn === turn) this.#server = server
        else end(server)
      } catch (error) {
        const isTaken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
        if (!isTaken || performance.now() > deadline) throw error
        await sleep(POLL_MS)
      }
    }
  }

  /**
   * Listens once the port is to be had, however long that takes. `late` hears what stands in the way after so long, or at once
   * where it is not another that has the port. Never rejects.
   */
  async openAtLast(waitMs: number, late: (reason: string) => void): Promise<void> {
    for (const patienceMs of [waitMs, Infinity]) {
      try {
        await this.open(patienceMs)
        return
      } catch (error) {
        late((error as Error).message)
      }
    }
  }

  /** Gives the port up; idempotent. */
  close(): void {
    this.#turn++
    if (this.#server !== null) end(this.#server)
    this.#server = null
  }
}

function end(server: Server): void {
  server.close()
  server.closeAllConnections()
}
