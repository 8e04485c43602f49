// The byte layout of what bpf/mesh.h shares, written and read here and nowhere else. All but cookies and counters is in
// network byte order.
import type { SocketAddress } from '../model/address.ts'

/** sizeof in bpf/mesh.h */
export const ADDRESS_BYTES = 20
export const POD_BYTES = 24
export const OWN_BYTES = 32
export const LISTENING_BYTES = 16
export const PORTS_BYTES = 264

/** #defines of bpf/mesh.h */
export const PORTS_GROUPS = 64
export const PORTS_SLOTS = 16

/** Names of `enum counter`, in its order. */
export const COUNTERS = ['captured', 'handed', 'missing', 'direct', 'passed', 'full', 'noMemory', 'crowded'] as const

/** Names of `enum inbound_counter`, in its order. */
export const INBOUND_COUNTERS = ['steered', 'let', 'dropped', 'closed'] as const

const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1
const DOTTED = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/

/** Writes `struct address` at an offset. Throws RangeError for anything but dotted IPv4 and a port of 0..65535. */
export function writeAddress(view: DataView, offset: number, address: SocketAddress): void {
  const parts = DOTTED.exec(address.ip)
  if (!parts) throw new RangeError(`not an IPv4 address: ${address.ip}`)
  if (!Number.isInteger(address.port) || address.port < 0 || address.port > 65535) {
    throw new RangeError(`not a port: ${address.port}`)
  }
  view.setUint32(offset, 0)
  view.setUint32(offset + 4, 0)
  view.setUint32(offset + 8, 0xffff)
  for (let i = 0; i < 4; i++) {
    const part = Number(parts[i + 1])
    if (part > 255) throw new RangeError(`not an IPv4 address: ${address.ip}`)
    view.setUint8(offset + 12 + i, part)
  }
  view.setUint16(offset + 16, address.port)
  view.setUint16(offset + 18, 0)
}

/** Reads `struct address`. Only IPv4 is ever written by the programs. */
export function readAddress(view: DataView, offset: number): SocketAddress {
  const ip = [12, 13, 14, 15].map((at) => view.getUint8(offset + at)).join('.')
  return { ip, port: view.getUint16(offset + 16) }
}

/** A netns cookie as a map key. */
export function cookieKey(cookie: string): Uint8Array {
  const key = new Uint8Array(8)
  new DataView(key.buffer).setBigUint64(0, BigInt(cookie), LITTLE)
  return key
}

/** An fd, or an index, as a map key or value. */
export function intBytes(value: number): Uint8Array {
  return new Uint8Array(new Int32Array([value]).buffer)
}

/** An fd as the value of a map of sockets. */
export function longBytes(value: number): Uint8Array {
  return new Uint8Array(new BigInt64Array([BigInt(value)]).buffer)
}

/** `struct pod` */
export function podValue(ip: string, outboundPort: number, inboundPort: number): Uint8Array {
  const bytes = new Uint8Array(POD_BYTES)
  const view = new DataView(bytes.buffer)
  writeAddress(view, 0, { ip, port: 0 })
  view.setUint16(ADDRESS_BYTES, outboundPort)
  view.setUint16(ADDRESS_BYTES + 2, inboundPort)
  return bytes
}

/** `struct own`; no callee = elsewhere, no client = the callee sees the truth. */
export function ownValue(callee: string | undefined, client: SocketAddress | undefined): Uint8Array {
  const bytes = new Uint8Array(OWN_BYTES)
  const view = new DataView(bytes.buffer)
  if (callee !== undefined) view.setBigUint64(0, BigInt(callee), LITTLE)
  if (client !== undefined) writeAddress(view, 8, client)
  return bytes
}

/** `struct listening`s, one after the other; a free slot has socket 0. */
export function readListening(bytes: Uint8Array): { readonly socket: bigint; readonly place: bigint }[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Array.from({ length: bytes.byteLength / LISTENING_BYTES }, (_, i) => ({
    socket: view.getBigUint64(i * LISTENING_BYTES, LITTLE),
    place: view.getBigUint64(i * LISTENING_BYTES + 8, LITTLE),
  }))
}

/** A place (place_of() in bpf/mesh.h) as a map key. */
export function placeKey(place: bigint): Uint8Array {
  return new Uint8Array(new BigUint64Array([place]).buffer)
}

/** `struct ports` of a group that passes for open as a whole. */
export function crowdedPorts(): Uint8Array {
  const bytes = new Uint8Array(PORTS_BYTES)
  new DataView(bytes.buffer).setBigUint64(0, 1n, LITTLE)
  return bytes
}

/** The sum over all CPUs of a per-CPU counter's value. */
export function sumOf(values: Uint8Array): number {
  let sum = 0n
  for (const value of new BigUint64Array(values.buffer, values.byteOffset, values.byteLength / 8)) sum += value
  return Number(sum)
}
