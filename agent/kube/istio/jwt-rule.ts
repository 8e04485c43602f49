// One entry of a RequestAuthentication's jwtRules: whose tokens are believed, and where they are looked for.

import type { JwtRule, KeySource } from '../../model/authentication/request-authentication.ts'
import { UNCHANGEABLE } from '../../model/http/header-changes.ts'
import type { Lack } from '../honoured.ts'
import type { GivenJwtRule } from '../istio.ts'
import { Rejected } from '../translate.ts'
import { duration, token } from './checked.ts'

/** A rule as it may stand; what of it Istio refuses, and what of it has no effect here. */
export interface JwtRuleRead {
  readonly rule: JwtRule
  readonly faults: readonly Lack[]
  readonly lacks: readonly Lack[]
}

/** Istio JWTRule: `timeout`. */
const TIMEOUT_MS = 5_000
/** Fetches are few at once, for all rules of a node: none may keep the others waiting for longer. */
const TIMEOUT_MOST_MS = 30_000

/** A set without a key: no token is good by it. Istio too gives a rule whose keys it cannot have one that nothing is signed by. */
const NO_KEYS: KeySource = { kind: 'inline', jwks: '{"keys":[]}' }

/** Stands for rules that nobody can read: tokens in the usual places are looked at, and none is good. */
export const NO_TOKEN_IS_GOOD: JwtRule = {
  ...{ issuer: '', audiences: [], keys: NO_KEYS, timeoutMs: TIMEOUT_MS },
  ...{ fromHeaders: [], fromParams: [], fromCookies: [], forwardOriginalToken: false, outputPayloadToHeader: null },
  ...{ outputClaimToHeaders: [], spaceDelimitedClaims: [], required: false },
}

/**
 * Reads a rule. One that cannot be meant stays a rule, of which no token is good: were it left out, its tokens would not be
 * looked at at all, and who is denied by them would pass.
 */
export function jwtRule(given: GivenJwtRule, index: number): JwtRuleRead {
  const path = `spec.jwtRules[${index}]`
  const faults: Lack[] = []
  const lacks: Lack[] = []
  const tried = <T>(found: Lack[], work: () => T, instead: T): T => {
    try {
      return work()
    } catch (error) {
      if (!(error instanceof Rejected)) throw error
      found.push({ field: error.field, reason: error.message })
      return instead
    }
  }
  const names = (list: readonly string[] | undefined): readonly string[] => list ?? []
  const { issuer = '', timeout, outputPayloadToHeader: payload = '' } = given
  const isUndiscovered = saysKeys(given).length === 0 && issuer !== '' && !isHttp(issuer)
  const keys = tried(isUndiscovered ? lacks : faults, () => keysOf(given, issuer, path), NO_KEYS)
  const rule: JwtRule = {
    issuer,
    audiences: names(given.audiences),
    keys,
    timeoutMs: tried(
      lacks,
      () =>
        bounded(
          tried(faults, () => timeoutOf(timeout, `${path}.timeout`), TIMEOUT_MS),
          `${path}.timeout`,
        ),
      TIMEOUT_MOST_MS,
    ),
    fromHeaders: (given.fromHeaders ?? []).map(({ name, prefix = '' }, at) => {
      // a name that no field has stays, too: without any place the usual ones would count
      const named = tried(lacks, () => token(name, `${path}.fromHeaders[${at}].name`), name)
      return { name: named.toLowerCase(), prefix }
    }),
    fromParams: names(given.fromParams),
    fromCookies: names(given.fromCookies),
    forwardOriginalToken: given.forwardOriginalToken ?? false,
    outputPayloadToHeader:
      payload === '' ? null : tried(lacks, () => settable(payload, `${path}.outputPayloadToHeader`), null),
    outputClaimToHeaders: (given.outputClaimToHeaders ?? []).flatMap(({ header, claim }, at) => {
      const name = tried(lacks, () => settable(header, `${path}.outputClaimToHeaders[${at}].header`), null)
      return name === null ? [] : [{ header: name, claim }]
    }),
    spaceDelimitedClaims: names(given.spaceDelimitedClaims),
    required: tried(faults, () => presenceOf(given.presence, `${path}.presence`), true),
  }
  return { rule, faults, lacks }
}

function timeoutOf(given: unknown, path: string): number {
  return given === undefined ? TIMEOUT_MS : duration(given, path)
}

function bounded(ms: number, path: string): number {
  if (ms <= TIMEOUT_MOST_MS) return ms
  throw new Rejected(path, `is more than a fetch may take: after ${TIMEOUT_MOST_MS / 1000}s it has failed`)
}

/** Which of the fields that say keys are given. Empty keys are none, as protobuf cannot tell them apart. */
function saysKeys({ jwks, jwksUri, jwks_uri: formerUri }: GivenJwtRule): readonly string[] {
  const given = { jwks, jwksUri, jwks_uri: formerUri }
  return Object.entries(given).flatMap(([name, value]) => (value ? [name] : []))
}

function keysOf(given: GivenJwtRule, issuer: string, path: string): KeySource {
  const said = saysKeys(given)
  const [field] = said
  if (said.length > 1) throw new Rejected(path, `may have one of ${said.join(' and ')} alone`)
  if (field === 'jwks') return { kind: 'inline', jwks: keySet(given.jwks ?? '', `${path}.jwks`) }
  if (field !== undefined) {
    const uri = given.jwksUri ?? given.jwks_uri ?? ''
    if (isHttp(uri)) return { kind: 'uri', uri }
    throw new Rejected(`${path}.${field}`, `'${uri}' must be a URL with http:// or https://`)
  }
  if (issuer === '') throw new Rejected(`${path}.issuer`, 'is required where no jwksUri is given')
  if (isHttp(issuer)) return { kind: 'discovered', issuer }
  const none =
    'is no URL with http:// or https:// that its keys could be asked for, and neither jwks nor jwksUri is given'
  throw new Rejected(`${path}.issuer`, `'${issuer}' ${none}: no token is good`)
}

/** RFC 7517 §5: an object whose `keys` is a list of objects, each with its kind (§4.1). Other members are passed over. */
function keySet(text: string, path: string): string {
  let set: unknown
  try {
    set = JSON.parse(text)
  } catch (error) {
    // the parser may quote what it read, and keys are for no log
    const [where = ''] = / at position \d+/.exec((error as Error).message) ?? []
    throw new Rejected(path, `is no JSON${where}`)
  }
  const keys = (set as { readonly keys?: unknown } | null)?.keys
  if (!Array.isArray(keys)) throw new Rejected(path, 'must be an object with a list of keys (RFC 7517 §5)')
  for (const [index, key] of (keys as readonly unknown[]).entries()) {
    const kind = (key as { readonly kty?: unknown } | null)?.kty
    if (typeof kind !== 'string') throw new Rejected(path, `keys[${index}] must be an object with kty (RFC 7517 §4.1)`)
  }
  return text
}

function isHttp(text: string): boolean {
  return /^https?:\/\//i.test(text) && URL.canParse(text)
}

/** A header that a rule may set, in lower case. */
function settable(written: string, path: string): string {
  const name = token(written, path).toLowerCase()
  if (UNCHANGEABLE.has(name)) throw new Rejected(path, `${name} is a header that no rule may change`)
  return name
}

/** Newer than the schemas: judged here. */
function presenceOf(given: unknown, path: string): boolean {
  if (given === undefined || given === 'OPTIONAL') return false
  if (given === 'REQUIRED') return true
  throw new Rejected(path, 'must be OPTIONAL or REQUIRED')
}
