// The proxy's listeners inside a pod: at 127.0.0.1, and at ::1 as soon as the pod has it. Known to the pod's inbound
// program by a map of sockets, out of which the kernel takes a listener the moment that it is closed.
import { familyOf } from '../../model/address.ts'
import { type Direction, INBOUND_PORT, KernelError, LISTEN_BACKLOG, type Listener, OUTBOUND_PORT } from '../kernel.ts'
import { cookieKey, intBytes, longBytes, ownValue } from '../layout.ts'
import { errorName, must, native } from '../native.ts'

/** Slots of the map, `enum slot` of bpf/mesh.h, with the port that each listener would like. */
const PLACES: readonly { readonly direction: Direction; readonly ip: string; readonly wished: number }[] = [
  { direction: 'inbound', ip: '127.0.0.1', wished: INBOUND_PORT },
  { direction: 'inbound', ip: '::1', wished: INBOUND_PORT },
  { direction: 'outbound', ip: '127.0.0.1', wished: OUTBOUND_PORT },
  { direction: 'outbound', ip: '::1', wished: OUTBOUND_PORT },
]

/** What a pod without IPv6 answers to a bind at ::1. */
const NO_IPV6 = new Set(['EADDRNOTAVAIL', 'EAFNOSUPPORT'])

/** fds of what listeners are made in and known by. */
export interface ListeningAt {
  readonly netns: number
  readonly home: number
  /** The map of own sockets. */
  readonly own: number
  /** The pod's map of listeners. */
  readonly listeners: number
}

/** The listeners of one pod. */
export class Listening {
  readonly #at: ListeningAt
  readonly #held: (Listener | null)[]

  /** `given`: listeners that another agent has handed over; from now on they are ours to close. */
  constructor(at: ListeningAt, given: readonly Listener[]) {
    this.#at = at
    this.#held = PLACES.map(
      ({ direction, ip }) =>
        given.find((each) => each.direction === direction && familyOf(each.ip) === familyOf(ip)) ?? null,
    )
  }

  get all(): readonly Listener[] {
    return this.#held.filter((listener) => listener !== null)
  }

  /** The port of a listener, 0 where there is none. */
  port(direction: Direction, family: 4 | 6): number {
    return this.all.find((each) => each.direction === direction && familyOf(each.ip) === family)?.port ?? 0
  }

  /**
   * Opens what is missing or has been shut down, and makes sure that the program knows all. `ips`: the pod's addresses.
   * Throws KernelError.
   */
  look(ips: readonly string[]): void {
    const hasIpv6 = ips.some((ip) => familyOf(ip) === 6)
    PLACES.forEach(({ direction, ip, wished }, slot) => {
      let listener = this.#held[slot] ?? null
      // the pod itself may have ended it (SOCK_DESTROY)
      if (listener !== null && native().isListening(listener.fd) !== 1) {
        native().closeFd(listener.fd)
        this.#held[slot] = listener = null // at once: the number may be another's by the time that something throws
      }
      listener ??= this.#open({ direction, ip, wished })
      // a pod with IPv6 and no ::1: what is dialled there directly is dropped; its own dials go by way of 127.0.0.1
      if (hasIpv6 && direction === 'inbound') listener ??= this.#open({ direction, ip: '::', wished })
      this.#held[slot] = listener
      if (listener !== null) this.#tell(slot, listener)
    })
  }

  close(): void {
    for (const { fd } of this.all) native().closeFd(fd)
    this.#held.fill(null)
  }

  #open({ direction, ip, wished }: (typeof PLACES)[number]): Listener | null {
    const { netns, home, own } = this.#at
    for (const port of [wished, wished + 100, 0]) {
      const mark = ownValue(undefined, undefined)
      const fd = native().listenIn(netns, home, { ip, port, backlog: LISTEN_BACKLOG, own, mark })
      if (fd < 0 && errorName(fd) === 'EADDRINUSE') continue
      if (fd < 0 && ip === '::1' && NO_IPV6.has(errorName(fd))) return null
      must(fd, `listen at ${ip} port ${port} in the pod`)
      return { direction, ip, fd, port: port || native().ends(fd).localPort, socket: cookieOfSocket(fd) }
    }
    throw new KernelError('EADDRINUSE', `listen at ${ip} in the pod`)
  }

  /** Read from user space, the map tells the sockets' cookies. */
  #tell(slot: number, { fd, socket: cookie }: Listener): void {
    const { listeners } = this.#at
    const there = new Uint8Array(8)
    const known = native().mapGet(listeners, intBytes(slot), there) >= 0
    if (known && Buffer.compare(there, cookieKey(cookie)) === 0) return
    must(native().mapPut(listeners, intBytes(slot), longBytes(fd)), 'name a listener')
  }
}

/** The cookie of a socket, in decimal. Throws KernelError. */
export function cookieOfSocket(fd: number): string {
  const { status, cookie } = native().socketCookie(fd)
  must(status, 'read the cookie of a listener')
  return cookie
}
