// Addresses as the mesh speaks of them: canonical text for the IP, a number for the port.

/** One end of a TCP connection. `ip` is canonical text, as canonicalIp() gives it. */
export interface SocketAddress {
  readonly ip: string
  /** 0..65535 */
  readonly port: number
}

/** 4 or 6: IPv4, or IPv6. */
export type IpFamily = 4 | 6

/** The text `ip:port` (`[ip]:port` for IPv6), equal for equal addresses: use it as a map key and in logs. */
export function addressText(address: SocketAddress): string {
  return address.ip.includes(':') ? `[${address.ip}]:${address.port}` : `${address.ip}:${address.port}`
}

/** The IP in a text that addressText() made. */
export function ipIn(text: string): string {
  const ip = text.slice(0, text.lastIndexOf(':'))
  return ip.startsWith('[') ? ip.slice(1, -1) : ip
}

/** The family of a canonical IP. */
export function familyOf(ip: string): IpFamily {
  return ip.includes(':') ? 6 : 4
}

/**
 * The one text of an IP: dotted IPv4, also for IPv4-mapped IPv6, else IPv6 as RFC 5952 §4 writes it, which is what the
 * kernel's addresses are written as. Null for what is no address: a zone, a leading zero in IPv4, a host name.
 */
export function canonicalIp(text: string): string | null {
  const words = ipWords(text)
  return words === null ? null : ipText(words)
}

/** The eight 16-bit words of an IP, IPv4 as IPv4-mapped IPv6 (RFC 4291 §2.5.5.2); null for what is no address. */
export function ipWords(text: string): number[] | null {
  if (!text.includes(':')) {
    const low = v4Words(text)
    return low === null ? null : [0, 0, 0, 0, 0, 0xffff, ...low]
  }
  const [head = '', tail, surplus] = text.split('::')
  if (surplus !== undefined) return null
  if (tail === undefined) {
    const words = v6Words(head, true)
    return words?.length === 8 ? words : null
  }
  const left = v6Words(head, false)
  const right = v6Words(tail, true)
  if (left === null || right === null || left.length + right.length > 7) return null // `::` is one word at least
  return [...left, ...Array<number>(8 - left.length - right.length).fill(0), ...right]
}

/** Eight words as canonical text. */
export function ipText(words: readonly number[]): string {
  if (isMapped(words)) {
    const [high = 0, low = 0] = words.slice(6)
    return `${high >> 8}.${high & 0xff}.${low >> 8}.${low & 0xff}`
  }
  const { from, to } = longestZeros(words)
  const hex = (part: readonly number[]): string => part.map((word) => word.toString(16)).join(':')
  return to - from < 2 ? hex(words) : `${hex(words.slice(0, from))}::${hex(words.slice(to))}`
}

/**
 * Whether a connection to an IP ends in the network namespace it was made in: 127.0.0.0/8 and ::1 (RFC 1122 §3.2.1.3,
 * RFC 4291 §2.5.3), the same as IPv4-mapped IPv6, and the unspecified address, which Linux connects to loopback.
 */
export function isLoopback(ip: string): boolean {
  const own = ip.startsWith('::ffff:') ? ip.slice('::ffff:'.length) : ip
  if (own === '::1' || own === '::') return true
  if (own.includes('.')) return own.startsWith('127.') || own === '0.0.0.0'
  return own !== ip && /^7f[0-9a-f]{2}:|^0:0$/.test(own) // mapped, its last 32 bits in hexadecimal
}

function isMapped(words: readonly number[]): boolean {
  return words[5] === 0xffff && words.slice(0, 5).every((word) => word === 0)
}

/** The first of the longest runs of zero words. */
function longestZeros(words: readonly number[]): { from: number; to: number } {
  let best = { from: 0, to: 0 }
  let from = 0
  words.forEach((word, at) => {
    if (word !== 0) from = at + 1
    else if (at + 1 - from > best.to - best.from) best = { from, to: at + 1 }
  })
  return best
}

function v4Words(text: string): [number, number] | null {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part))) return null
  const [a, b, c, d] = parts.map(Number) as [number, number, number, number]
  return Math.max(a, b, c, d) > 255 ? null : [(a << 8) | b, (c << 8) | d]
}

/** Colon-separated words; the last may be dotted IPv4 where `isEnd`. */
function v6Words(text: string, isEnd: boolean): number[] | null {
  if (text === '') return []
  const parts = text.split(':')
  const words: number[] = []
  for (const [at, part] of parts.entries()) {
    const dotted = isEnd && at === parts.length - 1 ? v4Words(part) : null
    if (dotted !== null) words.push(...dotted)
    else if (/^[0-9a-f]{1,4}$/i.test(part)) words.push(Number.parseInt(part, 16))
    else return null
  }
  return words
}
