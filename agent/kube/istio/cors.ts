// Who may read answers in a browser.

import type { CorsPolicy, StringMatch } from '../../model/policy.ts'
import type { GivenCors, GivenMatch } from '../istio.ts'
import { Rejected } from '../translate.ts'
import { duration, milliseconds, type Reading, stringMatch, token } from './checked.ts'

/** The methods of RFC 9110 §9 and PATCH (RFC 5789), as Istio takes them. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE'])

export function corsPolicy(given: GivenCors, path: string, reading: Reading): CorsPolicy {
  const methods = given.allowMethods ?? []
  const odd = methods.findIndex((method) => !METHODS.has(method))
  if (odd >= 0) throw new Rejected(`${path}.allowMethods[${odd}]`, `'${methods[odd] ?? ''}' is no method of HTTP`)
  return {
    origins: origins(given, path, reading),
    methods,
    headers: names(given.allowHeaders, `${path}.allowHeaders`),
    exposed: names(given.exposeHeaders, `${path}.exposeHeaders`),
    maxAgeSeconds: given.maxAge === undefined ? null : wholeSeconds(given.maxAge, `${path}.maxAge`),
    credentials: given.allowCredentials ?? null,
    forwardsUnmatched: given.unmatchedPreflights !== 'IGNORE',
  }
}

/** `allowOrigin` is the older field: its entries are exact, and count where the newer one has none (Istio). */
function origins({ allowOrigin, allowOrigins }: GivenCors, path: string, { report }: Reading): StringMatch[] {
  if (!allowOrigins?.length) return (allowOrigin ?? []).map((value) => ({ kind: 'exact', value }))
  if (allowOrigin?.length) report(`${path}.allowOrigin`, 'has no effect beside allowOrigins')
  return allowOrigins.map((given, index) => origin(given, `${path}.allowOrigins[${index}]`))
}

function origin(given: GivenMatch, path: string): StringMatch {
  const match = stringMatch(given, path)
  if (match.kind === 'present' || match.value === '') throw new Rejected(path, 'must name an origin')
  return match
}

function names(given: readonly string[] | undefined, path: string): readonly string[] {
  return (given ?? []).map((name, index) => (name === '*' ? name : token(name, `${path}[${index}]`)))
}

/** Browsers are told seconds (Fetch, Access-Control-Max-Age). */
function wholeSeconds(text: string, path: string): number {
  duration(text, path)
  const seconds = milliseconds(text, path) / 1000
  if (!Number.isInteger(seconds)) throw new Rejected(path, 'must be whole seconds')
  return seconds
}
