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
class Opening {
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

/** Waiting for first bytes: its timer, its place in the register, and what it gathers. It ends once, whoever ends it. */
class Wait {
  readonly #opening: Opening
  readonly #place: Place
  readonly #occupant: Occupant
  readonly #reject: (failure: MeshError) => void
  #timer: NodeJS.Timeout | null = null
  #isOver = false

  constructor(budget: Budget, place: Place, reject: (failure: MeshError) => void) {
    this.#opening = new Opening(budget)
    this.#place = place
    this.#occupant = place.occupant
    this.#reject = reject
  }

  /** Whether something has been said. */
  get begun(): boolean {
    return this.#opening.begun
  }

  /** What may end it beside the channels. */
  occupy(by: Partial<Pick<Occupant, 'forbidden' | 'drain'>>): void {
    this.#place.occupant = { ...this.#occupant, stop: (reason) => this.fail(reason), ...by }
  }

  /** Does this in place of what was to be done, after so long. */
  after(ms: number, work: () => void): void {
    this.stopTimer()
    this.#timer = setTimeout(work, ms)
  }

  stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  /** Takes more of the caller's bytes; null: it goes on, and what has begun like a ClientHello has so long to be whole. */
  take(bytes: Uint8Array, helloMs: number): Said | null {
    const isFirst = !this.begun
    try {
      const said = this.#opening.take(bytes)
      if (said === null && isFirst) this.after(helloMs, () => this.late(helloMs))
      return said
    } catch (thrown) {
      this.fail(failureOf(thrown))
      return null
    }
  }

  /** What it comes to where the caller sends no more. */
  said(): Said {
    return this.#opening.end()
  }

  late(helloMs: number): void {
    this.fail(new MeshError('CALLER_TLS_FAILED', `no whole ClientHello in ${helloMs} ms`))
  }

  fail(failure: MeshError): void {
    if (this.end()) this.#reject(failure)
  }

  /** Ends it; false where it had ended before. */
  end(): boolean {
    if (this.#isOver) return false
    this.#isOver = true
    this.stopTimer()
    this.#place.occupant = this.#occupant
    this.#opening.release()
    return true
  }
}

/** Reads until it is plain how the caller begins; the channel is held then. `silenceMs` null: nothing but TLS is waited for. */
export function listen(
  channel: Channel,
  { silenceMs, helloMs }: { readonly silenceMs: number | null; readonly helloMs: number },
  place: Place,
): Promise<Said> {
  return new Promise((resolve, reject) => {
    const wait = new Wait(channel.budget, place, reject)
    const settle = (said: Said): void => {
      if (!wait.end()) return
      channel.hold()
      resolve(said)
    }
    const silent = (): void => settle({ kind: 'silence', ended: false })
    if (silenceMs === null) wait.after(helloMs, () => wait.late(helloMs))
    else wait.after(silenceMs, silent)
    wait.occupy({
      // nobody waits for a caller that may never say anything: the steps behind this one know how to end it
      drain: () => {
        if (silenceMs !== null && !wait.begun) silent()
      },
    })
    channel.sink = {
      ...losing('CALLER_RESET', wait),
      bytes: (arena, from, to) => {
        const said = wait.take(arena.subarray(from, to), helloMs)
        if (said !== null) settle(said)
      },
      end: () => settle(wait.said()),
    }
    channel.resume()
  })
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
  let fromUpstream: Buffer | null = null
  return new Promise((resolve, reject) => {
    const wait = new Wait(caller.budget, place, reject)
    const settle = (said: Said): void => {
      if (!wait.end()) return
      caller.hold()
      upstream.hold()
      if (said.kind === 'hello') resolve({ hello: said })
      else resolve({ hello: null, ahead: { fromCaller: said.kind === 'other' ? said.bytes : null, fromUpstream } })
    }
    wait.after(limits.idleMs, () => wait.fail(new MeshError('IDLE_TIMEOUT', 'no byte passed for too long')))
    wait.occupy({ forbidden })
    caller.sink = {
      ...losing('CALLER_RESET', wait),
      bytes: (arena, from, to) => {
        const said = wait.take(arena.subarray(from, to), limits.helloMs)
        if (said !== null) settle(said)
      },
      end: () => settle(wait.said()),
    }
    upstream.sink = {
      ...losing('UPSTREAM_RESET', wait),
      bytes: (arena, from, to) => {
        const bytes = Buffer.from(arena.subarray(from, to))
        fromUpstream = fromUpstream === null ? bytes : Buffer.concat([fromUpstream, bytes])
        upstream.hold()
        if (!wait.begun) settle(wait.said())
      },
      end: () => settle(wait.said()),
    }
    caller.resume()
    upstream.resume()
  })
}

function losing(code: 'CALLER_RESET' | 'UPSTREAM_RESET', wait: Wait): Pick<ChannelSink, 'drained' | 'closed' | 'lost'> {
  return {
    drained: () => {},
    closed: () => wait.fail(new MeshError(code, 'it ended before a byte was passed on')),
    lost: (cause) => wait.fail(lossOf(code, cause.message, cause)),
  }
}
