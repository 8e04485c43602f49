// Single values of Istio's objects. Each check gives what a value means, or throws Rejected with the path of its field.

import { ipWords } from '../../model/address.ts'
import { stringTest } from '../../model/http/match.ts'
import type { StringMatch } from '../../model/policy.ts'
import { parseCidr } from '../../model/terms.ts'
import { LONGEST_MS, parseDuration } from '../duration.ts'
import type { GivenMatch } from '../istio.ts'
import { Rejected } from '../translate.ts'

/** What an object is read with. */
export interface Reading {
  /** Of the object itself. */
  readonly namespace: string
  /** The full name of a host that may be a short one. */
  readonly resolve: (host: string) => string
  /** Tells of a field that is given and does nothing, or not all that it says. */
  readonly report: (field: string, reason: string) => void
}

/** A value that may be absent, checked where it is there. */
export function optional<T, R>(given: T | undefined, path: string, check: (given: T, path: string) => R): R | null {
  return given === undefined ? null : check(given, path)
}

/** Milliseconds of a duration: 1 at the least, as the CRDs demand, and as many as a timer of the runtime holds at most. */
export function duration(given: unknown, path: string): number {
  const ms = milliseconds(given, path, LONGEST_MS)
  if (ms < 1) throw new Rejected(path, 'must be 1ms or more')
  return ms
}

/** As duration(), where 0 is a word of its own: no limit. */
export function durationOrNone(given: unknown, path: string): number {
  const ms = milliseconds(given, path, LONGEST_MS)
  if (ms > 0 && ms < 1) throw new Rejected(path, 'must be 0s, or 1ms or more')
  return ms
}

/** What is said to others in seconds: no timer bounds it. */
export function milliseconds(given: unknown, path: string, most = Number.MAX_SAFE_INTEGER): number {
  if (typeof given !== 'string') throw new Rejected(path, 'must be string')
  const ms = parseDuration(given, most)
  if (ms === null) throw new Rejected(path, `'${given}' is not a duration such as 500ms or 7s`)
  return ms
}

export function percent(value: number, path: string): number {
  if (value >= 0 && value <= 100) return value
  throw new Rejected(path, 'must be 0 to 100')
}

/** A count; 0 is what an absent one is, as protobuf cannot tell them apart. */
export function countOrNone(value: number, path: string): number | null {
  if (value < 0) throw new Rejected(path, 'must not be negative')
  return value === 0 ? null : value
}

export function port(value: number, path: string): number {
  if (value >= 1 && value <= 0xffff) return value
  throw new Rejected(path, 'must be a port from 1 to 65535')
}

/** A port to match; 0 is any, as it is for Istio. */
export function matchedPort(value: number | undefined, path: string): number | null {
  return value === undefined || value === 0 ? null : port(value, path)
}

/** A canonical CIDR; an address alone stands for itself. */
export function cidr(text: string, path: string): string {
  const found = parseCidr(text)
  if (found === null) throw new Rejected(path, `'${text}' is no IP address or CIDR`)
  return found
}

const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/i
/** A wildcard stands at the beginning only (Istio). */
const FIRST_LABEL = /^(\*|\*?-?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)$/i

/** Why a text is no name of a host (RFC 1123 §2.1), of which the first label may begin with a wildcard; else null. */
function domainFault(text: string): string | null {
  if (text.length === 0 || text.length > 255) return 'must have 1 to 255 characters'
  const [first = '', ...others] = text.split('.')
  const rest = others.length > 1 && others.at(-1) === '' ? others.slice(0, -1) : others
  if (!FIRST_LABEL.test(first) || (first.startsWith('-') && !LABEL.test(first))) return notDomain(text)
  if (!rest.every((label) => LABEL.test(label))) return notDomain(text)
  if (/^\d+$/.test(rest.at(-1) ?? '')) return notDomain(text)
  return null
}

function notDomain(text: string): string {
  return `'${text}' is no host name; a wildcard may stand at its beginning only`
}

/** Throws Rejected for what is no host name, with or without a wildcard at its beginning. */
export function demandDomain(text: string, path: string): void {
  const fault = domainFault(text)
  if (fault !== null) throw new Rejected(path, fault)
}

/** Throws Rejected for what is neither a host name nor an IP address. */
export function demandDomainOrIp(text: string, path: string): void {
  if (ipWords(text) === null) demandDomain(text, path)
}

/** A name such as a namespace or a subset has. */
export function dnsLabel(text: string, path: string): string {
  if (!LABEL.test(text)) throw new Rejected(path, `'${text}' is no DNS label`)
  return text
}

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** A field name or method (RFC 9110 §5.6.2), as it is given. */
export function token(text: string, path: string): string {
  if (!TOKEN.test(text)) throw new Rejected(path, `'${text}' is no name of an HTTP field`)
  return text
}

/** What stands in a request line or in Location: no space or line break may end it early (RFC 3986 §2). */
export function uriText(text: string, path: string): string {
  if (!/^[\x21-\x7e]*$/.test(text)) throw new Rejected(path, 'may hold visible ASCII alone')
  return text
}

/** As uriText(), null where there is none. */
export function uriTextOrNone(text: string | undefined, path: string): string | null {
  return text ? uriText(text, path) : null
}

const LABEL_NAME = /^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/
const LABEL_VALUE = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/

export function isLabelName(text: string): boolean {
  return LABEL_NAME.test(text)
}

export function isLabelValue(text: string): boolean {
  return LABEL_VALUE.test(text)
}

/** Labels to be carried: neither a name nor a value has a wildcard (kubernetes.io, "Labels and Selectors"). */
export function labels(
  given: Readonly<Record<string, string>> | undefined,
  path: string,
): Readonly<Record<string, string>> {
  for (const [name, value] of Object.entries(given ?? {})) {
    if (!isLabelName(name)) throw new Rejected(path, `'${name}' is no name of a label`)
    if (!isLabelValue(value)) throw new Rejected(`${path}.${name}`, `'${value}' is no value of a label`)
  }
  return given ?? {}
}

/** Characters of a regex at most (Istio). */
const REGEX_MAX = 1024

/** How a string is matched: compiled once here, so that what RE2 refuses is refused with its field's name. */
export function stringMatch(given: GivenMatch, path: string): StringMatch {
  const match = kindOf(given)
  if (match.kind !== 'regex') return match
  demandRegexLength(match.value, `${path}.regex`)
  compiled(() => stringTest(match), `${path}.regex`)
  return match
}

export function demandRegexLength(regex: string, path: string): void {
  if (regex === '') throw new Rejected(path, 'must not be empty')
  if (regex.length > REGEX_MAX) throw new Rejected(path, `must have ${REGEX_MAX} characters at most`)
}

/** What RE2 makes of a regex; Rejected in RE2's own words where it is malformed. */
export function compiled<T>(compile: () => T, path: string): T {
  try {
    return compile()
  } catch (error) {
    throw new Rejected(path, error instanceof Error ? error.message : String(error))
  }
}

/** As stringMatch(), for what can have no empty prefix: it would match all, which is `{}` (Istio refuses it). */
export function filledMatch(given: GivenMatch, path: string): StringMatch {
  if (given.prefix === '') throw new Rejected(`${path}.prefix`, 'must not be empty')
  return stringMatch(given, path)
}

function kindOf(given: GivenMatch): StringMatch {
  if (given.exact !== undefined) return { kind: 'exact', value: given.exact }
  if (given.prefix !== undefined) return { kind: 'prefix', value: given.prefix }
  if (given.regex !== undefined) return { kind: 'regex', value: given.regex }
  return { kind: 'present' } // `{}`: it must be there, whatever it says
}
