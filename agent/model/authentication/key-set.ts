// Sets of keys as issuers publish them (RFC 7517), and where an issuer says that its own is (OpenID Connect Discovery): read.

import { ALGORITHMS, isObject } from './token.ts'

/** Keys of one set; what is beyond is left out. */
export const KEYS_MOST = 100

/** One key that may verify (RFC 7517 §4, RFC 7518 §6): what is private of it is left out. */
export interface PublicKey {
  readonly kty: string
  readonly kid?: string
  readonly alg?: string
  readonly crv?: string
  readonly n?: string
  readonly e?: string
  readonly x?: string
  readonly y?: string
  readonly k?: string
}

/** The keys of a set, and why others of it do not count: those that nobody can use, and those that do not verify. */
export interface KeysRead {
  readonly keys: readonly PublicKey[]
  readonly dropped: readonly string[]
}

/** What a key of each kind is made of. */
const PARTS: Readonly<Record<string, readonly (keyof PublicKey)[]>> = {
  RSA: ['n', 'e'],
  EC: ['crv', 'x', 'y'],
  OKP: ['crv', 'x'],
  oct: ['k'],
}

/**
 * Reads a set. `mayBeSecret`: keys that verify what they sign (kty `oct`) count too. A key that cannot be used is left out;
 * an error says why, where the text is no set at all or no key of it is left.
 */
export function readKeySet(text: string, mayBeSecret: boolean): KeysRead | Error {
  let set: unknown
  try {
    set = JSON.parse(text)
  } catch {
    return new Error('it is no JSON')
  }
  if (!isObject(set) || !Array.isArray(set['keys']))
    return new Error('it is no JSON Web Key Set: it has no list `keys`')
  const keys: PublicKey[] = []
  const dropped: string[] = []
  const listed: readonly unknown[] = set['keys']
  for (const [index, one] of listed.slice(0, KEYS_MOST).entries()) {
    const key = readKey(one, mayBeSecret)
    if (typeof key === 'string') dropped.push(`keys[${index}]: ${key}`)
    else if (key !== null) keys.push(key)
  }
  if (listed.length > KEYS_MOST) dropped.push(`keys[${KEYS_MOST}]: more than ${KEYS_MOST} keys`)
  if (keys.length === 0) return new Error(['none of its keys verifies tokens', ...dropped].join('; '))
  return { keys, dropped }
}

/** The key, or why it cannot be used; null: it is for something else. */
function readKey(key: unknown, mayBeSecret: boolean): PublicKey | string | null {
  if (!isObject(key)) return 'is no key'
  const { kty, use, key_ops: operations, kid, alg } = key
  if (typeof kty !== 'string') return 'kty is missing'
  if (use !== undefined && use !== 'sig') return null
  if (Array.isArray(operations) && !operations.includes('verify') && kty !== 'oct') return null
  const parts = Object.hasOwn(PARTS, kty) ? PARTS[kty] : undefined
  if (parts === undefined) return `kty ${quoted(kty)} is not supported`
  if (kty === 'oct' && !mayBeSecret) return 'a symmetric key that others can fetch is no secret'
  if (kid !== undefined && typeof kid !== 'string') return 'kid is no text'
  if (alg !== undefined && typeof alg !== 'string') return 'alg is no text'
  const made: Record<string, string> = { kty, ...(kid ? { kid } : {}), ...(alg ? { alg } : {}) }
  for (const part of parts) {
    const value = key[part]
    if (typeof value !== 'string' || value === '') return `${part} is missing`
    made[part] = value
  }
  if (algorithmsOf(made as unknown as PublicKey).length === 0)
    return `no algorithm fits ${quoted(made['alg'] ?? made['crv'] ?? kty)}`
  return made as unknown as PublicKey
}

/** Algorithms that a key may verify by: its own, or all that take its kind. */
export function algorithmsOf({ kty, crv, alg }: Pick<PublicKey, 'kty' | 'crv' | 'alg'>): readonly string[] {
  return Object.entries(ALGORITHMS)
    .filter(([name, taken]) => taken.kty === kty && (taken.crv ?? crv) === crv && (alg === undefined || alg === name))
    .map(([name]) => name)
}

/** Where an issuer's configuration is (OpenID Connect Discovery §4.1). Null: its name is no URL. */
export function discoveryOf(issuer: string): string | null {
  const plain = issuer.endsWith('/') ? issuer.slice(0, -1) : issuer
  return /^https?:\/\/[^?#]+$/.test(plain) && URL.canParse(plain) ? `${plain}/.well-known/openid-configuration` : null
}

/** Where the keys are by an issuer's configuration (OpenID Connect Discovery §4.3), or why it does not say. */
export function keysByConfiguration(text: string, issuer: string): string | Error {
  let found: unknown
  try {
    found = JSON.parse(text)
  } catch {
    return new Error('the issuer’s configuration is no JSON')
  }
  const { issuer: own, jwks_uri: uri } = isObject(found) ? found : {}
  if (own !== issuer) return new Error('the issuer’s configuration is that of another issuer')
  if (typeof uri !== 'string' || !URL.canParse(uri)) return new Error('the issuer’s configuration has no jwks_uri')
  return uri
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 64))
}
