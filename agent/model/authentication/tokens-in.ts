// Where the tokens of a request stand: header fields, query parameters and cookies, as its callee's rules name them.

import { UNCHANGEABLE } from '../http/header-changes.ts'
import type { RequestFacts } from '../http/match.ts'
import { type JwtRule, keySetOf } from './request-authentication.ts'

/** Tokens that a request may have: one with more is refused. */
export const TOKENS_MOST = 16

/** A rule as it is looked up by: where it stands among the rules for its port, and its keys by name. */
export interface Ranked {
  readonly rule: JwtRule
  readonly rank: number
  readonly keySet: string
}

/** One place that is looked at, and by which rules. */
export interface Place {
  readonly kind: 'header' | 'parameter' | 'cookie'
  /** Of a header in lower case. */
  readonly name: string
  /** What stands before the token; '' for nothing, and but for headers. */
  readonly prefix: string
  readonly rules: readonly Ranked[]
}

/** What all rules for a port look at, worked out once. */
export interface Lookout {
  readonly places: readonly Place[]
  /** Headers that rules give the application: whoever calls never does. In lower case. */
  readonly outputs: readonly string[]
  /** Rules each of which must have a token that is good by it. */
  readonly required: readonly Ranked[]
}

/** A text that stands where tokens do. */
export interface Found {
  readonly text: string
  readonly place: Place
}

/** Where a rule looks that names no place (Istio JWTRule; RFC 6750 §2.1, §2.3). The prefix is taken as it is written here. */
const DEFAULT_HEADER = { name: 'authorization', prefix: 'Bearer ' }
const DEFAULT_PARAMETER = 'access_token'

const LOOKOUTS = new WeakMap<readonly JwtRule[], Lookout>()

/** Put together once for one and the same array. */
export function lookoutOf(rules: readonly JwtRule[]): Lookout {
  let lookout = LOOKOUTS.get(rules)
  if (lookout === undefined) LOOKOUTS.set(rules, (lookout = putTogether(rules)))
  return lookout
}

function putTogether(rules: readonly JwtRule[]): Lookout {
  const places = new Map<string, Place & { readonly rules: Ranked[] }>()
  const outputs = new Set<string>()
  const all = rules.map((rule, rank): Ranked => ({ rule, rank, keySet: keySetOf(rule) }))
  for (const ranked of all) {
    const { rule } = ranked
    for (const where of placesOf(rule)) {
      const key = JSON.stringify(where)
      const place = places.get(key)
      if (place === undefined) places.set(key, { ...where, rules: [ranked] })
      else place.rules.push(ranked)
    }
    for (const name of outputsOf(rule)) if (!UNCHANGEABLE.has(name)) outputs.add(name)
  }
  return { places: [...places.values()], outputs: [...outputs], required: all.filter(({ rule }) => rule.required) }
}

function placesOf({ fromHeaders, fromParams, fromCookies }: JwtRule): readonly Omit<Place, 'rules'>[] {
  const isNamed = fromHeaders.length > 0 || fromParams.length > 0 || fromCookies.length > 0
  const headers = isNamed ? fromHeaders : [DEFAULT_HEADER]
  const parameters = isNamed ? fromParams : [DEFAULT_PARAMETER]
  return [
    ...headers.map(({ name, prefix }) => ({ kind: 'header' as const, name, prefix })),
    ...parameters.map((name) => ({ kind: 'parameter' as const, name, prefix: '' })),
    ...fromCookies.map((name) => ({ kind: 'cookie' as const, name, prefix: '' })),
  ]
}

function outputsOf({ outputPayloadToHeader, outputClaimToHeaders }: JwtRule): readonly string[] {
  const payload = outputPayloadToHeader === null ? [] : [outputPayloadToHeader]
  return [...payload, ...outputClaimToHeaders.map(({ header }) => header)].map((name) => name.toLowerCase())
}

/**
 * All that stands where tokens do: of a name that is there several times each value, for an application may read any of
 * them. One more than TOKENS_MOST at most.
 */
export function tokensIn({ places }: Lookout, request: Pick<RequestFacts, 'header' | 'target'>): readonly Found[] {
  const found: Found[] = []
  for (const place of places) {
    for (const text of textsAt(place, request)) {
      if (found.length > TOKENS_MOST) return found
      found.push({ text, place })
    }
  }
  return found
}

function textsAt(place: Place, request: Pick<RequestFacts, 'header' | 'target'>): readonly string[] {
  const { kind, name } = place
  if (kind === 'parameter') return parametersOf(request.target, name)
  const value = request.header(kind === 'cookie' ? 'cookie' : name)
  if (value === undefined) return []
  return kind === 'cookie' ? cookiesOf(value, name) : behindPrefix(value, place.prefix)
}

/** Several lines of one name are joined by a comma, which no token has. */
function behindPrefix(value: string, prefix: string): readonly string[] {
  const parts = value.includes(',') && !prefix.includes(',') ? value.split(',') : [value]
  if (prefix === '') return parts.map((part) => part.trim())
  return parts.flatMap((part) => {
    const at = part.indexOf(prefix)
    return at < 0 ? [] : [part.slice(at + prefix.length).trim()]
  })
}

function cookiesOf(value: string, name: string): readonly string[] {
  return cookiePairs(value).flatMap((pair) => (isCookie(pair, name) ? [unquoted(pair.slice(name.length + 1))] : []))
}

/** RFC 6265 §4.2.1. Lines are joined by a comma. */
function cookiePairs(value: string): readonly string[] {
  return value.split(/[;,]/).map((pair) => pair.trim())
}

function isCookie(pair: string, name: string): boolean {
  return pair.charCodeAt(name.length) === EQUALS && pair.startsWith(name)
}

function unquoted(value: string): string {
  return value.length > 1 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value
}

/**
 * The field `cookie` without those of a name, as one line; '' where none is left. A comma may also be of a value (RFC 6265
 * has none there, but applications do): what is behind it and begins no pair stays with what is before it, or goes with it.
 */
export function withoutCookies(value: string, names: ReadonlySet<string>): string {
  let rest = ''
  let isKept = false
  for (const [, separator = '', piece = ''] of value.matchAll(/(^|[;,])([^;,]*)/g)) {
    const pair = piece.trim()
    if (separator === ',' && !pair.includes('=')) {
      if (isKept) rest += separator + piece
    } else if (pair !== '') {
      isKept = ![...names].some((name) => isCookie(pair, name))
      if (isKept) rest += rest === '' ? pair : `; ${pair}`
    }
  }
  return rest
}

const EQUALS = 0x3d

function parametersOf(target: string, name: string): readonly string[] {
  const texts: string[] = []
  for (const pair of pairsOf(target)) if (nameIn(pair) === name) texts.push(decoded(pair.slice(endOfName(pair) + 1)))
  return texts
}

/** The target without parameters of a name, all else as it came. */
export function withoutParameters(target: string, names: ReadonlySet<string>): string {
  const at = target.indexOf('?')
  if (at < 0) return target
  const kept = pairsOf(target).filter((pair) => !names.has(nameIn(pair)))
  return kept.length === 0 ? target.slice(0, at) : `${target.slice(0, at)}?${kept.join('&')}`
}

function pairsOf(target: string): readonly string[] {
  const at = target.indexOf('?')
  return at < 0 ? [] : target.slice(at + 1).split('&')
}

function endOfName(pair: string): number {
  const at = pair.indexOf('=')
  return at < 0 ? pair.length : at
}

function nameIn(pair: string): string {
  return decoded(pair.slice(0, endOfName(pair)))
}

/** As an application reads it (RFC 3986 §2.1); what is no escape stays as it is. */
function decoded(text: string): string {
  if (!text.includes('%')) return text
  return text.replace(/%([0-7][0-9A-Fa-f])/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
}
