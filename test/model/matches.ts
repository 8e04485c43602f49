// Random matches and requests, and what a match means, said without a thought for speed.

import fc from 'fast-check'
import type { RequestFacts } from '../../agent/model/http/match.ts'
import type { NamedMatch, RequestMatch, StringMatch } from '../../agent/model/policy.ts'
import { request } from '../../agent/model/request.fixture.ts'
import type { Workload } from '../../agent/model/workload.ts'
import { match } from '../../agent/model/world.fixture.ts'

// Few letters, so that matches are frequent; those that mean something to a regex or a query among them.
const word = fc.array(fc.constantFrom('a', 'B', '.', '/', '-', 'é'), { maxLength: 4 }).map((parts) => parts.join(''))
const regex = fc.constantFrom('a', 'a.*', '.*', 'a|B', '(?i)b', '[aB]+', '/a?', '^a$', '\\.', '', 'B{2}')
const stringMatch: fc.Arbitrary<StringMatch> = fc.oneof(
  fc.record({ kind: fc.constant('exact' as const), value: word }),
  fc.record({ kind: fc.constant('prefix' as const), value: word }),
  fc.record({ kind: fc.constant('regex' as const), value: regex }),
  fc.constant({ kind: 'present' as const }),
)
// most of a match is left out, or next to none would hold
const maybe = <T>(of: fc.Arbitrary<T>): fc.Arbitrary<T | null> =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: of })
const named = maybe(fc.record({ name: fc.constantFrom('x-a', 'x-b'), match: stringMatch })).map((one) =>
  one === null ? [] : [one],
)

/** Few of them hold for a request of `asked`, but not too few. */
export const requestMatch: fc.Arbitrary<RequestMatch> = fc
  .record({
    uri: maybe(stringMatch),
    ignoreUriCase: fc.boolean(),
    scheme: maybe(fc.constantFrom<StringMatch>({ kind: 'exact', value: 'http' }, { kind: 'exact', value: 'https' })),
    method: maybe(fc.constantFrom<StringMatch>({ kind: 'exact', value: 'GET' }, { kind: 'regex', value: 'G.T|PUT' })),
    authority: maybe(stringMatch),
    headers: named,
    withoutHeaders: named,
    queryParams: named,
    port: maybe(fc.constantFrom(80, 81)),
    sourceLabels: fc.constantFrom({}, { app: 'web' }, { app: 'web', version: 'v1' }, { app: 'web', version: 'v2' }),
    sourceNamespace: maybe(fc.constantFrom('shop', 'jobs')),
  })
  .map((wish) => match(wish as Partial<RequestMatch>))

export const asked: fc.Arbitrary<RequestFacts> = fc
  .record({
    method: fc.constantFrom('GET', 'PUT'),
    target: fc
      .tuple(word, fc.option(fc.array(fc.tuple(fc.constantFrom('x-a', 'x-b'), word)), { nil: null }))
      .map(([path, query]) => `${path}${query === null ? '' : `?${new URLSearchParams(query).toString()}`}`),
    authority: word,
    port: fc.constantFrom(80, 81),
    headers: fc.dictionary(fc.constantFrom('x-a', 'X-B'), word),
  })
  .map(request)

/** The documented meaning, said without a thought for speed. */
function referenceString(rule: StringMatch, value: string, ignoreCase = false): boolean {
  const [own, wanted] = ignoreCase ? [value.toLowerCase(), rule] : [value, rule]
  const text = wanted.kind === 'present' ? '' : ignoreCase ? wanted.value.toLowerCase() : wanted.value
  switch (rule.kind) {
    case 'present':
      return true
    case 'exact':
      return own === text
    case 'prefix':
      return own.slice(0, text.length) === text
    case 'regex': {
      const flags = rule.value.startsWith('(?i)') ? 'ui' : 'u'
      return new RegExp(`^(?:${rule.value.replace('(?i)', '')})$`, flags).test(value)
    }
  }
}

/** Whether a match holds, as documented. */
export function referenceRequest(rule: RequestMatch, facts: RequestFacts, from: Workload | null): boolean {
  const [path = '', ...rest] = facts.target.split('?')
  const query = new Map<string, string>()
  for (const pair of rest.join('?').split('&')) {
    const [name = '', ...values] = pair.split('=') // as it was sent: nothing is decoded
    const value = values.join('=')
    if (name !== '' && !query.has(name)) query.set(name, value)
  }
  const holds = (wanted: StringMatch | null, value: string | undefined, ignoreCase = false): boolean =>
    wanted === null || (value !== undefined && referenceString(wanted, value, ignoreCase))
  const header = ({ name, match: wanted }: NamedMatch): boolean => holds(wanted, facts.header(name))
  if (!holds(rule.uri, path, rule.ignoreUriCase)) return false
  if (!holds(rule.scheme, facts.scheme) || !holds(rule.method, facts.method)) return false
  if (!holds(rule.authority, facts.authority)) return false
  if (!rule.headers.every(header) || rule.withoutHeaders.some(header)) return false
  if (!rule.queryParams.every(({ name, match: wanted }) => holds(wanted, query.get(name)))) return false
  if (rule.port !== null && rule.port !== facts.port) return false
  if (rule.sourceNamespace !== null && rule.sourceNamespace !== (from?.namespace ?? '')) return false
  return Object.entries(rule.sourceLabels).every(([name, value]) => from?.labels[name] === value)
}
