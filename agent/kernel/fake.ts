// A body of Kernel for tests: no root, no BPF. A pod is an address of 127.0.0.0/8, its traffic ordinary loopback
// connections in this process. What the kernel would do to a connect() is done by dial() and reach(), which take the
// place of the application and of a caller from outside.
import net from 'node:net'
import type { SocketAddress } from '../model/address.ts'
import { addressText } from '../model/address.ts'
import { openAcceptor } from './acceptor.ts'
import type { AcceptOptions, Captured, Counters, Direction, Handles, Kernel, OpenConnection } from './kernel.ts'
import type { PodSockets, PodSource, SocketOptions, Sockets, Tally } from './kernel.ts'
import { KernelError, LISTEN_BACKLOG, ORIGINS_BOUND } from './kernel.ts'
import { must, native, NO_MARK } from './native.ts'
import { endsOf, listenerOf } from './sockets.ts'

/** For one thread: its Sockets are made by sockets(), not from handles(). `netns` of a PodSource is not looked at. */
export class FakeKernel implements Kernel {
  readonly #pods = new Map<string, Captured>()
  /** Connections that were dialled and not yet accepted, by the caller's end: where they were going. */
  readonly #flying = new Map<string, SocketAddress>()
  /** By accepted fd; as long as the number is not accepted anew. */
  readonly #origins = new Map<number, SocketAddress>()
  readonly #destinations = new Map<number, SocketAddress>()
  readonly #counters: Counters = {
    ...{ captured: 0, handed: 0, missing: 0, direct: 0, passed: 0, full: 0, noMemory: 0 },
    ...{ steered: 0, let: 0, dropped: 0, closed: 0, crowded: 0, pending: 0, lost: 0, opened: 0 },
    ...{ excluded: 0, probes: 0, spilled: 0 },
  }
  readonly lasting: boolean = false
  /** Connections that dial() and reach() made past any listener of ours, as the dialling application holds them. */
  readonly #past = new Set<PastConnection>()
  #sockets = 0n
  /** By uid: the last of #sockets when its capture began. */
  readonly #since = new Map<string, bigint>()
  /** Pods that are left half: what they dial is no longer turned. */
  readonly #loose = new Set<string>()
  #cookies = 0

  capture(pod: PodSource): Captured {
    this.#loose.delete(pod.uid)
    const ip = pod.ips[0] ?? ''
    const known = this.#pods.get(pod.uid)
    if (known?.ips[0] === ip) return known
    if (known) this.release(pod.uid)
    const listeners = (['inbound', 'outbound'] as const).map((direction) => ({
      direction,
      ip,
      socket: `${direction} ${pod.uid}`,
      ...listen(ip),
    }))
    const captured = { uid: pod.uid, ips: pod.ips, cookie: `${++this.#cookies}`, netns: -1, listeners }
    this.#pods.set(pod.uid, captured)
    this.#since.set(pod.uid, this.#sockets)
    return captured
  }

  async prove(uid: string): Promise<void> {
    if (!this.#pods.has(uid)) throw new KernelError('ENOENT', `prove ${uid}`)
  }

  loosen(uid: string): void {
    if (this.#pods.has(uid)) this.#loose.add(uid)
  }

  release(uid: string): void {
    const pod = this.#pods.get(uid)
    if (!pod) return
    this.#pods.delete(uid)
    this.#loose.delete(uid)
    this.#since.delete(uid)
    for (const { fd } of pod.listeners) native().closeFd(fd)
  }

  inherited(): readonly string[] {
    return []
  }

  cookieOf(): string {
    return '0'
  }

  disinherit(): void {}

  adopt(): void {}

  dropOtherLayouts(): void {}

  retire(): void {}

  deafen(): void {}

  look(): readonly string[] {
    return []
  }

  tallies(): readonly Tally[] {
    return []
  }

  /** Those older than the capture alone: the others it counts nowhere. */
  connections(uid: string): readonly OpenConnection[] {
    const [ip] = this.#pods.get(uid)?.ips ?? []
    const since = this.#since.get(uid) ?? 0n
    const none = { sentBytes: 0, receivedBytes: 0, tally: null }
    const older = [...this.#past].filter(({ dialled }) => dialled <= since)
    return older.flatMap(({ from, to, dialled, accepted }) => [
      ...(from.ip === ip ? [{ ...none, socket: dialled, local: from, remote: to }] : []),
      ...(to.ip === ip ? [{ ...none, socket: accepted, local: to, remote: from }] : []),
    ])
  }

  /** Those at which somebody was accepted. */
  listeningPorts(uid: string): ReadonlySet<number> {
    const [ip] = this.#pods.get(uid)?.ips ?? []
    return new Set([...this.#past].filter(({ to }) => to.ip === ip).map(({ to }) => to.port))
  }

  localEnds(uid: string): readonly SocketAddress[] {
    return this.connections(uid).map(({ local }) => local)
  }

  reset(uid: string, sockets: readonly bigint[]): number {
    const ofPod = new Set(this.connections(uid).map(({ socket }) => socket))
    const wanted = new Set(sockets.filter((socket) => ofPod.has(socket)))
    const met = [...this.#past].filter(({ dialled, accepted }) => wanted.has(dialled) || wanted.has(accepted))
    for (const connection of met) {
      this.#past.delete(connection)
      connection.client.resetAndDestroy()
    }
    return met.length
  }

  captured(): ReadonlyMap<string, Captured> {
    return new Map(this.#pods)
  }

  held(): readonly string[] {
    return [...this.#pods.keys()]
  }

  counters(): Counters {
    return { ...this.#counters }
  }

  handles(): Handles {
    return { body: 'fake', own: -1, accepted: -1, home: -1 }
  }

  /** Releases every pod: nothing lasts. */
  close(_how?: 'keep' | 'remove'): void {
    for (const uid of [...this.#pods.keys()]) this.release(uid)
  }

  /** The data side. */
  sockets(): Sockets {
    return {
      hold: (captured) => {
        if (this.#pods.get(captured.uid)?.cookie === captured.cookie) {
          return new FakePod(captured, (fd, direction) => this.#arrive(fd, direction))
        }
        throw new KernelError('ESTALE', `hold ${captured.uid}`)
      },
      origin: (fd) => this.#origins.get(fd) ?? null,
      ends: (fd) => {
        const ends = endsOf(fd)
        return { local: this.#destinations.get(fd) ?? ends.local, remote: ends.remote }
      },
      setUserTimeout: (fd, ms) => void native().setUserTimeout(fd, ms),
      close: (fd) => void native().closeFd(fd),
    }
  }

  /** An application in a pod (captured or not) dials. Resolves once connected; rejects as connect() would. */
  dial(ip: string, to: SocketAddress): Promise<net.Socket> {
    const pod = [...this.#pods.values()].find((one) => one.ips[0] === ip && !this.#loose.has(one.uid))
    if (pod && !this.#refused(pod, to)) this.#counters.captured++
    return this.#connect(ip, to, pod ? listenerOf(pod, 'outbound') : to)
  }

  /** A caller from another machine dials a pod. */
  reach(to: SocketAddress, fromIp = '127.255.255.254'): Promise<net.Socket> {
    const pod = [...this.#pods.values()].find((one) => one.ips[0] === to.ip)
    if (pod) this.#counters.steered++
    return this.#connect(fromIp, to, pod ? listenerOf(pod, 'inbound') : to)
  }

  /**
   * A socket of another node, bound to `from`, is to be connected to a pod: returns where it is connected instead, as this
   * node's kernel would turn it.
   */
  steer(from: SocketAddress, to: SocketAddress): SocketAddress {
    const pod = [...this.#pods.values()].find((one) => one.ips[0] === to.ip)
    if (!pod) return to
    this.#counters.steered++
    this.#flying.set(addressText(from), to)
    return listenerOf(pod, 'inbound')
  }

  #refused(pod: Captured, to: SocketAddress): boolean {
    const own = to.ip === pod.ips[0] && pod.listeners.some(({ port }) => port === to.port)
    if (!own) return false
    this.#counters.direct++
    throw new KernelError('EPERM', `connect ${addressText(to)}`)
  }

  async #connect(fromIp: string, to: SocketAddress, turned: SocketAddress): Promise<net.Socket> {
    if (this.#flying.size >= ORIGINS_BOUND) throw new KernelError('EAGAIN', `connect ${addressText(to)}`)
    const fd = dialSocket(fromIp)
    const from = addressText({ ip: fromIp, port: native().ends(fd).localPort })
    const flight = { ...to }
    if (turned !== to) this.#flying.set(from, flight)
    const socket = new net.Socket({ fd, manualStart: true } as net.SocketConstructorOpts)
    const { promise, resolve, reject } = Promise.withResolvers<net.Socket>()
    socket.once('error', reject)
    // by the time it tells that it is closed its port may be another's
    socket.once('close', () => this.#flying.get(from) === flight && this.#flying.delete(from))
    socket.connect({ host: turned.ip, port: turned.port }, () => resolve(socket))
    await promise
    socket.off('error', reject)
    if (turned === to) this.#notePast(socket, native().ends(fd).localPort, fromIp, to)
    return socket
  }

  #notePast(client: net.Socket, port: number, ip: string, to: SocketAddress): void {
    const connection = { client, from: { ip, port }, to, dialled: ++this.#sockets, accepted: ++this.#sockets }
    this.#past.add(connection)
    client.once('close', () => this.#past.delete(connection))
  }

  #arrive(fd: number, direction: Direction): void {
    this.#origins.delete(fd)
    this.#destinations.delete(fd)
    const from = addressText(endsOf(fd).remote)
    const to = this.#flying.get(from)
    this.#flying.delete(from)
    if (direction === 'outbound') this.#counters[to ? 'handed' : 'missing']++
    if (to) (direction === 'outbound' ? this.#origins : this.#destinations).set(fd, to)
  }
}

/** A connection that no listener of ours took, with what names the socket of either end. */
interface PastConnection {
  readonly client: net.Socket
  readonly from: SocketAddress
  readonly to: SocketAddress
  readonly dialled: bigint
  readonly accepted: bigint
}

/** Listens at any free port of an address. */
function listen(ip: string): { fd: number; port: number } {
  const wish = { ip, port: 0, backlog: LISTEN_BACKLOG, own: -1, mark: NO_MARK }
  const fd = must(native().listenIn(-1, -1, wish), `listen at ${ip}`)
  return { fd, port: native().ends(fd).localPort }
}

function plainSocket(ip: string): number {
  const fd = must(native().socketIn(-1, -1, 4, -1, NO_MARK), 'make a socket')
  must(native().bindSocket(fd, ip, 0), `bind ${ip}`)
  return fd
}

/** Ports of those who dial: below the kernel's own choice, and above what applications listen at. */
const [FIRST_PORT, PORTS] = [10_000, 20_000]
let dials = 0

/**
 * A socket at a port that none has had for long. Where a connection goes is known by where it comes from, and the kernel gives
 * a port again while one that was reset there still waits to be accepted.
 */
function dialSocket(ip: string): number {
  const fd = must(native().socketIn(-1, -1, 4, -1, NO_MARK), 'make a socket')
  for (let tries = 1; ; tries++) {
    const status = native().bindSocket(fd, ip, FIRST_PORT + (dials++ % PORTS))
    if (status >= 0 || tries === PORTS) {
      must(status, `bind ${ip}`)
      return fd
    }
  }
}

class FakePod implements PodSockets {
  readonly captured: Captured
  readonly #arrive: (fd: number, direction: Direction) => void
  readonly #held = new DisposableStack()
  readonly #listeners: Readonly<Record<Direction, number>>

  constructor(captured: Captured, arrive: (fd: number, direction: Direction) => void) {
    this.captured = captured
    this.#arrive = arrive
    const take = (fd: number): number => {
      const kept = must(native().duplicate(fd), `hold ${captured.uid}`)
      this.#held.defer(() => native().closeFd(kept))
      return kept
    }
    this.#listeners = {
      outbound: take(listenerOf(captured, 'outbound').fd),
      inbound: take(listenerOf(captured, 'inbound').fd),
    }
  }

  accept(direction: Direction, options: AcceptOptions): ReturnType<PodSockets['accept']> {
    if (this.#held.disposed) throw new KernelError('EBADF', `accept for ${this.captured.uid}`)
    const onAccept = (fd: number): void => {
      this.#arrive(fd, direction)
      options.onAccept(fd)
    }
    const acceptor = openAcceptor(this.#listeners[direction], { ...options, onAccept })
    this.#held.defer(() => acceptor.close())
    return acceptor
  }

  /** `client` is not shown to the callee: that takes a kernel. */
  socket(_options: SocketOptions): number {
    if (this.#held.disposed) throw new KernelError('EBADF', `make a socket for ${this.captured.uid}`)
    return plainSocket(this.captured.ips[0] ?? '')
  }

  close(): void {
    this.#held.dispose()
  }
}
