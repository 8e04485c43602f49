// What requests are told apart by that are to go to one endpoint each.

import type { ConsistentHash } from '../../model/traffic-policy.ts'
import type { GivenHash } from '../istio.ts'
import { Rejected } from '../translate.ts'
import { durationOrNone, milliseconds, token } from './checked.ts'

export function consistentHash(given: GivenHash, path: string): ConsistentHash {
  return { by: keyOf(given, path), algorithm: algorithmOf(given, path) }
}

function keyOf(given: GivenHash, path: string): ConsistentHash['by'] {
  const { httpHeaderName, httpCookie, useSourceIp, httpQueryParameterName } = given
  const keys: ConsistentHash['by'][] = []
  if (httpHeaderName) {
    keys.push({ kind: 'header', name: token(httpHeaderName, `${path}.httpHeaderName`).toLowerCase() })
  }
  if (httpCookie !== undefined) keys.push(cookie(httpCookie, `${path}.httpCookie`))
  if (useSourceIp) keys.push({ kind: 'source-ip' })
  if (httpQueryParameterName) keys.push({ kind: 'query', name: httpQueryParameterName })
  const [key] = keys
  if (key !== undefined && keys.length === 1) return key
  const words = 'httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName'
  throw new Rejected(path, `must name one thing to hash: ${words}`)
}

type Cookie = Extract<ConsistentHash['by'], { readonly kind: 'cookie' }>

/** Without a ttl none is issued where none came, with `0s` one for the session (Istio). */
function cookie(given: NonNullable<GivenHash['httpCookie']>, path: string): Cookie {
  const { ttl, path: cookiePath = '', attributes = [] } = given
  if (given.name === '') throw new Rejected(`${path}.name`, 'is required')
  return {
    kind: 'cookie',
    name: token(given.name, `${path}.name`),
    path: cookieText(cookiePath, `${path}.path`),
    ttlSeconds: ttl === undefined ? null : seconds(ttl, `${path}.ttl`),
    attributes: attributes.map(({ name, value = '' }, index) => {
      const at = `${path}.attributes[${index}]`
      return [token(name, `${at}.name`), cookieText(value, `${at}.value`)]
    }),
  }
}

/** A cookie's lifetime is of whole seconds; less than one must not become a session. */
function seconds(text: string, path: string): number {
  durationOrNone(text, path)
  return Math.ceil(milliseconds(text, path) / 1000)
}

/** What an attribute may say (RFC 6265 §4.1.1): a semicolon would begin the next. */
function cookieText(text: string, path: string): string {
  if (!/^[\x20-\x3a\x3c-\x7e]*$/.test(text)) throw new Rejected(path, 'may hold ASCII without semicolons alone')
  return text
}

/** Istio's default, and what Envoy has at most. */
const RING_DEFAULT = 1024
const RING_MAX = 8 * 1024 * 1024
/** Envoy's default, and what it has at most: both are primes, as every size of a table must be for its steps to reach all. */
const TABLE_DEFAULT = 65537
const TABLE_MAX = 5000011

function algorithmOf({ ringHash, maglev, minimumRingSize }: GivenHash, path: string): ConsistentHash['algorithm'] {
  if (ringHash !== undefined && maglev !== undefined)
    throw new Rejected(`${path}.maglev`, 'must not stand beside ringHash')
  if (minimumRingSize && (ringHash ?? maglev) !== undefined) {
    throw new Rejected(`${path}.minimumRingSize`, 'must not stand beside ringHash or maglev')
  }
  if (maglev !== undefined) {
    return { kind: 'maglev', tableSize: tableSize(maglev.tableSize || TABLE_DEFAULT, `${path}.maglev.tableSize`) }
  }
  const at = ringHash === undefined ? `${path}.minimumRingSize` : `${path}.ringHash.minimumRingSize`
  const size = (ringHash?.minimumRingSize ?? minimumRingSize) || RING_DEFAULT
  if (size > RING_MAX) throw new Rejected(at, `must be ${RING_MAX} at most`)
  return { kind: 'ring', minimumSize: size }
}

function tableSize(size: number, path: string): number {
  if (size > TABLE_MAX) throw new Rejected(path, `must be ${TABLE_MAX} at most`)
  if (!isPrime(size)) throw new Rejected(path, `${size} is no prime number`)
  return size
}

function isPrime(value: number): boolean {
  if (value < 2) return false
  for (let factor = 2; factor * factor <= value; factor++) if (value % factor === 0) return false
  return true
}
