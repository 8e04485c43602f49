// The byte layout of what bpf/mesh.h shares, written and read here and nowhere else. All but cookies, counters and flags
// is in network byte order.
import { familyOf, ipText, ipWords, type SocketAddress } from '../model/address.ts'
import { parseCidr } from '../model/terms.ts'
import type { OpenConnection, Sum, TallyKey } from './kernel.ts'

/** #define of bpf/mesh.h: pinned maps are taken over only where it is equal. */
export const LAYOUT = 1

/** sizeof in bpf/mesh.h */
export const ADDRESS_BYTES = 20
export const POD_BYTES = 64
export const OWN_BYTES = 32
export const EXCLUDED_PORT_BYTES = 16
export const EXCLUDED_BLOCK_BYTES = 32
export const PROBER_BYTES = 16
export const TALLY_KEY_BYTES = 24
export const TALLY_BYTES = 48
export const LISTENING_BYTES = 16
export const PORTS_BYTES = 264
/** sizeof(struct connection) in native/diag.cc */
export const CONNECTION_BYTES = 96

/** #defines of bpf/mesh.h */
export const PORTS_GROUPS = 64
export const PORTS_SLOTS = 16
export const SPREAD = 8

/** #defines of bpf/mesh.h that begin with POD_ */
export const FLAG = {
  node: 1,
  pending: 2,
  leaving: 4,
  closed: 8,
  ports: 16,
  blocks: 32,
  proved: 64,
  deaf: 128,
} as const

/** Names of `enum counter`, in its order. */
export const COUNTERS = [
  'captured',
  'handed',
  'missing',
  'direct',
  'passed',
  'full',
  'noMemory',
  'crowded',
  'pending',
  'lost',
  'opened',
  'excluded',
  'probes',
  'spilled',
] as const

/** Names of `enum inbound_counter`, in its order. */
export const INBOUND_COUNTERS = ['steered', 'let', 'dropped', 'closed', 'lost', 'opened', 'excluded'] as const

/** Names of `enum direction` and `enum passage`, in their order. */
export const DIRECTIONS = ['outbound', 'inbound'] as const
export const PASSAGES = ['proxy', 'direct', 'probe'] as const

const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Writes an IP as 16 bytes. Throws RangeError for anything else. */
function writeIp(view: DataView, offset: number, ip: string): void {
  const words = ipWords(ip)
  if (words === null) throw new RangeError(`not an IP address: ${ip}`)
  words.forEach((word, index) => view.setUint16(offset + 2 * index, word))
}

/** Writes `struct address` at an offset. Throws RangeError for anything but an IP and a port of 0..65535. */
export function writeAddress(view: DataView, offset: number, address: SocketAddress): void {
  if (!Number.isInteger(address.port) || address.port < 0 || address.port > 65535) {
    throw new RangeError(`not a port: ${address.port}`)
  }
  writeIp(view, offset, address.ip)
  view.setUint16(offset + 16, address.port)
  view.setUint16(offset + 18, 0)
}

/** Reads `struct address`. */
export function readAddress(view: DataView, offset: number): SocketAddress {
  const words = Array.from({ length: 8 }, (_, index) => view.getUint16(offset + 2 * index))
  return { ip: ipText(words), port: view.getUint16(offset + 16) }
}

/** An address as a map key. */
export function addressKey(address: SocketAddress): Uint8Array {
  const bytes = new Uint8Array(ADDRESS_BYTES)
  writeAddress(viewOf(bytes), 0, address)
  return bytes
}

/** A netns cookie as a map key, or as a value. */
export function cookieKey(cookie: string): Uint8Array {
  const key = new Uint8Array(8)
  viewOf(key).setBigUint64(0, BigInt(cookie), LITTLE)
  return key
}

/** A netns cookie that is a map's key or value, at an offset of it. */
export function readCookie(bytes: Uint8Array, offset = 0): string {
  return viewOf(bytes).getBigUint64(offset, LITTLE).toString()
}

/** An fd, or an index, as a map key or value. */
export function intBytes(value: number): Uint8Array {
  return new Uint8Array(new Int32Array([value]).buffer)
}

/** An id as a map's value. */
export function readInt(bytes: Uint8Array): number {
  return viewOf(bytes).getInt32(0, LITTLE)
}

/** An fd as the value of a map of sockets. */
export function longBytes(value: number): Uint8Array {
  return new Uint8Array(new BigInt64Array([BigInt(value)]).buffer)
}

/** What `struct pod` says. */
export interface PodValue {
  readonly cookie: string
  /** Null: the pod has none of that family. */
  readonly shown4: string | null
  readonly shown6: string | null
  /** 0: there is no such listener. */
  readonly outbound4: number
  readonly outbound6: number
  readonly inbound4: number
  readonly inbound6: number
  /** FLAGs, ORed. */
  readonly flags: number
}

/** `struct pod` */
export function podValue(pod: PodValue): Uint8Array {
  const bytes = new Uint8Array(POD_BYTES)
  const view = viewOf(bytes)
  view.setBigUint64(0, BigInt(pod.cookie), LITTLE)
  if (pod.shown4 !== null) writeAddress(view, 8, { ip: pod.shown4, port: 0 })
  if (pod.shown6 !== null) writeAddress(view, 8 + ADDRESS_BYTES, { ip: pod.shown6, port: 0 })
  const ports = [pod.outbound4, pod.outbound6, pod.inbound4, pod.inbound6]
  ports.forEach((port, index) => view.setUint16(8 + 2 * ADDRESS_BYTES + 2 * index, port))
  view.setUint32(16 + 2 * ADDRESS_BYTES, pod.flags, LITTLE)
  return bytes
}

/** `struct own`; no callee = elsewhere, no client = the callee sees the truth. */
export function ownValue(callee: string | undefined, client: SocketAddress | undefined): Uint8Array {
  const bytes = new Uint8Array(OWN_BYTES)
  const view = viewOf(bytes)
  if (callee !== undefined) view.setBigUint64(0, BigInt(callee), LITTLE)
  if (client !== undefined) writeAddress(view, 8, client)
  return bytes
}

/** `struct excluded_port` */
export function excludedPortKey(cookie: string, direction: (typeof DIRECTIONS)[number], port: number): Uint8Array {
  const bytes = new Uint8Array(EXCLUDED_PORT_BYTES)
  const view = viewOf(bytes)
  view.setBigUint64(0, BigInt(cookie), LITTLE)
  view.setUint16(8, port)
  view.setUint16(10, DIRECTIONS.indexOf(direction), LITTLE)
  return bytes
}

/** `struct excluded_block` of a canonical CIDR (parseCidr of model/terms.ts). Throws RangeError for anything else. */
export function excludedBlockKey(cookie: string, cidr: string): Uint8Array {
  const [ip = '', length = ''] = cidr.split('/')
  if (parseCidr(cidr) !== cidr) throw new RangeError(`not a canonical CIDR: ${cidr}`)
  const bytes = new Uint8Array(EXCLUDED_BLOCK_BYTES)
  const view = viewOf(bytes)
  const family = familyOf(ip)
  view.setUint32(0, 96 + Number(length) + (family === 4 ? 96 : 0), LITTLE)
  view.setBigUint64(4, BigInt(cookie), LITTLE)
  view.setUint32(12, family, LITTLE)
  writeIp(view, 16, ip)
  return bytes
}

/** `struct prober` */
export function proberValue(cgroup: bigint, level: number): Uint8Array {
  const bytes = new Uint8Array(PROBER_BYTES)
  viewOf(bytes).setBigUint64(0, cgroup, LITTLE)
  viewOf(bytes).setUint32(8, level, LITTLE)
  return bytes
}

/** Reads `struct tally_key`. */
export function readTallyKey(bytes: Uint8Array, offset: number): TallyKey {
  const view = viewOf(bytes)
  const remote = readAddress(view, offset)
  return {
    remote: remote.ip === '::' ? null : remote,
    direction: DIRECTIONS[view.getUint16(offset + ADDRESS_BYTES, LITTLE)] ?? 'outbound',
    passage: PASSAGES[view.getUint16(offset + ADDRESS_BYTES + 2, LITTLE)] ?? 'direct',
  }
}

/** The key under which connections without room for their own are summed. */
export function spillKey(direction: TallyKey['direction'], passage: TallyKey['passage']): Uint8Array {
  const bytes = new Uint8Array(TALLY_KEY_BYTES)
  viewOf(bytes).setUint16(ADDRESS_BYTES, DIRECTIONS.indexOf(direction), LITTLE)
  viewOf(bytes).setUint16(ADDRESS_BYTES + 2, PASSAGES.indexOf(passage), LITTLE)
  return bytes
}

/** Reads `struct tally`. */
export function readTally(bytes: Uint8Array, offset: number): Sum {
  const view = viewOf(bytes)
  const word = (index: number): number => Number(view.getBigUint64(offset + 8 * index, LITTLE))
  return {
    opened: word(0),
    closed: word(1),
    sentBytes: word(2),
    receivedBytes: word(3),
    retransmits: word(4),
    srttUs: word(5),
  }
}

/** A connection that is open now, as sock_diag tells it. */
export interface ConnectionRow extends OpenConnection {
  /** The proxy's own, or a probe's. */
  readonly own: boolean
  /** It does not leave the pod. */
  readonly inside: boolean
}

/** Reads `struct connection`s of native/diag.cc. */
export function readConnections(bytes: Uint8Array): ConnectionRow[] {
  const view = viewOf(bytes)
  return Array.from({ length: bytes.byteLength / CONNECTION_BYTES }, (_, index) => {
    const at = index * CONNECTION_BYTES
    const hasTally = bytes.subarray(at + 24, at + 24 + TALLY_KEY_BYTES).some((byte) => byte !== 0)
    return {
      socket: view.getBigUint64(at, LITTLE),
      sentBytes: Number(view.getBigUint64(at + 8, LITTLE)),
      receivedBytes: Number(view.getBigUint64(at + 16, LITTLE)),
      tally: hasTally ? readTallyKey(bytes, at + 24) : null,
      own: view.getUint32(at + 48, LITTLE) !== 0,
      inside: view.getUint32(at + 52, LITTLE) !== 0,
      local: readAddress(view, at + 56),
      remote: readAddress(view, at + 56 + ADDRESS_BYTES),
    }
  })
}

/** `struct listening`s, one after the other; a free slot has socket 0. */
export function readListening(bytes: Uint8Array): { readonly socket: bigint; readonly place: bigint }[] {
  const view = viewOf(bytes)
  return Array.from({ length: bytes.byteLength / LISTENING_BYTES }, (_, i) => ({
    socket: view.getBigUint64(i * LISTENING_BYTES, LITTLE),
    place: view.getBigUint64(i * LISTENING_BYTES + 8, LITTLE),
  }))
}

/** A place (place_of() in bpf/mesh.h) as a map key. */
export function placeKey(place: bigint): Uint8Array {
  return new Uint8Array(new BigUint64Array([place]).buffer)
}

/** A place that is a map's key, at an offset of several. */
export function readPlace(bytes: Uint8Array, offset: number): bigint {
  return viewOf(bytes).getBigUint64(offset, LITTLE)
}

/** `struct ports` of a group that passes for open as a whole. */
export function crowdedPorts(): Uint8Array {
  const bytes = new Uint8Array(PORTS_BYTES)
  viewOf(bytes).setBigUint64(0, 1n, LITTLE)
  return bytes
}

/** The sum over all CPUs of a per-CPU counter's value. */
export function sumOf(values: Uint8Array): number {
  let sum = 0n
  for (const value of new BigUint64Array(values.buffer, values.byteOffset, values.byteLength / 8)) sum += value
  return Number(sum)
}
