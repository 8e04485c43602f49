// What policies say of a call, straight from what is promised of them: no index, nothing kept, nothing compiled. For a pool
// of paths, hosts and values that tests draw from; slow, and simple enough to be right by reading it.

import type { Decision, MatchedRule } from './decision.ts'
import type { Facts } from './facts.ts'
import type { Action, AuthorizationPolicy, Condition, Rule } from './policy.ts'

/** Paths, with whatever else servers may take them for. */
export const PATHS: Readonly<Record<string, readonly string[]>> = {
  '/': [],
  '/admin': [],
  '/ADMIN': [],
  '/admin/users': [],
  '/public/a': [],
  '/public/a/b': [],
  '/%61dmin': ['/admin'],
  '//admin': ['/admin'],
  '/public/../admin': ['/admin'],
  '/public/..%2fadmin': ['/public/../admin', '/admin'],
  '/public/a%20b': ['/public/a b'],
  '/public/a;v=1': ['/public/a'],
  '/public/%2561': ['/public/%61', '/public/a'],
}

/** Authorities, with what they are as well, and with what a server may make of them besides. */
export const HOSTS: Readonly<Record<string, { readonly same: readonly string[]; readonly also: readonly string[] }>> = {
  'a.example': { same: ['a.example:80'], also: [] },
  'A.example': { same: ['a.example', 'a.example:80'], also: [] },
  'a.example:80': { same: ['a.example'], also: [] },
  'a.example:8080': { same: [], also: ['a.example'] },
  'a.example.': { same: ['a.example.:80'], also: ['a.example', 'a.example:80'] },
  'b.example': { same: ['b.example:80'], also: [] },
}

export interface ReferenceDecision extends Omit<Decision, 'allowedBy'> {
  readonly allowedBy: MatchedRule | null
  readonly consulted: readonly { readonly provider: string; readonly by: MatchedRule }[]
}

export function referenceDecision(policies: readonly AuthorizationPolicy[], facts: Facts): ReferenceDecision {
  const sorted = [...policies].sort((a, b) => {
    const name = ({ ref }: AuthorizationPolicy): string => `${ref.namespace}/${ref.name}`
    return a.createdMs - b.createdMs || (name(a) < name(b) ? -1 : 1)
  })
  const matching = (action: Action, dryRun: boolean): { policy: AuthorizationPolicy; by: MatchedRule }[] => {
    return sorted
      .filter((policy) => policy.action === action && policy.dryRun === dryRun)
      .flatMap((policy) => {
        const rule = policy.rules.findIndex((one) => isMatched(one, facts, action !== 'ALLOW'))
        return rule < 0 ? [] : [{ policy, by: { policy: policy.ref, rule } }]
      })
  }
  const outcome = (dryRun: boolean): Pick<Decision, 'denied' | 'allowedBy'> => {
    const [denying] = matching('DENY', dryRun)
    if (denying !== undefined) return { denied: { by: denying.by }, allowedBy: null }
    if (!sorted.some((one) => one.action === 'ALLOW' && one.dryRun === dryRun)) return { denied: null, allowedBy: null }
    const [allowing] = matching('ALLOW', dryRun)
    return allowing === undefined ? { denied: { by: null }, allowedBy: null } : { denied: null, allowedBy: allowing.by }
  }
  const asked = matching('CUSTOM', false).map(({ policy, by }) => ({ provider: policy.provider, by }))
  const isTried = sorted.some(({ action, dryRun }) => dryRun && (action === 'DENY' || action === 'ALLOW'))
  return {
    ...outcome(false),
    audited: matching('AUDIT', false).map(({ by }) => by),
    dryRun: isTried ? outcome(true) : null,
    consulted: asked.filter(({ provider }, at) => asked.findIndex((one) => one.provider === provider) === at),
  }
}

function isMatched({ from, to, when }: Rule, facts: Facts, isWide: boolean): boolean {
  const isOfRequest = ({ attribute }: Condition): boolean => attribute.kind.startsWith('request.')
  const isOpaque = facts.request === null
  if (isOpaque && !isWide && [...from.flat(), ...to.flat(), ...when].some(isOfRequest)) return false
  const holds = (one: Condition): boolean => (isOpaque && isOfRequest(one)) || isHeld(one, facts, isWide)
  const oneOf = (entries: Rule['from']): boolean => entries.length === 0 || entries.some((entry) => entry.every(holds))
  return oneOf(from) && oneOf(to) && when.every(holds)
}

function isHeld({ attribute, values, notValues }: Condition, facts: Facts, isWide: boolean): boolean {
  const isFound = (texts: readonly string[], wide: boolean): boolean => {
    const spellings = spellingsOf(attribute, facts, wide)
    const isLike = (spelling: string): boolean => texts.some((text) => isText(text, spelling))
    // all readings of a path, and else any spelling
    const isEach = attribute.kind === 'request.path' && !wide
    return spellings.length > 0 && (isEach ? spellings.every(isLike) : spellings.some(isLike))
  }
  if (values.length > 0 && !isFound(values, isWide)) return false
  return notValues.length === 0 || !isFound(notValues, !isWide)
}

/** A pattern against a text, as a regular expression; all values of the pool are in lower case where case does not count. */
function isText(pattern: string, text: string): boolean {
  const source = pattern.replace(/[.\\/]/g, '\\$&').replace(/\{\*\*\}|\{\*\}|\*/g, (operator) => {
    return operator === '{*}' ? '[^/]+' : operator === '*' && pattern.length === 1 ? '.+' : '.*'
  })
  return new RegExp(`^${source}$`, 's').test(text)
}

function spellingsOf(attribute: Condition['attribute'], facts: Facts, isWide: boolean): readonly string[] {
  const { source, destination, request, serverName } = facts
  switch (attribute.kind) {
    case 'source.principal':
      return source.principals
    case 'source.namespace':
      return source.namespace === null ? [] : [source.namespace]
    case 'source.ip':
      return [source.ip]
    case 'remote.ip':
      return [request?.remoteIp ?? source.ip]
    case 'destination.port':
      return [String(destination.port)]
    case 'connection.sni':
      return serverName === null ? [] : [serverName]
    case 'request.method': {
      const method = request?.method ?? ''
      return isWide ? [method.toUpperCase()] : [method]
    }
    case 'request.host': {
      const authority = request?.authority ?? ''
      const { same = [], also = [] } = HOSTS[authority] ?? {}
      return [authority.toLowerCase(), ...same, ...(isWide ? also : [])]
    }
    case 'request.path': {
      const path = request?.target.split('?')[0] ?? ''
      const all = [path, ...(PATHS[path] ?? [])]
      return isWide ? all.map((one) => one.toLowerCase()) : all
    }
    case 'request.header': {
      const value = request?.header(attribute.name)
      return value === undefined ? [] : [value]
    }
    case 'request.principal':
      return (request?.tokens ?? []).map(({ issuer, subject }) => `${issuer}/${subject ?? ''}`)
    case 'request.claim': {
      const claims = (request?.tokens ?? []).map((one) => one.claims[attribute.path[0] ?? ''])
      return claims.flat().filter((one) => typeof one === 'string')
    }
    case 'request.audiences':
      return (request?.tokens ?? []).flatMap(({ claims }) => claims['aud'] as string | readonly string[])
    default:
      throw new Error(`the reference knows nothing of ${attribute.kind}`)
  }
}
