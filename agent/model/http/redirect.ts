// Where a redirect sends: pure. Istio's HTTPRedirect, with what Envoy's RedirectAction leaves as it is in the request.

import { pathOf, type RequestFacts } from './match.ts'
import type { Redirect, RequestMatch } from '../policy.ts'
import { withPrefix } from './rewrite.ts'

const DEFAULT_PORTS: Readonly<Record<string, number>> = { http: 80, https: 443 }

/** An authority in two: `port` with its colon, or ''. */
const AUTHORITY = /^(?<host>\[[^\]]*\]|[^:]*)(?<port>:\d*)?$/

/**
 * The URI that a request is redirected to, in characters that any may hold. `match` is the entry that matched, `dialledPort` the
 * port that the request came to.
 */
export function locationOf(
  redirect: Redirect,
  { request, match }: { readonly request: RequestFacts; readonly match: RequestMatch | null },
  dialledPort: number,
): string {
  const scheme = redirect.scheme ?? request.scheme
  const place = placeOf(redirect, request, { scheme, dialledPort })
  const path = pathAndQuery(redirect, request.target, match)
  return `${ofRule(scheme)}://${place}${path.startsWith('/') ? '' : '/'}${path}`
}

/**
 * Host and port. Who names a port, or has it derived, has that one alone, and none where it is the scheme's own. Else the
 * port stays that was asked at, unless it was the own one of the scheme that is left.
 */
function placeOf(
  { authority, port }: Redirect,
  request: RequestFacts,
  { scheme, dialledPort }: { readonly scheme: string; readonly dialledPort: number },
): string {
  const asked = authority === null ? ofRequest(request.authority) : ofRule(authority)
  const parts = AUTHORITY.exec(asked)?.groups
  const host = parts?.['host'] ?? asked
  if (port === 'protocol') return host
  if (port !== null) {
    const wanted = port === 'request' ? dialledPort : port
    return wanted === DEFAULT_PORTS[scheme] ? host : `${host}:${wanted}`
  }
  const isLeft = authority === null && scheme !== request.scheme
  const wasOwn = parts?.['port'] === `:${DEFAULT_PORTS[request.scheme] ?? ''}`
  return isLeft && wasOwn ? host : asked
}

/** The query of the request stays, unless the rule gives one. */
function pathAndQuery({ uri, prefix }: Redirect, target: string, match: RequestMatch | null): string {
  const path = pathOf(target)
  const query = ofRequest(target.slice(path.length))
  if (uri !== null) return uri.includes('?') ? ofRule(uri) : ofRule(uri) + query
  if (prefix !== null) return ofRequest(withPrefix(ofRule(prefix), match, path)) + query
  return ofRequest(target)
}

/** What was written in an object: what is no visible character of ASCII is escaped as UTF-8 (RFC 3986 §2.5). */
function ofRule(text: string): string {
  return text.toWellFormed().replace(/[^\x21-\x7e]/gu, encodeURIComponent)
}

/** What came in a head, one character a byte. */
function ofRequest(text: string): string {
  return text.replace(/[^\x21-\x7e]/g, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
}
