// Tokens whose signature was found good, by their text: the latest that were used, so many and so many bytes.

import type { Unverified } from '../model/authentication/token.ts'
import type { Key } from './plane/key-sets.ts'

/** A token, and the key that has signed it. */
export interface Verified {
  readonly token: Unverified
  readonly key: Key
}

/** What an entry takes beside its texts, and how many bytes a character of the token takes: itself, and what was read of it. */
const ENTRY_BYTES = 1024
const BYTES_A_CHARACTER = 4

/** Only what is good is kept: who sends bad tokens, however many, drives no good one out. */
export class VerifiedTokens {
  /** The least recently used first. */
  readonly #kept = new Map<string, Verified>()
  readonly #most: number
  readonly #bytesMost: number
  #bytes = 0

  constructor(bounds: { readonly tokenCacheEntries: number; readonly tokenCacheBytes: number }) {
    this.#most = bounds.tokenCacheEntries
    this.#bytesMost = bounds.tokenCacheBytes
  }

  get size(): number {
    return this.#kept.size
  }

  get bytes(): number {
    return this.#bytes
  }

  get(text: string): Verified | undefined {
    const kept = this.#kept.get(text)
    if (kept !== undefined && (this.#kept.size > this.#most / 2 || this.#bytes > this.#bytesMost / 2)) {
      this.#kept.delete(text)
      this.#kept.set(text, kept)
    }
    return kept
  }

  put(text: string, { token, key }: Verified): void {
    const bytes = sizeOf(text)
    if (this.#most === 0 || bytes > this.#bytesMost) return
    this.drop(text)
    this.#kept.set(copy(text), { token: { ...token, payload: copy(token.payload) }, key })
    this.#bytes += bytes
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= this.#most && this.#bytes <= this.#bytesMost) return
      this.drop(oldest)
    }
  }

  drop(text: string): void {
    if (this.#kept.delete(text)) this.#bytes -= sizeOf(text)
  }
}

function sizeOf(text: string): number {
  return ENTRY_BYTES + text.length * BYTES_A_CHARACTER
}

/** Not a part that keeps the whole of what it was cut from. */
function copy(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1')
}
