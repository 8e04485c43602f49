// Whom a request is addressed to: the forms of its target, and Host (RFC 9112 §3.2). Pure.

const SCHEME = 'http://'
const LARGEST_PORT = 65535

/** unreserved, sub-delims, and the sign of what is percent-encoded (RFC 3986 §3.2.2). */
const NAME = classOf(/[A-Za-z0-9\-._~!$&'()*+,;=%]/)
/** What stands between the brackets of an IPv6 address. */
const IPV6 = classOf(/[0-9A-Fa-f:.]/)

/** A request target in origin form (or `*`, or the authority that CONNECT names), and the authority that it is asked of. */
export interface Addressed {
  readonly target: string
  readonly authority: string
}

/**
 * Understands a request target. `host` is the Host field's value, or null where HTTP/1.0 gave none: then `dialled` is the
 * authority. An absolute target overrides Host (§3.2.2), which must be sound all the same. Returns why it must be refused
 * (400), where it must: a form that the method does not have, or a host that is none.
 */
export function addressed(method: string, target: string, host: string | null, dialled: string): Addressed | string {
  if (host !== null && !isAuthority(host)) return 'the Host field names no host'
  if (method === 'CONNECT') return authorityForm(target) ?? 'CONNECT names no host and port'
  if (target.startsWith('/') || (target === '*' && method === 'OPTIONS')) return { target, authority: host ?? dialled }
  if (target.slice(0, SCHEME.length).toLowerCase() !== SCHEME) return 'the request target has no form that is known'
  const rest = target.slice(SCHEME.length)
  const end = rest.search(/[/?]/)
  const authority = end < 0 ? rest : rest.slice(0, end)
  if (!isAuthority(authority)) return 'the request target names no host'
  if (end < 0) return { target: method === 'OPTIONS' ? '*' : '/', authority }
  const path = rest.slice(end)
  return { target: path.startsWith('/') ? path : `/${path}`, authority }
}

/** RFC 9112 §3.2.3: a host and a port, both demanded; it is what Host should say too. */
function authorityForm(target: string): Addressed | null {
  return isAuthority(target) && /:[0-9]+$/.test(target) ? { target, authority: target } : null
}

/** uri-host [ ":" port ] of the http scheme: a host is not empty (RFC 9110 §4.2.1), and nobody's name stands before it. */
export function isAuthority(text: string): boolean {
  let p = text.startsWith('[') ? skip(text, 1, IPV6) : skip(text, 0, NAME)
  if (text.startsWith('[') && (p === 1 || text[p++] !== ']')) return false
  if (p === 0) return false
  if (p === text.length) return true
  return text[p] === ':' && isPort(text.slice(p + 1))
}

function isPort(text: string): boolean {
  return text.length <= 5 && /^[0-9]*$/.test(text) && Number(text) <= LARGEST_PORT
}

function skip(text: string, from: number, allowed: Uint8Array): number {
  let p = from
  while (p < text.length && allowed[text.charCodeAt(p)] === 1) p++
  return p
}

function classOf(pattern: RegExp): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, code) => (pattern.test(String.fromCharCode(code)) ? 1 : 0))
}
