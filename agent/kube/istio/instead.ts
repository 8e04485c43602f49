// What a rule does in place of forwarding, and what it changes in the address that is asked for.

import { substitutionOf } from '../../model/http/rewrite.ts'
import type { Delegate, DirectResponse, Redirect, Rewrite } from '../../model/policy.ts'
import type { GivenDirectResponse, GivenHttpRule, GivenRedirect, GivenRewrite } from '../istio.ts'
import { Rejected } from '../translate.ts'
import { compiled, demandRegexLength, dnsLabel, port, type Reading, uriTextOrNone } from './checked.ts'

/** The statuses that Envoy redirects with. */
const REDIRECT_CODES = new Set([301, 302, 303, 307, 308])

const DERIVED = { FROM_PROTOCOL_DEFAULT: 'protocol', FROM_REQUEST_PORT: 'request' } as const

export function redirect(given: GivenRedirect, path: string): Redirect {
  const { uri, prefixRewrite, authority, derivePort, scheme, redirectCode } = given
  if (prefixRewrite !== undefined && typeof prefixRewrite !== 'string') {
    throw new Rejected(`${path}.prefixRewrite`, 'must be string')
  }
  if (uri && prefixRewrite) throw new Rejected(`${path}.prefixRewrite`, 'must not stand beside uri')
  const isSaid = uri || prefixRewrite || authority || scheme || given.port !== undefined || derivePort !== undefined
  if (!isSaid) throw new Rejected(path, 'must say uri, prefixRewrite, authority, port or scheme')
  if (scheme && scheme !== 'http' && scheme !== 'https') throw new Rejected(`${path}.scheme`, 'must be http or https')
  const code = redirectCode || 301
  if (!REDIRECT_CODES.has(code)) throw new Rejected(`${path}.redirectCode`, 'must be 301, 302, 303, 307 or 308')
  const derived = derivePort === undefined ? null : DERIVED[derivePort]
  return {
    kind: 'redirect',
    uri: uriTextOrNone(uri, `${path}.uri`),
    prefix: uriTextOrNone(prefixRewrite, `${path}.prefixRewrite`),
    authority: uriTextOrNone(authority, `${path}.authority`),
    port: given.port === undefined ? derived : port(given.port, `${path}.port`),
    scheme: scheme || null,
    code,
  }
}

/** Bytes of an answer's body at most (Istio): every snapshot carries it. */
const BODY_MAX = 1024 * 1024

export function directResponse({ status, body }: GivenDirectResponse, path: string): DirectResponse {
  if (status < 200 || status > 599) throw new Rejected(`${path}.status`, 'must be from 200 to 599')
  const bytes = bodyOf(body)
  if (bytes.length > BODY_MAX) throw new Rejected(`${path}.body`, 'must have 1 MiB at most')
  return { kind: 'answer', status, body: bytes.length === 0 ? null : bytes }
}

/** Bytes come as base64, which the schema has seen to. */
function bodyOf(body: GivenDirectResponse['body']): Uint8Array {
  if (body?.bytes === undefined) return new TextEncoder().encode(body?.string ?? '')
  return new Uint8Array(Buffer.from(body.bytes, 'base64'))
}

/** Without a namespace it is the object's own that is meant. */
export function delegate(
  { name, namespace }: NonNullable<GivenHttpRule['delegate']>,
  path: string,
  reading: Reading,
): Delegate {
  if (!name) throw new Rejected(`${path}.name`, 'is required')
  return {
    kind: 'delegate',
    namespace: namespace ? dnsLabel(namespace, `${path}.namespace`) : reading.namespace,
    name,
  }
}

export function rewrite({ uri, authority, uriRegexRewrite }: GivenRewrite, path: string): Rewrite {
  if (uri && uriRegexRewrite) throw new Rejected(`${path}.uriRegexRewrite`, 'must not stand beside uri')
  if (!uri && !authority && !uriRegexRewrite) throw new Rejected(path, 'must say uri, uriRegexRewrite or authority')
  return {
    uri: uriTextOrNone(uri, `${path}.uri`),
    authority: uriTextOrNone(authority, `${path}.authority`),
    regex: uriRegexRewrite ? regexRewrite(uriRegexRewrite, `${path}.uriRegexRewrite`) : null,
  }
}

function regexRewrite(
  { match = '', rewrite: by = '' }: NonNullable<GivenRewrite['uriRegexRewrite']>,
  path: string,
): Rewrite['regex'] {
  demandRegexLength(match, `${path}.match`)
  const text = uriTextOrNone(by, `${path}.rewrite`)
  if (text === null) throw new Rejected(`${path}.rewrite`, 'is required')
  const regex = { match, by: text }
  const groups = compiled(() => substitutionOf({ match, by: '' }).regex.groupCount(), `${path}.match`)
  for (const [whole, digit] of text.matchAll(/\\(\d|\\)?/g)) {
    if (digit === undefined) throw new Rejected(`${path}.rewrite`, `has '${whole}' before neither a digit nor itself`)
    if (Number(digit) > groups) throw new Rejected(`${path}.rewrite`, `the match has no group ${digit}`)
  }
  return regex
}
