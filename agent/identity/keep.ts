// Keeps a certificate for each local identity: asks, renews early, and holds on to what is valid where that fails.
//
//     want ──kept and valid──▶ held ──half its life──▶ asking ──granted──▶ held
//       └─────────────────────────────────────────────▲  └──failed──▶ wait ──▶ asking

import { generateKeyPairSync } from 'node:crypto'
import { type Held, type HeldFolder, readHeld } from './held.ts'
import { renewAfterMs, retryAfterMs } from './renewal.ts'
import { makeRequest } from './request.ts'
import { leadsTo, readRoots, type Root } from './roots.ts'

/** Requests on their way at once: a node that starts asks for all its accounts. */
const ASKING_MOST = 8

/** A request was judged and denied, for the reason that the message gives. Other failures may pass by themselves. */
export class Denied extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'Denied'
  }
}

export interface KeepOptions {
  /**
   * Has a request signed: gives the certificate and what leads to a root. Bounded in time by whoever asks. Rejects with
   * Denied where that is the answer.
   */
  readonly ask: (requestPem: string) => Promise<string>
  readonly folder: Pick<HeldFolder, 'load' | 'save' | 'remove' | 'keepOnly'>
  /** Hears of each certificate that is held from now on. */
  readonly held: (held: Held) => void
  readonly clock: {
    /** Milliseconds since 1970. */
    nowMs(): number
    /** Calls once, after so long; what it returns calls that off. */
    after(ms: number, work: () => void): () => void
  }
  /** From 0 to 1. */
  readonly random: () => number
  readonly log: { warn(fields: object, message: string): void }
}

/** How it stands with one identity. */
export interface Standing {
  readonly uri: string
  /** When the certificate ends that is held; null: none is. */
  readonly notAfterMs: number | null
  /** Why the last request failed, or null. */
  readonly failure: string | null
  /** Whether it failed because it was denied. */
  readonly denied: boolean
}

interface Kept {
  readonly uri: string
  held: Held | null
  /** Where what is held leads to, of the roots in force. */
  leads: 'first' | 'other' | 'none'
  /** Whether it is being asked for, or waits for its turn. */
  isAsked: boolean
  failures: number
  failure: string | null
  denied: boolean
  /** Calls off what is to be done next. */
  callOff: () => void
}

/** The identities of a node. */
export class Keeper {
  readonly #options: KeepOptions
  readonly #kept = new Map<string, Kept>()
  readonly #waiting: Kept[] = []
  #asking = 0
  #hasBegun = false
  /** What peers believe, the one by which is signed first; null while nobody has said. */
  #roots: readonly Root[] | null = null

  constructor(options: KeepOptions) {
    this.#options = options
  }

  /** These identities and no others. The keys of those that are not wanted any more are forgotten. */
  want(uris: ReadonlySet<string>): void {
    if (!this.#hasBegun) this.#clear(uris)
    this.#hasBegun = true
    for (const kept of this.#kept.values()) if (!uris.has(kept.uri)) this.#forget(kept)
    for (const uri of uris) if (!this.#kept.has(uri)) this.#begin(uri)
  }

  /**
   * These roots are in force from now on, as PEM, the one by which is signed first. What was issued under another is asked
   * for anew soon; what leads to none of them is used no more. Throws where the text cannot be read, and keeps the last.
   */
  roots(pem: string): void {
    this.#roots = readRoots(pem)
    for (const kept of this.#kept.values()) {
      if (kept.held === null) continue
      kept.leads = this.#leads(kept.held)
      if (kept.isAsked || kept.failures > 0) continue // the next one is on its way, or soon will be
      kept.callOff()
      if (kept.leads === 'none') this.#queue(kept)
      else this.#await(kept, kept.held)
    }
  }

  /** What is held for an identity and still valid, or null. */
  get(uri: string): Held | null {
    const { held = null, leads } = this.#kept.get(uri) ?? {}
    return held !== null && held.notAfterMs > this.#options.clock.nowMs() && leads !== 'none' ? held : null
  }

  /** Of each identity that is wanted. */
  standings(): readonly Standing[] {
    return [...this.#kept.values()].map(({ uri, failure, denied }) => {
      return { uri, notAfterMs: this.get(uri)?.notAfterMs ?? null, failure, denied }
    })
  }

  /** Asks for nothing any more; what is held stays, also in the folder. */
  stop(): void {
    for (const kept of this.#kept.values()) kept.callOff()
    this.#kept.clear()
  }

  #begin(uri: string): void {
    const { folder, clock } = this.#options
    const nothing = { held: null, leads: 'none', isAsked: false, failures: 0, failure: null, denied: false } as const
    const kept: Kept = { ...nothing, uri, callOff: () => {} }
    this.#kept.set(uri, kept)
    const known = folder.load(uri, clock.nowMs())
    if (known === null || this.#leads(known) === 'none') this.#queue(kept)
    else this.#hold(kept, known)
  }

  #forget(kept: Kept): void {
    kept.callOff()
    this.#kept.delete(kept.uri)
    this.#options.folder.remove(kept.uri)
  }

  #isWanted(kept: Kept): boolean {
    return this.#kept.get(kept.uri) === kept
  }

  #queue(kept: Kept): void {
    kept.isAsked = true
    this.#waiting.push(kept)
    this.#goOn()
  }

  #goOn(): void {
    while (this.#asking < ASKING_MOST) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      if (!this.#isWanted(next)) continue
      this.#asking++
      void this.#renew(next).finally(() => {
        this.#asking--
        this.#goOn()
      })
    }
  }

  /** Asks for a certificate on a key of its own. Never rejects. */
  async #renew(kept: Kept): Promise<void> {
    const { ask, clock, log } = this.#options
    const { uri } = kept
    try {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      const certificatePem = await ask(makeRequest({ privateKey, uri }))
      const privateKeyPem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
      const held = readHeld(uri, certificatePem, privateKeyPem, clock.nowMs())
      if (!this.#isWanted(kept)) return
      if (this.#leads(held) === 'none') throw new Error('the certificate leads to none of the roots in force')
      kept.failures = 0
      kept.failure = null
      kept.denied = false
      this.#save(held)
      this.#hold(kept, held)
    } catch (error) {
      if (!this.#isWanted(kept)) return
      kept.isAsked = false
      kept.failure = (error as Error).message
      kept.denied = error instanceof Denied
      const waitMs = retryAfterMs(++kept.failures)
      log.warn({ uri, reason: kept.failure, waitMs, held: this.get(uri) !== null }, 'no certificate')
      kept.callOff = clock.after(waitMs, () => this.#queue(kept))
    }
  }

  #clear(uris: ReadonlySet<string>): void {
    try {
      this.#options.folder.keepOnly(uris)
    } catch (error) {
      this.#options.log.warn({ reason: (error as Error).message }, 'old certificates not removed')
    }
  }

  /** Without its copy it serves all the same, until the agent ends. */
  #save(held: Held): void {
    try {
      this.#options.folder.save(held)
    } catch (error) {
      this.#options.log.warn({ uri: held.uri, reason: (error as Error).message }, 'certificate not kept')
    }
  }

  #hold(kept: Kept, held: Held): void {
    kept.held = held
    kept.leads = this.#leads(held)
    kept.isAsked = false
    this.#await(kept, held)
    this.#options.held(held)
  }

  /** Asks for the next certificate when it is time. */
  #await(kept: Kept, held: Held): void {
    const { clock, random } = this.#options
    const waitMs = renewAfterMs(held, kept.leads === 'other', { nowMs: clock.nowMs(), random: random() })
    kept.callOff = clock.after(waitMs, () => this.#queue(kept))
  }

  /** As leadsTo; while nobody has said what the roots are, it may be any. */
  #leads({ certificatePem }: Held): Kept['leads'] {
    try {
      return this.#roots === null ? 'first' : leadsTo(certificatePem, this.#roots)
    } catch {
      return 'none' // what follows the certificate itself is spoilt
    }
  }
}
