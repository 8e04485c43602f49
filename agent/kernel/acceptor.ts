// Hands accepted connections out one by one, so that what goes wrong with one does not touch the next.
import type { AcceptOptions, Acceptor } from './kernel.ts'
import { LISTEN_BACKLOG } from './kernel.ts'
import type { NativeAcceptor } from './native.ts'
import { errorName, must, native } from './native.ts'
import { KernelError } from './kernel.ts'

/** Connections taken in one wake-up: then others have their turn. */
export const ACCEPT_BATCH = 16

/** How long accepting pauses when the process or the machine is out of fds or memory. */
export const ACCEPT_PAUSE_MS = 100

/** Accepts on a listening fd, which stays the caller's. Throws KernelError. */
export function openAcceptor(listener: number, options: AcceptOptions): Acceptor {
  return new PacedAcceptor(listener, options)
}

class PacedAcceptor implements Acceptor {
  readonly #options: AcceptOptions
  readonly #native: NativeAcceptor
  #wake: NodeJS.Timeout | null = null
  #wanted = true
  #closed = false

  constructor(listener: number, options: AcceptOptions) {
    this.#options = options
    const batch = options.batch ?? ACCEPT_BATCH
    if (!(batch >= 1 && batch <= LISTEN_BACKLOG)) throw new RangeError(`batch must be 1..${LISTEN_BACKLOG}: ${batch}`)
    this.#native = new (native().Acceptor)(listener, batch, (fds, status) => this.#take(fds, status))
    must(this.#native.status, 'watch the listener')
    must(this.#native.resume(), 'watch the listener')
  }

  pause(): void {
    this.#wanted = false
    this.#native.pause()
  }

  resume(): void {
    this.#wanted = true
    if (!this.#wake) this.#native.resume()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#wake) clearTimeout(this.#wake)
    this.#take(this.#native.drain(LISTEN_BACKLOG), 0)
    this.#native.close()
  }

  #take(fds: readonly number[], status: number): void {
    for (const fd of fds) {
      try {
        this.#options.onAccept(fd)
      } catch (error) {
        native().closeFd(fd)
        this.#fault(error)
      }
    }
    if (status < 0) this.#rest(status)
  }

  /** The listener stays readable while accept(2) fails: without a pause the thread would spin. */
  #rest(status: number): void {
    if (this.#closed) return
    this.#native.pause()
    this.#wake ??= setTimeout(() => {
      this.#wake = null
      if (this.#wanted && !this.#closed) this.#native.resume()
    }, ACCEPT_PAUSE_MS)
    this.#fault(new KernelError(errorName(status), 'accept'))
  }

  #fault(error: unknown): void {
    try {
      this.#options.onFault(error)
    } catch (second) {
      queueMicrotask(() => {
        throw second
      })
    }
  }
}
