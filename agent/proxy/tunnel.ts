// Through a forward proxy (RFC 9110 §9.3.6): it is asked by CONNECT for where the bytes are to go, and once it has agreed
// they are its.

import { MeshError } from '../model/failure.ts'
import type { Tunnel } from '../model/traffic-policy.ts'
import { Head } from './http1/head.ts'
import type { HeadLimits } from './http1/scan.ts'
import { Store } from './http1/store.ts'
import type { Channel } from './transport/transport.ts'

/** Interim answers (1xx) ahead of the one that counts. */
const INTERIM_MOST = 16

/** A tunnel that was asked for. */
export interface Asking {
  /**
   * What came behind the proxy's answer; the channel is held then. Rejects with TUNNEL_REFUSED, or CONNECT_TIMEOUT after
   * `timeoutMs`; the channel is reset then.
   */
  readonly answered: Promise<Buffer | null>
  /** Gives it up, and resets the channel. */
  stop(): void
}

/** Asks a proxy for a tunnel. */
export function askTunnel(
  channel: Channel,
  to: Tunnel,
  { timeoutMs, limits }: { readonly timeoutMs: number; readonly limits: HeadLimits },
): Asking {
  const authority = authorityOf(to)
  const { promise, resolve, reject } = Promise.withResolvers<Buffer | null>()
  const answer = new Answer(channel, limits)
  const stop = (): void => {
    clearTimeout(timer)
    answer.release()
    channel.reset()
  }
  const fail = (failure: MeshError): void => {
    stop()
    reject(failure)
  }
  const refused = (why: string, cause?: unknown): void =>
    fail(new MeshError('TUNNEL_REFUSED', `the proxy gives no tunnel to ${authority}: ${why}`, cause))
  const late = (): void =>
    fail(new MeshError('CONNECT_TIMEOUT', `the proxy gave no answer for ${authority} in ${timeoutMs} ms`))
  const timer = setTimeout(late, timeoutMs)
  channel.sink = {
    bytes: (arena, from, to) => {
      const came = answer.take(arena, from, to)
      if (came === null) return
      if (typeof came === 'string') {
        refused(came)
        return
      }
      clearTimeout(timer)
      answer.release()
      channel.hold()
      resolve(came.length === 0 ? null : came)
    },
    end: () => refused('it ended the connection'),
    drained: () => {},
    closed: () => refused('it closed the connection'),
    lost: (cause) => refused(cause.message, cause),
  }
  const request = Buffer.from(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`, 'latin1')
  channel.write(request, 0, request.length, null)
  channel.resume()
  return { answered: promise, stop }
}

/** A proxy's answer as it comes. */
class Answer {
  readonly #head: Head
  readonly #store: Store
  #interims = 0

  constructor({ budget }: Channel, limits: HeadLimits) {
    this.#head = new Head('response', limits)
    this.#store = new Store(budget)
  }

  release(): void {
    this.#store.release()
  }

  /** Takes more of it. Null: it goes on; a text: why it is none that was hoped for; else what came behind it. */
  take(arena: Buffer, from: number, to: number): Buffer | string | null {
    const store = this.#store
    const head = this.#head
    store.append(arena, from, to)
    while (store.length > 0) {
      const parsed = head.parse(store.bytes, store.from, store.to)
      if (parsed === 'more') return null
      if (parsed !== 'done') return 'its answer is no HTTP/1.1'
      store.from += head.length
      const { status } = head
      if (status >= 200) {
        // a body that a 2xx answer announces is none (RFC 9110 §9.3.6)
        return status < 300 ? Buffer.from(store.bytes.subarray(store.from, store.to)) : `it answers ${status}`
      }
      if (status === 101 || ++this.#interims > INTERIM_MOST) return `it answers ${status}, which nobody asked for`
      head.reset()
    }
    return null
  }
}

function authorityOf({ host, port }: Tunnel): string {
  return host.includes(':') && !host.startsWith('[') ? `[${host}]:${port}` : `${host}:${port}`
}
