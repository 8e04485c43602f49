// What becomes of a request's tokens, as far as that can be told without verifying a signature: by the very functions that
// judge them on the way.

import type { Arriving } from '../authorization/facts.ts'
import { faultInClaims, isSpokenOf } from '../authentication/claims.ts'
import { type Good, lackingOf, refused, withoutTokens, withTokens } from '../authentication/judged.ts'
import type { JwtRule } from '../authentication/request-authentication.ts'
import { FAULTS, type Fault, readToken } from '../authentication/token.ts'
import type { Authenticated, Unauthenticated } from '../authentication/token-findings.ts'
import { type Found, lookoutOf, type Lookout, type Ranked, TOKENS_MOST, tokensIn } from '../authentication/tokens-in.ts'
import { changedField } from '../http/arrival.ts'
import { placeWords } from './authorization-words.ts'

export interface TokenLook {
  /** Where tokens are looked for, and of whom. */
  readonly places: readonly string[]
  readonly issuers: readonly string[]
  /** Whether a request without any is refused. */
  readonly required: boolean
  /** How many stand there. Of each all is judged but its signature: that is taken to be good. */
  readonly found: number
  /** Why the request is refused for them, before any policy is asked; null: it is not. */
  readonly refused: { readonly status: number; readonly reason: string } | null
}

/** What is told, and the request as policies see it then: with its tokens, and what rules make of its head. */
export function lookAtTokens(
  rules: readonly JwtRule[],
  request: Arriving,
  nowMs: number,
): { readonly look: TokenLook; readonly request: Arriving } {
  const lookout = lookoutOf(rules)
  const found = tokensIn(lookout, request)
  const judged = judge(lookout, found, { request, nowMs })
  const look = {
    places: lookout.places.map(placeWords),
    issuers: [...new Set(rules.map(({ issuer }) => issuer))],
    required: lookout.required.length > 0,
    found: found.length,
  }
  if ('reason' in judged) {
    const { status, reason } = judged
    return { look: { ...look, refused: { status, reason } }, request }
  }
  return { look: { ...look, refused: null }, request: withJudged(request, judged) }
}

interface Asked {
  readonly request: Arriving
  readonly nowMs: number
}

function judge(lookout: Lookout, found: readonly Found[], { request, nowMs }: Asked): Authenticated | Unauthenticated {
  if (found.length === 0 && lookout.required.length === 0) return withoutTokens(lookout)
  if (found.length > TOKENS_MOST) return refused(FAULTS.tooMany, request)
  const findings = found.map((one) => judgeOne(one, one.place.rules, nowMs))
  const good = findings.filter((finding) => typeof finding !== 'string')
  const supplied = lackingOf(lookout, good).map(({ by, among }): Good | Fault => {
    const own = among.map((one) => judgeOne(one.found, [by], nowMs))
    return own.find((finding) => typeof finding !== 'string') ?? own[0] ?? FAULTS.missing
  })
  const fault = [...findings, ...supplied].find((finding) => typeof finding === 'string')
  if (fault !== undefined) return refused(fault, request)
  return withTokens(lookout, [...good, ...supplied.filter((finding) => typeof finding !== 'string')], request)
}

/** A token is good where one rule that looks at its place says so. */
function judgeOne(found: Found, rules: readonly Ranked[], nowMs: number): Good | Fault {
  const { text } = found
  const token = readToken(text, text.length)
  if (typeof token === 'string') return token
  let fault: Fault = FAULTS.issuer
  for (const by of rules.filter(({ rule }) => isSpokenOf(token, rule))) {
    const amiss = faultInClaims(token, by.rule, nowMs)
    if (amiss === null) return { found, by, token }
    if (fault === FAULTS.issuer) fault = amiss
  }
  return fault
}

function withJudged(request: Arriving, { tokens, changes, target }: Authenticated): Arriving {
  const made = changes === null ? [] : [changes]
  const header = (name: string): string | undefined => changedField(name, request.header(name), made)
  return { ...request, tokens, header, target: target ?? request.target }
}
