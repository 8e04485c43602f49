// What is told ahead of a connection's first byte of who made it: the PROXY protocol (haproxy.org, proxy-protocol.txt).

import { familyOf, ipWords, type SocketAddress } from './address.ts'

/** A header to be sent: `source` is who dialled, `destination` what was dialled. */
export interface ProxyHeader {
  readonly version: 1 | 2
  readonly source: SocketAddress
  readonly destination: SocketAddress
}

/** What version 2 begins with (§2.2). */
const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]
/** Version 2, PROXY: on behalf of another. */
const VERSION_COMMAND = 0x21
/** A stream of IPv4, of IPv6. */
const TCP4 = 0x11
const TCP6 = 0x21

/** Its bytes. Where the addresses are of two families, both are written as IPv6, IPv4 in its mapped form. */
export function proxyHeader(header: ProxyHeader): Uint8Array {
  return header.version === 1 ? textHeader(header) : binaryHeader(header)
}

/** §2.1 */
function textHeader({ source, destination }: ProxyHeader): Uint8Array {
  const isFour = familyOf(source.ip) === 4 && familyOf(destination.ip) === 4
  const text = (ip: string): string => (isFour || familyOf(ip) === 6 ? ip : `::ffff:${ip}`)
  const ends = `${text(source.ip)} ${text(destination.ip)} ${source.port} ${destination.port}`
  return Buffer.from(`PROXY ${isFour ? 'TCP4' : 'TCP6'} ${ends}\r\n`, 'latin1')
}

/** §2.2 */
function binaryHeader({ source, destination }: ProxyHeader): Uint8Array {
  const isFour = familyOf(source.ip) === 4 && familyOf(destination.ip) === 4
  const body = [source.ip, destination.ip].flatMap((ip) => bytesOf(ip).slice(isFour ? -4 : -16))
  body.push(...[source.port, destination.port].flatMap((port) => [port >> 8, port & 0xff]))
  return Uint8Array.from([...SIGNATURE, VERSION_COMMAND, isFour ? TCP4 : TCP6, 0, body.length, ...body])
}

/** The 16 bytes of an address, IPv4 in its mapped form. */
function bytesOf(ip: string): number[] {
  return (ipWords(ip) ?? []).flatMap((word) => [word >> 8, word & 0xff])
}

const TEXT_BEGINS = [...'PROXY TCP'].map((letter) => letter.charCodeAt(0))

/** Whether bytes begin with a header as it is sent here; `partial`: so far they do. */
export function beginsProxyHeader(bytes: Uint8Array): 'yes' | 'no' | 'partial' {
  for (const begin of [TEXT_BEGINS, SIGNATURE]) {
    const seen = Math.min(begin.length, bytes.length)
    if (begin.slice(0, seen).every((byte, at) => bytes[at] === byte)) return seen === begin.length ? 'yes' : 'partial'
  }
  return 'no'
}
