// Matchers for requests, compiled once a snapshot. Regexes are RE2: linear time, whole string.

import { RE2JS } from 're2js'
import type { NamedMatch, RequestMatch, StringMatch } from '../policy.ts'
import type { Workload } from '../workload.ts'

/** What a rule can see of a request. `header` takes a lower-case name; several lines of one name are joined by `,`. */
export interface RequestFacts {
  readonly method: string
  /** Request target in origin form: path and query. */
  readonly target: string
  readonly authority: string
  readonly scheme: string
  /** Port the caller dialled. */
  readonly port: number
  header(name: string): string | undefined
}

/** Judges a request and its caller (null where it is not proved who that is). */
export type RequestTest = (request: RequestFacts, caller: Workload | null) => boolean

type StringTest = (value: string) => boolean

/** Compiles a string match. Throws with RE2's own words where a regex is malformed. */
export function stringTest(match: StringMatch, ignoreCase = false): StringTest {
  switch (match.kind) {
    case 'present':
      return () => true
    case 'exact': {
      const wanted = ignoreCase ? match.value.toLowerCase() : match.value
      return ignoreCase ? (value) => value.toLowerCase() === wanted : (value) => value === wanted
    }
    case 'prefix': {
      const wanted = ignoreCase ? match.value.toLowerCase() : match.value
      return ignoreCase ? (value) => value.toLowerCase().startsWith(wanted) : (value) => value.startsWith(wanted)
    }
    case 'regex': {
      const compiled = RE2JS.compile(match.value) // Istio: ignoreUriCase does not apply to regexes
      const prefix = literalPrefix(match.value)
      return (value) => value.startsWith(prefix) && compiled.matches(value)
    }
  }
}

/** What every text begins with that the regex matches: looking at that is far cheaper than matching. */
export function literalPrefix(regex: string): string {
  if (/[|(]/.test(regex)) return '' // alternatives, flags: a beginning may be optional or of any case
  const literal = /^\^?([A-Za-z0-9/_-]*)/.exec(regex)?.[1] ?? ''
  const behind = regex.slice(regex.indexOf(literal) + literal.length)
  return /^[*?{]/.test(behind) ? literal.slice(0, -1) : literal
}

/** Compiles one entry of a rule's `match` list: the conjunction of what it gives. */
export function requestTest(match: RequestMatch): RequestTest {
  const parts = conditionsOf(match).map(({ test }) => test)
  const [only] = parts
  if (parts.length === 1 && only !== undefined) return only
  return (request, caller) => {
    for (let i = 0; i < parts.length; i++) if (!(parts[i] as RequestTest)(request, caller)) return false
    return true
  }
}

/** One thing that an entry of a `match` list demands, by the field that does. */
export interface Condition {
  readonly field: string
  readonly test: RequestTest
}

/** What an entry demands, in the order in which it is looked at. */
export function conditionsOf(match: RequestMatch): readonly Condition[] {
  const conditions: Condition[] = []
  const demand = (field: string, test: RequestTest): void => void conditions.push({ field, test })
  if (match.uri !== null) demand('uri', uriTest(match.uri, match.ignoreUriCase))
  if (match.method !== null)
    demand(
      'method',
      fieldTest(match.method, (request) => request.method),
    )
  if (match.scheme !== null)
    demand(
      'scheme',
      fieldTest(match.scheme, (request) => request.scheme),
    )
  if (match.authority !== null)
    demand(
      'authority',
      fieldTest(match.authority, (request) => request.authority),
    )
  for (const header of match.headers) demand(`headers.${header.name}`, headerTest(header))
  for (const header of match.withoutHeaders) {
    const test = headerTest(header)
    demand(`withoutHeaders.${header.name}`, (request, caller) => !test(request, caller))
  }
  for (const parameter of match.queryParams) demand(`queryParams.${parameter.name}`, queryTest(parameter))
  if (match.port !== null) demand('port', (request) => request.port === match.port)
  const labels = Object.entries(match.sourceLabels)
  if (labels.length > 0) {
    demand('sourceLabels', (_, caller) => {
      return caller !== null && labels.every(([name, value]) => caller.labels[name] === value)
    })
  }
  if (match.sourceNamespace !== null) {
    demand('sourceNamespace', (_, caller) => caller?.namespace === match.sourceNamespace)
  }
  return conditions
}

/** Judges the path. What is looked for has no `?`, mostly: the target then tells as much, and need not be cut. */
function uriTest(uri: StringMatch, ignoreCase: boolean): RequestTest {
  const isPlain = (uri.kind === 'exact' || uri.kind === 'prefix') && !ignoreCase && !uri.value.includes('?')
  if (!isPlain) {
    const test = stringTest(uri, ignoreCase)
    return (request) => test(pathOf(request.target))
  }
  const { value } = uri
  if (uri.kind === 'prefix') return ({ target }) => target.startsWith(value)
  return ({ target }) => target === value || (target.charCodeAt(value.length) === QUERY && target.startsWith(value))
}

const QUERY = 0x3f

function fieldTest(match: StringMatch, read: (request: RequestFacts) => string): RequestTest {
  const test = stringTest(match)
  return (request) => test(read(request))
}

function headerTest({ name, match }: NamedMatch): RequestTest {
  const test = stringTest(match)
  return (request) => {
    const value = request.header(name)
    return value !== undefined && test(value)
  }
}

function queryTest({ name, match }: NamedMatch): RequestTest {
  const test = stringTest(match)
  return (request) => {
    const value = queryValue(request.target, name)
    return value !== null && test(value)
  }
}

/** The first value of a query parameter, as it was sent: Envoy decodes neither `%` nor `+` there. Null: there is none. */
export function queryValue(target: string, name: string): string | null {
  let from = target.indexOf('?') + 1
  while (from > 0 && from <= target.length) {
    const and = target.indexOf('&', from)
    const end = and < 0 ? target.length : and
    const pair = target.slice(from, end)
    if (pair === name) return ''
    if (pair.charCodeAt(name.length) === EQUALS && pair.startsWith(name)) return pair.slice(name.length + 1)
    from = end + 1
  }
  return null
}

const EQUALS = 0x3d

/** The path of a request target, without its query (RFC 9112 §3.2.1). */
export function pathOf(target: string): string {
  const at = target.indexOf('?')
  return at < 0 ? target : target.slice(0, at)
}
