// How a connection begins that comes from outside: with the mesh's TLS, with anything else, or with nothing for a while. Of
// one that has said nothing the application is connected all the same, and may be the one that speaks first; until a byte
// has been passed on either way, the mesh's TLS still counts.

import { failureOf, lossOf, MeshError } from '../model/failure.ts'
import { protocolOf } from '../model/protocol.ts'
import type { Occupant, Place } from './plane/live.ts'
import type { Ahead } from './relay.ts'
import type { Budget } from './transport/budget.ts'
import { CLIENT_HELLO_MOST, readClientHello } from './transport/client-hello.ts'
import type { Channel, ChannelSink } from './transport/transport.ts'

/** What a caller sends first: the mesh's TLS, anything else, or nothing for a while. */
export type Said =
  | { readonly kind: 'hello'; readonly bytes: Buffer }
  | { readonly kind: 'other'; readonly bytes: Buffer; readonly ended: boolean }
  | { readonly kind: 'silence'; readonly ended: boolean }

/** Gathers a caller's first bytes until it is plain whether they begin the mesh's TLS. */
export class Opening {
  readonly #budget: Budget
  #bytes = Buffer.alloc(0)

  /** `budget`: of the pod dialled, against which what is gathered counts until release(). */
  constructor(budget: Budget) {
    this.#budget = budget
  }

  /** Whether something has been said. */
  get begun(): boolean {
    return this.#bytes.length > 0
  }

  /** Takes more; null while it may become either. Throws BUFFER_LIMIT where the pod holds enough. */
  take(bytes: Uint8Array): Said | null {
    this.#budget.held += bytes.length
    this.#bytes = Buffer.concat([this.#bytes, bytes])
    if (this.#budget.spent) throw this.#budget.failure()
    const hello = readClientHello(this.#bytes)
    if (hello === 'partial' && this.#bytes.length < CLIENT_HELLO_MOST) return null
    const isOurs = typeof hello === 'object' && hello.alpn.some((name) => protocolOf(name) !== null)
    return isOurs ? { kind: 'hello', bytes: this.#bytes } : { kind: 'other', bytes: this.#bytes, ended: false }
  }

  /** What was gathered is another's to count, or nobody's any more. */
  release(): void {
    this.#budget.held -= this.#bytes.length
  }

  /** What it comes to where no more is sent. */
  end(): Said {
    return this.begun ? { kind: 'other', bytes: this.#bytes, ended: true } : { kind: 'silence', ended: true }
  }
}

/** Reads until it is plain how the caller begins; the channel is held then. `silenceMs` null: nothing but TLS is waited for. */
export function listen(
  channel: Channel,
  { silenceMs, helloMs }: { readonly silenceMs: number | null; readonly helloMs: number },
  place: Place,
): Promise<Said> {
  const opening = new Opening(channel.budget)
  const { occupant } = place
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      clearTimeout(timer)
      place.occupant = occupant
      opening.release()
    }
    const settle = (said: Said): void => {
      leave()
      channel.hold()
      resolve(said)
    }
    const fail = (failure: MeshError): void => {
      leave()
      reject(failure)
    }
    const late = (): void => fail(new MeshError('CALLER_TLS_FAILED', `no whole ClientHello in ${helloMs} ms`))
    const silent = (): void => settle({ kind: 'silence', ended: false })
    let timer = silenceMs === null ? setTimeout(late, helloMs) : setTimeout(silent, silenceMs)
    place.occupant = {
      ...occupant,
      stop: fail,
      // nobody waits for a caller that may never say anything: the steps behind this one know how to end it
      drain: () => {
        if (silenceMs !== null && !opening.begun) silent()
      },
    }
    const gone = (cause?: unknown): void =>
      fail(new MeshError('CALLER_RESET', 'the caller broke off before it said anything', cause))
    channel.sink = {
      bytes: (arena, from, to) => {
        const isFirst = !opening.begun
        const said = taken(opening, arena.subarray(from, to), fail)
        if (said === 'failed') return
        if (said !== null) return settle(said)
        if (!isFirst) return
        clearTimeout(timer)
        timer = setTimeout(late, helloMs)
      },
      end: () => settle(opening.end()),
      drained: () => {},
      closed: gone,
      lost: gone,
    }
    channel.resume()
  })
}

/** What comes of more bytes; what goes wrong is told to `fail`. */
function taken(opening: Opening, bytes: Uint8Array, fail: (failure: MeshError) => void): Said | null | 'failed' {
  try {
    return opening.take(bytes)
  } catch (thrown) {
    fail(failureOf(thrown))
    return 'failed'
  }
}

/** How long is waited, and what may end it. */
interface Waiting {
  readonly limits: { readonly idleMs: number; readonly helloMs: number }
  readonly place: Place
  /** Why a snapshot does not let it go on as it is, or null. */
  readonly forbidden: Occupant['forbidden']
}

/** What came of waiting: a ClientHello of the mesh, or what there is to be passed on. */
export type FirstWord = { readonly hello: Said & { kind: 'hello' } } | { readonly hello: null; readonly ahead: Ahead }

/**
 * Waits for a byte, or an end, of either side; both are held then. What has begun like a ClientHello is waited for, and
 * meanwhile the upstream is not heard. Throws CALLER_RESET, UPSTREAM_RESET, CALLER_TLS_FAILED, or IDLE_TIMEOUT.
 */
export function firstWord(
  caller: Channel,
  upstream: Channel,
  { limits, place, forbidden }: Waiting,
): Promise<FirstWord> {
  const opening = new Opening(caller.budget)
  let fromUpstream: Buffer | null = null
  const { occupant } = place
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      clearTimeout(timer)
      place.occupant = occupant
      opening.release()
    }
    const settle = (word: FirstWord): void => {
      leave()
      caller.hold()
      upstream.hold()
      resolve(word)
    }
    const fail = (failure: MeshError): void => {
      leave()
      reject(failure)
    }
    const settleBySaid = (said: Said): void => {
      if (said.kind === 'hello') settle({ hello: said })
      else settle({ hello: null, ahead: { fromCaller: said.kind === 'other' ? said.bytes : null, fromUpstream } })
    }
    const after = (ms: number, code: 'IDLE_TIMEOUT' | 'CALLER_TLS_FAILED', why: string): NodeJS.Timeout =>
      setTimeout(() => fail(new MeshError(code, why)), ms)
    let timer = after(limits.idleMs, 'IDLE_TIMEOUT', 'no byte passed for too long')
    place.occupant = { ...occupant, forbidden, stop: fail }
    caller.sink = {
      ...losing('CALLER_RESET', fail),
      bytes: (arena, from, to) => {
        const isFirst = !opening.begun
        const said = taken(opening, arena.subarray(from, to), fail)
        if (said === 'failed') return
        if (said !== null) return settleBySaid(said)
        if (!isFirst) return
        clearTimeout(timer)
        timer = after(limits.helloMs, 'CALLER_TLS_FAILED', `no whole ClientHello in ${limits.helloMs} ms`)
      },
      end: () => settleBySaid(opening.end()),
    }
    upstream.sink = {
      ...losing('UPSTREAM_RESET', fail),
      bytes: (arena, from, to) => {
        const bytes = Buffer.from(arena.subarray(from, to))
        fromUpstream = fromUpstream === null ? bytes : Buffer.concat([fromUpstream, bytes])
        upstream.hold()
        if (!opening.begun) settle({ hello: null, ahead: { fromCaller: null, fromUpstream } })
      },
      end: () => settleBySaid(opening.end()),
    }
    caller.resume()
    upstream.resume()
  })
}

function losing(
  code: 'CALLER_RESET' | 'UPSTREAM_RESET',
  fail: (failure: MeshError) => void,
): Pick<ChannelSink, 'drained' | 'closed' | 'lost'> {
  return {
    drained: () => {},
    closed: () => fail(new MeshError(code, 'it ended before a byte was passed on')),
    lost: (cause) => fail(lossOf(code, cause.message, cause)),
  }
}
