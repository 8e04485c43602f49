// The keys that tokens are signed by, as this worker has them from the control side.

import { importJWK } from 'jose'
import { algorithmsOf, type PublicKey, readKeySet } from '../../model/authentication/key-set.ts'
import type { Unverified } from '../../model/authentication/token.ts'

/** What the control side tells of one set of keys. */
export type KeySet =
  /** `name` as keySetOf() has it; `jwks`: RFC 7517 §5, as text that was read and found sound. */
  | { readonly name: string; readonly jwks: string }
  /** It cannot be had (yet): no token is good by it. What was had before stays until it is too old. */
  | { readonly name: string; readonly failure: string }

/** What verifies a signature. */
export type Imported = Awaited<ReturnType<typeof importJWK>>

/** One key, made ready for an algorithm once a token asks for it. */
export class Key {
  readonly id: string | null
  readonly #of: PublicKey
  readonly #algorithms: ReadonlySet<string>
  readonly #ready = new Map<string, Promise<Imported>>()

  constructor(key: PublicKey) {
    this.#of = key
    this.id = key.kid ?? null
    this.#algorithms = new Set(algorithmsOf(key))
  }

  /** Whether a token may be signed with it: what names no key may be by any, as may what a key without a name has signed. */
  mayVerify({ algorithm, keyId }: Pick<Unverified, 'algorithm' | 'keyId'>): boolean {
    return this.#algorithms.has(algorithm) && (keyId === null || this.id === null || this.id === keyId)
  }

  /** Rejects where the key cannot be used by that algorithm. */
  ready(algorithm: string): Promise<Imported> {
    let ready = this.#ready.get(algorithm)
    if (ready === undefined) this.#ready.set(algorithm, (ready = importJWK({ ...this.#of }, algorithm)))
    return ready
  }
}

/** Why a key of a set is none that tokens can be verified by; null: it is one. By the first algorithm that fits it. */
export async function faultIn(key: PublicKey): Promise<string | null> {
  try {
    await importJWK({ ...key }, algorithmsOf(key)[0])
    return isLong(key) ? null : 'it is shorter than 2048 bits'
  } catch (error) {
    return (error as Error).message
  }
}

/** RFC 7518 §3.3, §3.5: shorter keys of RSA must not be used. */
function isLong({ kty, n = '' }: PublicKey): boolean {
  if (kty !== 'RSA') return true
  const modulus = Buffer.from(n, 'base64url')
  const from = modulus.findIndex((byte) => byte !== 0)
  return from >= 0 && (modulus.length - from) * 8 - Math.clz32(modulus[from] as number) + 24 >= 2048
}

/** A set in force; null keys: it cannot be had. */
export interface HeldSet {
  readonly keys: readonly Key[] | null
  /** As it was told. */
  readonly text: string
  readonly byText: ReadonlyMap<string, Key>
  /** When its issuer was last asked for newer keys because of a token, in milliseconds of any clock; null: never. */
  askedMs: number | null
}

/** Sets of keys by name. */
export class KeySets {
  readonly #held = new Map<string, HeldSet>()
  /** Those of which nothing has been heard yet, by those who wait. */
  readonly #expected = new Map<string, { readonly heard: Promise<void>; readonly over: () => void }>()

  /** From now on it is this. A key that was there before is the same key: what it has verified stays verified. */
  set(told: KeySet): void {
    const before = this.#held.get(told.name)
    const text = 'jwks' in told ? told.jwks : ''
    if (before === undefined || before.text !== text) this.#held.set(told.name, heldOf(text, before))
    this.#expected.get(told.name)?.over()
  }

  /** No rule asks for it any more. */
  forget(name: string): void {
    this.#held.delete(name)
    this.#expected.get(name)?.over()
  }

  get(name: string): HeldSet | undefined {
    return this.#held.get(name)
  }

  /**
   * Resolves with the first word of a set, or `withinMs` after who asked first. Null: nobody waits any more, for it has not
   * come in that time.
   */
  expect(name: string, withinMs: number): Promise<void> | null {
    const known = this.#expected.get(name)
    if (known !== undefined) return known.heard === OVER ? null : known.heard
    if (this.#expected.size >= EXPECTED_MOST) return null
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(() => {
      this.#expected.set(name, { heard: OVER, over: () => void this.#expected.delete(name) })
      resolve()
    }, withinMs)
    const over = (): void => {
      clearTimeout(timer)
      this.#expected.delete(name)
      resolve()
    }
    this.#expected.set(name, { heard: promise, over })
    return promise
  }
}

/** Sets of which nothing has been heard, that are waited for at once. */
const EXPECTED_MOST = 1000

const OVER = Promise.resolve()

function heldOf(text: string, before: HeldSet | undefined): HeldSet {
  const askedMs = before?.askedMs ?? null
  const read = text === '' ? null : readKeySet(text, true) // who told it has seen to secrets
  if (read === null || read instanceof Error) return { keys: null, text, byText: new Map(), askedMs }
  const byText = new Map<string, Key>()
  for (const key of read.keys) {
    const own = JSON.stringify(key)
    byText.set(own, before?.byText.get(own) ?? new Key(key))
  }
  return { keys: [...byText.values()], text, byText, askedMs }
}
