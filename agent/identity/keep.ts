// Keeps a certificate for each local identity: asks, renews early, and holds on to what is valid where that fails.
//
//     want ──kept and valid──▶ held ──half its life──▶ asking ──granted──▶ held
//       └─────────────────────────────────────────────▲  └──failed──▶ wait ──▶ asking

import { generateKeyPairSync } from 'node:crypto'
import { type Held, type HeldFolder, readHeld } from './held.ts'
import { renewAtMs, retryAfterMs } from './renewal.ts'
import { makeRequest } from './request.ts'

/** Requests on their way at once: a node that starts asks for all its accounts. */
const ASKING_MOST = 8

export interface KeepOptions {
  /** Has a request signed: gives the certificate and what leads to a root. Bounded in time by whoever asks. */
  readonly ask: (requestPem: string) => Promise<string>
  readonly folder: Pick<HeldFolder, 'load' | 'save' | 'remove'>
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
}

interface Kept {
  readonly uri: string
  held: Held | null
  failures: number
  failure: string | null
  /** Calls off what is to be done next. */
  callOff: () => void
}

/** The identities of a node. */
export class Keeper {
  readonly #options: KeepOptions
  readonly #kept = new Map<string, Kept>()
  readonly #waiting: Kept[] = []
  #asking = 0

  constructor(options: KeepOptions) {
    this.#options = options
  }

  /** These identities and no others. The keys of those that are not wanted any more are forgotten. */
  want(uris: ReadonlySet<string>): void {
    for (const kept of this.#kept.values()) if (!uris.has(kept.uri)) this.#forget(kept)
    for (const uri of uris) if (!this.#kept.has(uri)) this.#begin(uri)
  }

  /** What is held for an identity and still valid, or null. */
  get(uri: string): Held | null {
    const held = this.#kept.get(uri)?.held ?? null
    return held !== null && held.notAfterMs > this.#options.clock.nowMs() ? held : null
  }

  /** Of each identity that is wanted. */
  standings(): readonly Standing[] {
    return [...this.#kept.values()].map(({ uri, failure }) => {
      return { uri, notAfterMs: this.get(uri)?.notAfterMs ?? null, failure }
    })
  }

  /** Asks for nothing any more; what is held stays, also in the folder. */
  stop(): void {
    for (const kept of this.#kept.values()) kept.callOff()
    this.#kept.clear()
  }

  #begin(uri: string): void {
    const { folder, clock } = this.#options
    const kept: Kept = { uri, held: null, failures: 0, failure: null, callOff: () => {} }
    this.#kept.set(uri, kept)
    const known = folder.load(uri, clock.nowMs())
    if (known === null) this.#queue(kept)
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
      kept.failures = 0
      kept.failure = null
      this.#save(held)
      this.#hold(kept, held)
    } catch (error) {
      if (!this.#isWanted(kept)) return
      kept.failure = (error as Error).message
      const waitMs = retryAfterMs(++kept.failures)
      log.warn({ uri, reason: kept.failure, waitMs, held: this.get(uri) !== null }, 'no certificate')
      kept.callOff = clock.after(waitMs, () => this.#queue(kept))
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
    const { clock, random } = this.#options
    kept.held = held
    kept.callOff = clock.after(Math.max(0, renewAtMs(held, random()) - clock.nowMs()), () => this.#queue(kept))
    this.#options.held(held)
  }
}
