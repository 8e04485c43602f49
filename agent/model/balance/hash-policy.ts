// What is hashed of a request or connection, so that those that are alike go to one endpoint: pure.

import type { Backends } from '../backends.ts'
import { textHash } from './hashing.ts'
import { queryValue, type RequestFacts } from '../http/match.ts'
import type { ConsistentHash } from '../traffic-policy.ts'

/** The hash of a request. */
export interface Hashed {
  /** 32 bits, unsigned, well mixed. */
  readonly hash: number
  /** A whole Set-Cookie value that the response is to carry, or null. */
  readonly cookie: string | null
}

/** What hashes are made of. */
export interface Hashable {
  /** The caller's address. */
  readonly client: string
  /** Null for a connection that is carried as bytes. */
  readonly request: RequestFacts | null
  /** A fresh random text of cookie octets, for a cookie that must be issued. */
  readonly seed: () => string
}

/** The hash, or null where the policy wants none or what it hashes is not there: any endpoint will do then, as with Envoy. */
export function hashOf(backends: Backends, { client, request, seed }: Hashable): Hashed | null {
  const policy = backends.policy.balancing.hash
  if (policy === null) return null
  const { by } = policy
  switch (by.kind) {
    case 'source-ip':
      return hashed(client)
    case 'header': {
      const value = request?.header(by.name)
      return value === undefined ? null : hashed(value)
    }
    case 'query': {
      const value = request === null ? null : queryValue(request.target, by.name)
      return value === null ? null : hashed(value)
    }
    case 'cookie': {
      if (request === null) return null
      const value = cookieValue(request.header('cookie') ?? '', by.name)
      if (value !== null && value !== '') return hashed(value)
      if (by.ttlSeconds === null) return null
      const fresh = seed()
      return { hash: textHash(fresh), cookie: setCookie(by, fresh) }
    }
  }
}

function hashed(value: string): Hashed {
  return { hash: textHash(value), cookie: null }
}

/**
 * The value of the first cookie of a name, less the quotes around it (RFC 6265 §4.2.1, §5.4); null where none is there.
 * Several lines are joined by commas, which stand in no value that keeps to the RFC: they are looked at last.
 */
export function cookieValue(field: string, name: string): string | null {
  return valueIn(field.split(';'), name) ?? (field.includes(',') ? valueIn(field.split(/[;,]/), name) : null)
}

function valueIn(pairs: readonly string[], name: string): string | null {
  for (const pair of pairs) {
    const equals = pair.indexOf('=')
    if (equals < 0 || pair.slice(0, equals).trim() !== name) continue
    const value = pair.slice(equals + 1).trim()
    return value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value
  }
  return null
}

/** As Envoy writes it: quoted, without Max-Age for one of the session, and kept from scripts. */
function setCookie(
  { name, path, ttlSeconds, attributes }: ConsistentHash['by'] & { kind: 'cookie' },
  value: string,
): string {
  const age = ttlSeconds === null || ttlSeconds === 0 ? '' : `; Max-Age=${ttlSeconds}`
  const more = attributes.map(([attribute, said]) => (said === '' ? `; ${attribute}` : `; ${attribute}=${said}`))
  return `${name}="${value}"${age}${path === '' ? '' : `; Path=${path}`}${more.join('')}; HttpOnly`
}
