// The dial by which an agent sees whether capture works: whom it dials, and what its own data side answers.

import type { IpFamily, SocketAddress } from './address.ts'

/** Addresses that nobody has (RFC 7600 §3.2; RFC 6666), port discard. */
export const SELF_DIAL: Readonly<Record<IpFamily, SocketAddress>> = {
  4: { ip: '192.0.0.8', port: 9 },
  6: { ip: '100::8', port: 9 },
}

export function isSelfDial({ ip, port }: SocketAddress): boolean {
  return port === SELF_DIAL[4].port && (ip === SELF_DIAL[4].ip || ip === SELF_DIAL[6].ip)
}

/** What the data side answers, by the cookie of the pod's network namespace. */
export function selfDialAnswer(cookie: string): string {
  return `weft ${cookie}\n`
}
