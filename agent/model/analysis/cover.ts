// Whether one entry of a match takes all that another takes: sound, not complete. A rule that is called unreachable is; of
// some that are it is not told, because two regexes are compared by their text alone.

import { literalPrefix, stringTest } from '../http/match.ts'
import type { FlowMatch, NamedMatch, RequestMatch, StringMatch } from '../policy.ts'

/** Whether every request that `inner` matches is one that `outer` matches. */
export function coversRequest(outer: RequestMatch, inner: RequestMatch): boolean {
  const uri = { outer: outer.ignoreUriCase, inner: inner.ignoreUriCase }
  return (
    coversField(outer.uri, inner.uri, uri) &&
    coversField(outer.scheme, inner.scheme) &&
    coversField(outer.method, inner.method) &&
    coversField(outer.authority, inner.authority) &&
    outer.headers.every((wanted) => isWanted(wanted, inner.headers)) &&
    outer.queryParams.every((wanted) => isWanted(wanted, inner.queryParams)) &&
    // what must not be there at the outer one must not be there at the inner one either
    outer.withoutHeaders.every(({ name, match }) =>
      inner.withoutHeaders.some((other) => other.name === name && coversText(other.match, match)),
    ) &&
    coversSource(outer, inner)
  )
}

/** The same of connections. Names and subnets are compared by their text. */
export function coversFlow(outer: FlowMatch, inner: FlowMatch): boolean {
  return (
    isWithin(inner.serverNames ?? [], outer.serverNames ?? []) &&
    isWithin(inner.destinationSubnets, outer.destinationSubnets) &&
    isWithin(inner.sourceSubnets, outer.sourceSubnets) &&
    coversSource(outer, inner)
  )
}

type Source = Pick<RequestMatch, 'port' | 'sourceLabels' | 'sourceNamespace'>

function coversSource(outer: Source, inner: Source): boolean {
  return (
    (outer.port === null || outer.port === inner.port) &&
    (outer.sourceNamespace === null || outer.sourceNamespace === inner.sourceNamespace) &&
    Object.entries(outer.sourceLabels).every(([name, value]) => inner.sourceLabels[name] === value)
  )
}

/** Any one of a list is asked for; an empty one asks for nothing. */
function isWithin(inner: readonly string[], outer: readonly string[]): boolean {
  return outer.length === 0 || (inner.length > 0 && inner.every((one) => outer.includes(one)))
}

interface IgnoresCase {
  readonly outer: boolean
  readonly inner: boolean
}

const BY_CASE: IgnoresCase = { outer: false, inner: false }

/** Of what every request has: a path, a method. */
function coversField(outer: StringMatch | null, inner: StringMatch | null, ignores = BY_CASE): boolean {
  if (outer === null || takesAll(outer)) return true
  return inner !== null && coversText(outer, inner, ignores)
}

function takesAll(match: StringMatch): boolean {
  return match.kind === 'present' || (match.kind === 'prefix' && match.value === '')
}

/** Of what a request may not have: it must be there, and be as wanted. */
function isWanted(wanted: NamedMatch, inner: readonly NamedMatch[]): boolean {
  return inner.some(({ name, match }) => name === wanted.name && coversText(wanted.match, match))
}

/** Whether every text that `inner` matches is one that `outer` matches. A regex never ignores case. */
function coversText(outer: StringMatch, inner: StringMatch, ignores = BY_CASE): boolean {
  if (takesAll(outer)) return true
  if (inner.kind === 'present' || outer.kind === 'present') return false
  if (outer.kind === 'regex') {
    if (inner.kind === 'regex') return inner.value === outer.value
    return inner.kind === 'exact' && !ignores.inner && testOf(outer)(inner.value)
  }
  if (inner.kind === 'regex') {
    return outer.kind === 'prefix' && begins(literalPrefix(inner.value), outer.value, { ...ignores, inner: false })
  }
  if (outer.kind === 'prefix') return begins(inner.value, outer.value, ignores)
  return (
    inner.kind === 'exact' && inner.value.length === outer.value.length && begins(inner.value, outer.value, ignores)
  )
}

const TESTS = new WeakMap<StringMatch, (value: string) => boolean>()

/** A regex is compiled once, however many it is compared with. */
function testOf(match: StringMatch): (value: string) => boolean {
  let test = TESTS.get(match)
  if (test === undefined) TESTS.set(match, (test = stringTest(match)))
  return test
}

/** Whether all texts that begin with `text` begin with `beginning`, as either reads its letters. */
function begins(text: string, beginning: string, ignores: IgnoresCase): boolean {
  if (!ignores.outer && !ignores.inner) return text.startsWith(beginning)
  if (!isAscii(text) || !isAscii(beginning)) return false // beyond ASCII, case is no matter of single characters
  if (ignores.outer) return text.toLowerCase().startsWith(beginning.toLowerCase())
  return text.startsWith(beginning) && beginning.toLowerCase() === beginning.toUpperCase()
}

function isAscii(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text)
}
