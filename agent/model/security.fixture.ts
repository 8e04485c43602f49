// Policies of who may call what, and whose tokens are believed, as tests wish them.

import type { JwtRule, RequestAuthentication } from './authentication/request-authentication.ts'
import type { AuthorizationPolicy } from './authorization/policy.ts'

/** Without a selector for all of its namespace; without rules it matches nothing. */
export interface AuthorizationPolicyWish extends Partial<Omit<AuthorizationPolicy, 'ref'>> {
  readonly name?: string
  readonly namespace?: string
}

/** Likewise. Tokens are looked for where they are looked for by default. */
export interface RequestAuthenticationWish extends Partial<Omit<RequestAuthentication, 'ref' | 'rules'>> {
  readonly name?: string
  readonly namespace?: string
  readonly rules?: readonly (Partial<JwtRule> & Pick<JwtRule, 'issuer' | 'keys'>)[]
}

/** A rule that says no more than it must. */
export const NO_JWT_RULE: Omit<JwtRule, 'issuer' | 'keys'> = {
  audiences: [],
  timeoutMs: 5000,
  fromHeaders: [],
  fromParams: [],
  fromCookies: [],
  forwardOriginalToken: false,
  outputPayloadToHeader: null,
  outputClaimToHeaders: [],
  spaceDelimitedClaims: [],
  required: false,
}

/** `index`: of how many the world has already; each is younger than the one before. */
export function authorizationPolicyOf(wish: AuthorizationPolicyWish, index: number): AuthorizationPolicy {
  const { namespace = 'default', name = `ap-${index + 1}` } = wish
  return {
    ...{ action: 'ALLOW', provider: '', dryRun: false, selector: null, targets: null, rules: [], createdMs: index },
    ...wish,
    ref: { kind: 'AuthorizationPolicy', namespace, name },
  }
}

export function requestAuthenticationOf(wish: RequestAuthenticationWish, index: number): RequestAuthentication {
  const { namespace = 'default', name = `ra-${index + 1}`, rules = [] } = wish
  return {
    ...{ selector: null, targets: null, createdMs: index },
    ...wish,
    ref: { kind: 'RequestAuthentication', namespace, name },
    rules: rules.map((rule) => ({ ...NO_JWT_RULE, ...rule })),
  }
}
