// Addresses as the mesh speaks of them: canonical text for the IP, a number for the port.

/** One end of a TCP connection. `ip` is canonical text: dotted IPv4, or IPv6 as RFC 5952 writes it. */
export interface SocketAddress {
  readonly ip: string
  /** 0..65535 */
  readonly port: number
}

/** The text `ip:port` (`[ip]:port` for IPv6), equal for equal addresses: use it as a map key and in logs. */
export function addressText(address: SocketAddress): string {
  return address.ip.includes(':') ? `[${address.ip}]:${address.port}` : `${address.ip}:${address.port}`
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
