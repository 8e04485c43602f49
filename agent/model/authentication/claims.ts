// Whether what a token claims fits a rule, at a moment.

import type { JwtRule } from './request-authentication.ts'
import { FAULTS, type Fault, isObject, type Unverified } from './token.ts'

/** How far the clocks of issuer and node may be apart, in seconds (Envoy JwtProvider.clock_skew_seconds). */
export const CLOCK_SKEW_SECONDS = 60

/** Whether a rule speaks of a token: of its issuer, or of any where it names none (Envoy JwtProvider.issuer). */
export function isSpokenOf({ issuer }: Pick<Unverified, 'issuer'>, rule: Pick<JwtRule, 'issuer'>): boolean {
  return rule.issuer === '' || rule.issuer === issuer
}

/** What is wrong with a token that is of the rule's issuer, its signature aside; null: nothing. */
export function faultInClaims(token: Unverified, { audiences }: JwtRule, nowMs: number): Fault | null {
  const now = Math.floor(nowMs / 1000)
  if (token.notBefore !== null && now + CLOCK_SKEW_SECONDS < token.notBefore) return FAULTS.notYet
  if (token.expires !== null && now > token.expires + CLOCK_SKEW_SECONDS) return FAULTS.expired
  return isFor(token.audiences, audiences) ? null : FAULTS.audience
}

/** Whether one of its audiences is among those that are wanted; where none is wanted any will do. */
function isFor(audiences: readonly string[], wanted: readonly string[]): boolean {
  if (wanted.length === 0) return true
  const plain = wanted.map(plainAudience)
  return audiences.some((audience) => plain.includes(plainAudience(audience)))
}

/** Envoy compares audiences without `http://` or `https://` and without one slash at the end. */
function plainAudience(audience: string): string {
  const bare = audience.replace(/^https?:\/\//, '')
  return bare.endsWith('/') ? bare.slice(0, -1) : bare
}

/** A claim by its name, or by the names on the way to it with dots between; undefined where there is none. */
export function claimAt(claims: Readonly<Record<string, unknown>>, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name]
  let value: unknown = claims
  for (const step of name.split('.')) {
    if (!isObject(value) || !Object.hasOwn(value, step)) return undefined
    value = value[step]
  }
  return value
}

/** What a header gets of a claim (Istio ClaimToHeader): texts, whole numbers and booleans; null for all else. */
export function claimText(value: unknown): string | null {
  if (typeof value === 'string') return value === '' ? null : value
  if (typeof value === 'boolean' || Number.isSafeInteger(value)) return String(value)
  return null // a larger number is another one by now
}
