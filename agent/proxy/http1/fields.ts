// The header fields that mean something to a proxy, found by length and first letter.

import { lower } from './bytes.ts'

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
export const CLIENT_CERT = 24

const KNOWN: readonly (readonly [name: string, kind: number])[] = [
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
  ['x-forwarded-client-cert', CLIENT_CERT], // whoever sends it has no business to say it
  ['x-envoy-upstream-rq-timeout-ms', RQ_TIMEOUT], // meant for the caller's own mesh alone
]

const LONGEST = 32

/** For each length and first letter: one more than the index of the only name that it may be, 0 where there is none. */
const CANDIDATES = new Uint8Array(LONGEST * LONGEST)
/** The names, each from a multiple of LONGEST on, and what they are. */
const NAMES = new Uint8Array(LONGEST * KNOWN.length)
const KINDS = Uint8Array.from(KNOWN, ([, kind]) => kind)
for (const [index, [name]] of KNOWN.entries()) {
  const slot = slotOf(name.length, name.charCodeAt(0))
  if (CANDIDATES[slot] !== 0) throw new Error(`${name} and another name have one slot`)
  CANDIDATES[slot] = index + 1
  NAMES.set(Buffer.from(name), LONGEST * index)
}

/** Letters of either case have one slot. */
function slotOf(length: number, first: number): number {
  return length * LONGEST + (first & (LONGEST - 1))
}

/** What the field named `bytes[from, to)` is. */
export function kindOf(bytes: Uint8Array, from: number, to: number): number {
  const length = to - from
  if (length >= LONGEST) return OTHER
  const candidate = CANDIDATES[slotOf(length, bytes[from] as number)] as number
  if (candidate === 0) return OTHER
  const name = LONGEST * (candidate - 1)
  for (let i = 0; i < length; i++) if (lower(bytes[from + i] as number) !== NAMES[name + i]) return OTHER
  return KINDS[candidate - 1] as number
}
