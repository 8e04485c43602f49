// Istio's RequestAuthentication in the mesh's own words, as plain values: whose tokens are believed.

import type { Aim } from '../authorization/policy.ts'

/** Where the keys of an issuer are. */
export type KeySource =
  /** A JSON Web Key Set (RFC 7517 §5), as text. */
  | { readonly kind: 'inline'; readonly jwks: string }
  | { readonly kind: 'uri'; readonly uri: string }
  /** Where the issuer's own configuration says (OpenID Connect Discovery §4: `…/.well-known/openid-configuration`). */
  | { readonly kind: 'discovered'; readonly issuer: string }

/** One entry of `jwtRules` (Istio JWTRule). */
export interface JwtRule {
  readonly issuer: string
  /** One of which a token must be for; empty: any will do. */
  readonly audiences: readonly string[]
  readonly keys: KeySource
  /** Milliseconds that fetching the keys may take. */
  readonly timeoutMs: number
  /** Header names are lower case. Where no place is given at all: `authorization` behind `Bearer `, and parameter `access_token`. */
  readonly fromHeaders: readonly { readonly name: string; readonly prefix: string }[]
  readonly fromParams: readonly string[]
  readonly fromCookies: readonly string[]
  /** Whether the token stays in the request. */
  readonly forwardOriginalToken: boolean
  /** Header that gets the payload, base64url; null: none does. Lower case. */
  readonly outputPayloadToHeader: string | null
  readonly outputClaimToHeaders: readonly { readonly header: string; readonly claim: string }[]
  /** Claims whose text is a list, with spaces between. */
  readonly spaceDelimitedClaims: readonly string[]
  /** Whether a request without a token is refused (presence: REQUIRED). */
  readonly required: boolean
}

/** Istio RequestAuthentication. */
export interface RequestAuthentication extends Aim {
  readonly rules: readonly JwtRule[]
}

/** A token that was found good. */
export interface Token {
  readonly issuer: string
  readonly subject: string | null
  /** Its whole payload. */
  readonly claims: Readonly<Record<string, unknown>>
  /** By which rule. */
  readonly rule: JwtRule
}

/** Names a set of keys: what is equal in all that it follows from has one name. */
export function keySetOf({ keys }: JwtRule): string {
  switch (keys.kind) {
    case 'inline':
      return `inline ${keys.jwks}`
    case 'uri':
      return `uri ${keys.uri}`
    case 'discovered':
      return `discovered ${keys.issuer}`
  }
}
