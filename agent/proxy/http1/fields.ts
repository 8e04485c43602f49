// The header fields that mean something to a proxy, found by length and then by name.

import { isWord } from './bytes.ts'

// What a field is to a proxy. Those from FIRST_HOP on are hop-by-hop and never forwarded (RFC 9110 §7.6.1).
export const OTHER = 0
export const HOST = 1
export const CONTENT_LENGTH = 2
export const EXPECT = 3
export const REQUEST_ID = 4
export const FORWARDED_PROTO = 5
export const FORWARDED_FOR = 6
export const USER_AGENT = 7
export const FIRST_HOP = 16
export const CONNECTION = 16
export const TRANSFER_ENCODING = 17
export const KEEP_ALIVE = 18
export const UPGRADE = 19
export const TE = 20
export const TRAILER = 21
export const NAMED_HOP = 22
export const RQ_TIMEOUT = 23

const KNOWN: ReadonlyMap<number, readonly (readonly [name: string, kind: number])[]> = byLength([
  ['host', HOST],
  ['content-length', CONTENT_LENGTH],
  ['expect', EXPECT],
  ['x-request-id', REQUEST_ID],
  ['x-forwarded-proto', FORWARDED_PROTO],
  ['x-forwarded-for', FORWARDED_FOR],
  ['user-agent', USER_AGENT],
  ['connection', CONNECTION],
  ['proxy-connection', NAMED_HOP],
  ['transfer-encoding', TRANSFER_ENCODING],
  ['keep-alive', KEEP_ALIVE],
  ['upgrade', UPGRADE],
  ['te', TE],
  ['trailer', TRAILER], // leaves again where trailers can
  ['x-envoy-upstream-rq-timeout-ms', RQ_TIMEOUT], // meant for the caller's own mesh alone
])

function byLength(
  entries: readonly (readonly [string, number])[],
): ReadonlyMap<number, readonly (readonly [string, number])[]> {
  const index = new Map<number, [string, number][]>()
  for (const [name, kind] of entries) index.set(name.length, [...(index.get(name.length) ?? []), [name, kind]])
  return index
}

const KNOWN_LENGTHS = Array.from({ length: 32 }, (_, length) => KNOWN.get(length) ?? null)

/** What the field named `bytes[from, to)` is. */
export function kindOf(bytes: Uint8Array, from: number, to: number): number {
  const length = to - from
  const candidates = length < 32 ? KNOWN_LENGTHS[length] : null
  if (candidates == null) return OTHER
  for (const [name, kind] of candidates) if (isWord(bytes, from, to, name)) return kind
  return OTHER
}
