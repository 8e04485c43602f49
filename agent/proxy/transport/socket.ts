// The socket beneath a channel on node:net.

import { Socket } from 'node:net'

/**
 * A socket whose failed write does not take what was received with it: a server that answers early and closes answers a
 * write with a reset, and its answer stands in the receive queue by then. Reading goes on until that ends or fails.
 */
export class ChannelSocket extends Socket {
  /** Why writing failed, or null. */
  failure: NodeJS.ErrnoException | null = null
  /** Hears once that writing has failed. */
  onUnwritable: () => void = () => {}

  override destroy(error?: NodeJS.ErrnoException): this {
    if (error?.syscall !== 'write' || this.readableEnded) return super.destroy(error)
    if (this.failure === null) {
      this.failure = error
      this.onUnwritable()
    }
    return this
  }

  /** With `onread`, nothing but the end is pushed. */
  override push(chunk: unknown): boolean {
    if (this.failure === null) return super.push(chunk)
    // the failed write took the kernel's word of a reset, after which reading says "end"; EPIPE alone came behind a FIN
    if (this.failure.code === 'EPIPE') this.emit('end')
    super.destroy(this.failure)
    return false
  }
}
