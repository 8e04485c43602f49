// What becomes of a request whose tokens were judged: what its application gets, or what its caller reads.

import type { RequestFacts } from '../http/match.ts'
import { textOf, UNCHANGEABLE } from '../http/header-changes.ts'
import type { Field, HeaderChanges } from '../policy.ts'
import { claimAt, claimText, isSpokenOf } from './claims.ts'
import type { Token } from './request-authentication.ts'
import { FAULTS, type Fault, type Unverified } from './token.ts'
import type { Authenticated, Unauthenticated } from './token-findings.ts'
import { type Found, type Lookout, type Ranked, withoutCookies, withoutParameters } from './tokens-in.ts'

/** A token that was found good, where it stands, and the rule by which it is. */
export interface Good {
  readonly found: Found
  readonly by: Ranked
  readonly token: Unverified
}

/** A rule that demands a token, while all were found good by others; and those that it might be content with. */
export interface Lacking {
  readonly by: Ranked
  readonly among: readonly Good[]
}

/**
 * Rules that still demand a token (Istio JWTRule `presence: REQUIRED`: the rule's own must be there and good, whatever others
 * are). A token is good by one rule; where it stands, a second may have to say the same of it.
 */
export function lackingOf({ required }: Lookout, good: readonly Good[]): readonly Lacking[] {
  return required
    .filter((ranked) => !good.some(({ by }) => by === ranked))
    .map((by) => {
      const among = good.filter(({ found, token }) => found.place.rules.includes(by) && isSpokenOf(token, by.rule))
      return { by, among }
    })
}

const BARE = new WeakMap<Lookout, Authenticated>()

/** Without any token. What rules let applications have is theirs to say: no caller says it. */
export function withoutTokens(lookout: Lookout): Authenticated {
  let bare = BARE.get(lookout)
  if (bare === undefined)
    BARE.set(lookout, (bare = { tokens: [], changes: changesOf(lookout.outputs, []), target: null }))
  return bare
}

/** With tokens that are all good. */
export function withTokens(
  lookout: Lookout,
  good: readonly Good[],
  request: Pick<RequestFacts, 'header' | 'target'>,
): Authenticated {
  const inOrder = good.toSorted((one, other) => one.by.rank - other.by.rank)
  const spent = { header: new Set<string>(), parameter: new Set<string>(), cookie: new Set<string>() }
  for (const { found, by } of inOrder) {
    if (!by.rule.forwardOriginalToken) spent[found.place.kind].add(found.place.name)
  }
  const remove = new Set([...lookout.outputs, ...spent.header])
  const given = tokensOnce(inOrder).flatMap(givenBy)
  if (spent.cookie.size > 0 && !remove.has('cookie')) {
    remove.add('cookie')
    const rest = withoutCookies(request.header('cookie') ?? '', spent.cookie)
    if (rest !== '') given.push(['cookie', textOf(rest)])
  }
  return {
    tokens: tokensOnce(inOrder).map(tokenOf),
    changes: changesOf([...remove], given),
    target: spent.parameter.size === 0 ? null : withoutParameters(request.target, spent.parameter),
  }
}

/** What stands at several places is one token. */
function tokensOnce(good: readonly Good[]): readonly Good[] {
  return good.filter(({ found, by }, index) => {
    return good.findIndex((one) => one.found.text === found.text && one.by.rule === by.rule) === index
  })
}

function tokenOf({ token, by }: Good): Token {
  return { issuer: token.issuer, subject: token.subject, claims: token.claims, rule: by.rule }
}

/** The fields that a rule lets the application have of a token. */
function givenBy({ token, by: { rule } }: Good): readonly Field[] {
  const given: Field[] = []
  if (rule.outputPayloadToHeader !== null) given.push([rule.outputPayloadToHeader.toLowerCase(), token.payload])
  for (const { header, claim } of rule.outputClaimToHeaders) {
    const text = claimText(claimAt(token.claims, claim))
    if (text !== null) given.push([header.toLowerCase(), text])
  }
  return given
}

/** A field that several tokens give has a line of each. */
function changesOf(remove: readonly string[], given: readonly Field[]): HeaderChanges | null {
  const set: Field[] = []
  const add: Field[] = []
  for (const field of given) {
    const [name] = field
    if (!UNCHANGEABLE.has(name)) (set.some((one) => one[0] === name) ? add : set).push(field)
  }
  return remove.length === 0 && set.length === 0 ? null : { remove, set, add }
}

/** What its caller gets (RFC 6750 §3): 403 where the token is sound and for others, 503 where nobody could look at it. */
export function refused(fault: Fault, request: Pick<RequestFacts, 'scheme' | 'authority' | 'target'>): Unauthenticated {
  if (fault === FAULTS.busy) return { status: 503, reason: fault, challenge: null }
  const error = fault === FAULTS.missing ? '' : ', error="invalid_token"'
  const challenge = `Bearer realm="${realmOf(request)}"${error}`
  return { status: fault === FAULTS.audience ? 403 : 401, reason: fault, challenge }
}

/** Characters of a path that a realm repeats, as with Envoy. */
const REALM_PATH = 256

/** What was asked for, less its query: tokens may stand there. */
function realmOf({ scheme, authority, target }: Pick<RequestFacts, 'scheme' | 'authority' | 'target'>): string {
  const [path = ''] = target.split('?', 1)
  return `${scheme}://${authority}${path.slice(0, REALM_PATH)}`.replace(/[^\x21\x23-\x5b\x5d-\x7e]/g, '')
}
