// Issuers for tests: keys of each kind, and tokens that they sign.

import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import type { JwtRule } from '../model/authentication/request-authentication.ts'
import { NO_JWT_RULE } from '../model/security.fixture.ts'
import type { RequestFacts } from '../model/http/match.ts'

export const ISSUER = 'https://idp.example'
/** When all tokens are judged, in milliseconds since 1970. */
export const NOW_MS = Date.UTC(2030, 0, 1)
export const NOW = NOW_MS / 1000

export interface Signer {
  /** The public key. */
  readonly jwk: JWK
  /** Signs claims; header fields besides `alg` and `kid` are `header`'s. */
  sign(claims?: Readonly<Record<string, unknown>>, header?: Readonly<Record<string, unknown>>): Promise<string>
}

/** A fresh key of an algorithm, and its signatures. `kid` null: it has no name. */
export async function signer(alg: string, kid: string | null = `key-${alg}`): Promise<Signer> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true })
  const named = kid === null ? {} : { kid }
  const jwk = { ...(await exportJWK(publicKey)), alg, ...named }
  return {
    jwk,
    sign: (claims = {}, header = {}) =>
      new SignJWT({ iss: ISSUER, sub: 'ann', exp: NOW + 600, ...claims })
        .setProtectedHeader({ alg, ...named, ...header })
        .sign(privateKey),
  }
}

/** A set of keys as text. */
export function setOf(...signers: readonly Signer[]): string {
  return JSON.stringify({ keys: signers.map(({ jwk }) => jwk) })
}

export function jwtRule(wish: Partial<JwtRule> = {}): JwtRule {
  return { ...NO_JWT_RULE, issuer: ISSUER, keys: { kind: 'uri', uri: `${ISSUER}/keys` }, ...wish }
}

/** A request with these headers, a text or several lines of a name. */
export function requestWith(
  headers: Readonly<Record<string, string>> = {},
  target = '/',
): RequestFacts & { readonly scheme: string } {
  return {
    ...{ method: 'GET', target, authority: 'shop.example', scheme: 'http', port: 80 },
    header: (name) => headers[name],
  }
}

export function bearing(token: string): RequestFacts {
  return requestWith({ authorization: `Bearer ${token}` })
}
