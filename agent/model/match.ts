// Matchers for requests, compiled once a snapshot. Regexes are RE2: linear time, whole string.

import { RE2JS } from 're2js'
import type { NamedMatch, RequestMatch, StringMatch } from './policy.ts'
import type { Workload } from './workload.ts'

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
function literalPrefix(regex: string): string {
  if (/[|(]/.test(regex)) return '' // alternatives, flags: a beginning may be optional or of any case
  const literal = /^\^?([A-Za-z0-9/_-]*)/.exec(regex)?.[1] ?? ''
  const behind = regex.slice(regex.indexOf(literal) + literal.length)
  return /^[*?{]/.test(behind) ? literal.slice(0, -1) : literal
}

/** Compiles one entry of a rule's `match` list: the conjunction of what it gives. */
export function requestTest(match: RequestMatch): RequestTest {
  const parts: RequestTest[] = []
  if (match.uri !== null) {
    const test = stringTest(match.uri, match.ignoreUriCase)
    parts.push((request) => test(pathOf(request.target)))
  }
  if (match.method !== null) parts.push(fieldTest(match.method, (request) => request.method))
  if (match.scheme !== null) parts.push(fieldTest(match.scheme, (request) => request.scheme))
  if (match.authority !== null) parts.push(fieldTest(match.authority, (request) => request.authority))
  for (const header of match.headers) parts.push(headerTest(header))
  for (const header of match.withoutHeaders) {
    const test = headerTest(header)
    parts.push((request, caller) => !test(request, caller))
  }
  for (const parameter of match.queryParams) parts.push(queryTest(parameter))
  if (match.port !== null) parts.push((request) => request.port === match.port)
  parts.push(...sourceTests(match))
  const [only] = parts
  if (parts.length === 1 && only !== undefined) return only
  return (request, caller) => {
    for (let i = 0; i < parts.length; i++) if (!(parts[i] as RequestTest)(request, caller)) return false
    return true
  }
}

function sourceTests(match: RequestMatch): RequestTest[] {
  const labels = Object.entries(match.sourceLabels)
  const tests: RequestTest[] = []
  if (labels.length > 0) {
    tests.push((_, caller) => caller !== null && labels.every(([name, value]) => caller.labels[name] === value))
  }
  if (match.sourceNamespace !== null) tests.push((_, caller) => caller?.namespace === match.sourceNamespace)
  return tests
}

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
    const at = request.target.indexOf('?')
    if (at < 0) return false
    const value = new URLSearchParams(request.target.slice(at + 1)).get(name)
    return value !== null && test(value)
  }
}

/** The path of a request target, without its query (RFC 9112 §3.2.1). */
export function pathOf(target: string): string {
  const at = target.indexOf('?')
  return at < 0 ? target : target.slice(0, at)
}
