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

/** Whether two addresses are the same end. */
export function sameAddress(a: SocketAddress, b: SocketAddress): boolean {
  return a.port === b.port && a.ip === b.ip
}

/** Whether an IP stays on the machine (127.0.0.0/8, ::1; RFC 1122 §3.2.1.3, RFC 4291 §2.5.3). */
export function isLoopback(ip: string): boolean {
  return ip.startsWith('127.') || ip === '::1'
}
