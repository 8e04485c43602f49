// Tokens of service accounts: signed and read with a key that lives as long as the API. No store, no http.
// Source: RFC 7515 (JWS compact form), RFC 7519 (claims); KEP-1205 "Bound Service Account Tokens", KEP-4193 (node, jti).
import { createHash, generateKeyPairSync, randomUUID, sign, verify } from 'node:crypto'
import { isRecord } from '../object.ts'
import type { KeyObject } from 'node:crypto'

/** Who signs the tokens, and the audience of the API itself. */
export const ISSUER = 'https://kubernetes.default.svc'
/** Longest text that is read as a token at all. */
export const TOKEN_LIMIT_CHARACTERS = 16 * 1024
const ALGORITHM = 'ES256'
// JWS wants the two numbers of a signature side by side, not in DER: RFC 7518, 3.4.
const ENCODING = 'ieee-p1363'

/** An object that a token is bound to: gone, or made anew, the token is no longer good. */
export interface Bound {
  readonly name: string
  readonly uid: string
}

export interface Binding {
  readonly namespace: string
  readonly serviceaccount: Bound
  readonly pod?: Bound
  /** The pod's node, once it is scheduled. */
  readonly node?: { readonly name: string; readonly uid?: string }
}

export interface Claims {
  readonly iss: string
  readonly sub: string
  readonly aud: readonly string[]
  /** Seconds since the epoch, as nbf and exp. */
  readonly iat: number
  readonly nbf: number
  readonly exp: number
  readonly jti: string
  readonly 'kubernetes.io': Binding
}

/** What a token is to say. */
export interface TokenOrder {
  readonly audiences: readonly string[]
  readonly expirationSeconds: number
  readonly binding: Binding
}

/** Why a text is no good token of ours. */
export class TokenError extends Error {}

export class Tokens {
  readonly #privateKey: KeyObject
  readonly #publicKey: KeyObject
  readonly #header: string
  readonly #now: () => number

  /** `now` is in ms since the epoch. */
  constructor(now: () => number = Date.now) {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    this.#privateKey = privateKey
    this.#publicKey = publicKey
    this.#now = now
    const kid = createHash('sha256')
      .update(publicKey.export({ type: 'spki', format: 'der' }))
      .digest('base64url')
    this.#header = encoded({ alg: ALGORITHM, kid })
  }

  /** A new token and what it claims. */
  issue({ audiences, expirationSeconds, binding }: TokenOrder): { token: string; claims: Claims } {
    const iat = Math.floor(this.#now() / 1000)
    const sub = accountName(binding.namespace, binding.serviceaccount.name)
    const times = { iat, nbf: iat, exp: iat + expirationSeconds }
    const claims: Claims = { iss: ISSUER, sub, aud: audiences, ...times, jti: randomUUID(), 'kubernetes.io': binding }
    const signed = `${this.#header}.${encoded(claims)}`
    const key = { key: this.#privateKey, dsaEncoding: ENCODING } as const
    return { token: `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`, claims }
  }

  /** The claims of a token that this key signed and whose time is now. Throws TokenError. Audiences are not looked at. */
  read(token: string): Claims {
    const parts = token.length > TOKEN_LIMIT_CHARACTERS ? [] : token.split('.')
    const [header, body = '', signature = ''] = parts
    if (parts.length !== 3) throw new TokenError('invalid bearer token')
    // The header is ours to the letter, or the token is not ours: no other algorithm or key is ever considered.
    const key = { key: this.#publicKey, dsaEncoding: ENCODING } as const
    const isOurs =
      header === this.#header &&
      verify('sha256', Buffer.from(`${header}.${body}`), key, Buffer.from(signature, 'base64url'))
    if (!isOurs) throw new TokenError('invalid bearer token')
    const claims = decoded(body)
    const seconds = this.#now() / 1000
    if (seconds < claims.nbf) throw new TokenError('service account token is not valid yet')
    if (seconds >= claims.exp) throw new TokenError('service account token has expired')
    return claims
  }
}

/** The user name of a service account. */
export function accountName(namespace: string, name: string): string {
  return `system:serviceaccount:${namespace}:${name}`
}

/** The groups of every service account of a namespace. */
export function accountGroups(namespace: string): string[] {
  return ['system:serviceaccounts', `system:serviceaccounts:${namespace}`]
}

function encoded(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

// What stands under our signature is what we wrote.
function decoded(body: string): Claims {
  const claims: unknown = JSON.parse(Buffer.from(body, 'base64url').toString('utf8'))
  if (!isRecord(claims)) throw new TokenError('invalid bearer token')
  return claims as Claims
}
