// Calls and policies for tests, by what is particular about them; what is not said is what a plain GET of a joined pod has.

import type { Token } from '../authentication/request-authentication.ts'
import { request } from '../request.fixture.ts'
import { NO_JWT_RULE } from '../security.fixture.ts'
import type { Arriving, Facts, Source } from './facts.ts'
import type { Attribute, AuthorizationPolicy, Condition, Rule } from './policy.ts'

type AttributeWish = Exclude<Attribute['kind'], 'request.header' | 'request.claim'> | Attribute

/** A condition by attribute, as it would stand in `when[0]`. */
export function where(
  attribute: AttributeWish,
  values: readonly string[],
  notValues: readonly string[] = [],
  field = 'when[0]',
): Condition {
  return {
    field,
    attribute: typeof attribute === 'string' ? { kind: attribute } : attribute,
    values,
    notValues,
  }
}

/** A rule; each entry of `from` and `to` of one condition. */
export function ruleOf(wish: { from?: Condition[]; to?: Condition[]; when?: Condition[] }): Rule {
  const { from = [], to = [], when = [] } = wish
  return { from: from.map((one) => [one]), to: to.map((one) => [one]), when }
}

/** A policy of namespace default. Each is older than one of a greater name. */
export function policyOf(
  name: string,
  wish: Partial<Omit<AuthorizationPolicy, 'ref'>> & Pick<AuthorizationPolicy, 'action'>,
): AuthorizationPolicy {
  return {
    ...{ createdMs: 0, selector: null, targets: null, provider: '', dryRun: false, rules: [] },
    ...wish,
    ref: { kind: 'AuthorizationPolicy', namespace: 'default', name },
  }
}

export interface CallWish extends Partial<Omit<Arriving, 'header' | 'tokens'>> {
  readonly source?: Partial<Source>
  readonly destination?: Partial<Facts['destination']>
  readonly serverName?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Payloads. */
  readonly tokens?: readonly Token['claims'][]
  readonly spaced?: readonly string[]
}

/** A request from account `web` of namespace `shop` at 10.244.0.1, to port 8080 of 10.244.0.2. */
export function call(wish: CallWish = {}): Facts {
  const { source, destination, serverName = null, tokens = [], spaced = [], remoteIp, ...asked } = wish
  const from = { ...WEB, ...source }
  return {
    source: from,
    destination: { ip: '10.244.0.2', port: 8080, ...destination },
    serverName,
    request: {
      ...request(asked),
      remoteIp: remoteIp ?? from.ip,
      tokens: tokens.map((claims) => tokenOf(claims, spaced)),
    },
  }
}

/** The same connection, and nobody reads it. */
export function opaque(facts: Facts): Facts {
  return { ...facts, request: null }
}

function tokenOf(claims: Token['claims'], spaceDelimitedClaims: readonly string[]): Token {
  const { iss, sub } = claims
  const issuer = typeof iss === 'string' ? iss : ''
  const rule = { ...NO_JWT_RULE, issuer, keys: { kind: 'inline', jwks: '' }, spaceDelimitedClaims } as const
  return { issuer, subject: typeof sub === 'string' ? sub : null, claims, rule }
}

export const WEB: Source = {
  principals: ['cluster.local/ns/shop/sa/web', 'old.example/ns/shop/sa/web'],
  trustDomains: ['cluster.local', 'old.example'],
  namespace: 'shop',
  serviceAccount: 'shop/web',
  ip: '10.244.0.1',
}

/** Nothing is proved of it. */
export const STRANGER: Source = {
  ...{ principals: [], trustDomains: [], namespace: null, serviceAccount: null },
  ip: '192.0.2.1',
}
