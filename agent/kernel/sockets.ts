// The data side of the real body: sockets of captured pods, by fd, in any thread of the agent's process.
import { openAcceptor } from './acceptor.ts'
import type { IpFamily } from '../model/address.ts'
import { cookieIn, cookieOf } from './cookie.ts'
import type { AcceptOptions, Acceptor, Captured, Direction, Ends, Handles } from './kernel.ts'
import type { Listener, PodSockets, SocketOptions, Sockets } from './kernel.ts'
import { KernelError } from './kernel.ts'
import { ADDRESS_BYTES, intBytes, ownValue, readAddress, SPREAD } from './layout.ts'
import { errorName, must, native } from './native.ts'

/** Opens the data side in this thread from what Kernel.handles() gave. Owns nothing: there is nothing to close. */
export function openSockets(handles: Handles): Sockets {
  const value = new Uint8Array(ADDRESS_BYTES)
  const view = new DataView(value.buffer)
  return {
    hold: (captured) => holdPod(captured, handles),
    origin: (fd) => {
      const status = native().mapGet(handles.accepted, intBytes(fd), value)
      if (status < 0 && errorName(status) === 'ENOENT') return null
      must(status, 'read the original destination')
      return readAddress(view, 0)
    },
    ends: endsOf,
    setUserTimeout: (fd, ms) => void native().setUserTimeout(fd, ms),
    close: (fd) => void native().closeFd(fd),
  }
}

/** Both ends of a connection. Throws KernelError. */
export function endsOf(fd: number): Ends {
  const ends = native().ends(fd)
  must(ends.status, 'read the ends of a connection')
  if (ends.remoteIp === '') throw new KernelError('ENOTCONN', 'read the ends of a connection')
  return {
    local: { ip: ends.localIp, port: ends.localPort },
    remote: { ip: ends.remoteIp, port: ends.remotePort },
  }
}

function holdPod(captured: Captured, handles: Handles): PodSockets {
  using undo = new DisposableStack()
  const take = (fd: number): number => {
    const kept = must(native().duplicate(fd), `hold ${captured.uid}`)
    undo.defer(() => native().closeFd(kept))
    return kept
  }
  const netns = take(captured.netns)
  const listeners = captured.listeners.map((listener) => ({ ...listener, fd: take(listener.fd) }))
  // The numbers came by message: the pod may be gone and they may be another's by now.
  const isSame =
    proves(() => cookieIn(netns, handles.home), captured.cookie) &&
    listeners.every(
      ({ fd, port }) => proves(() => cookieOf(fd), captured.cookie) && native().ends(fd).localPort === port,
    )
  if (!isSame) throw new KernelError('ESTALE', `hold ${captured.uid}`)
  return new HeldPod(captured, { netns, home: handles.home, own: handles.own }, listeners, undo.move())
}

function proves(cookie: () => string, expected: string): boolean {
  try {
    return cookie() === expected
  } catch {
    return false
  }
}

/** The listener that takes a pod's IPv4 connections of a direction. */
export function listenerOf({ uid, listeners }: Captured, direction: Direction): Listener {
  const found = listeners.find((each) => each.direction === direction && !each.ip.includes(':'))
  if (found === undefined) throw new KernelError('ENOENT', `find the ${direction} listener of ${uid}`)
  return found
}

/** One for several listeners. */
function joined(acceptors: readonly Acceptor[]): Acceptor {
  const each = (what: 'pause' | 'resume' | 'close') => (): void => {
    for (const acceptor of acceptors) acceptor[what]()
  }
  return { pause: each('pause'), resume: each('resume'), close: each('close') }
}

class HeldPod implements PodSockets {
  readonly captured: Captured
  readonly #fds: { readonly netns: number; readonly home: number; readonly own: number }
  readonly #listeners: readonly Listener[]
  readonly #held: DisposableStack
  #made = 0

  constructor(
    captured: Captured,
    fds: { readonly netns: number; readonly home: number; readonly own: number },
    listeners: readonly Listener[],
    held: DisposableStack,
  ) {
    this.captured = captured
    this.#fds = fds
    this.#listeners = listeners
    this.#held = held
  }

  accept(direction: Direction, options: AcceptOptions): Acceptor {
    if (this.#held.disposed) throw new KernelError('EBADF', `accept for ${this.captured.uid}`)
    const own = this.#listeners.filter((listener) => listener.direction === direction)
    const acceptor = joined(own.map(({ fd }) => openAcceptor(fd, options)))
    this.#held.defer(() => acceptor.close())
    return acceptor
  }

  socket({ family, callee, client }: SocketOptions): number {
    if (this.#held.disposed) throw new KernelError('EBADF', `make a socket for ${this.captured.uid}`)
    const value = ownValue(callee, callee === undefined ? undefined : client)
    const { netns, home, own } = this.#fds
    const fd = must(native().socketIn(netns, home, family, own, value), 'make a socket in the pod')
    if (client !== undefined && callee === this.captured.cookie) this.#spread(fd, family)
    return fd
  }

  close(): void {
    this.#held.dispose()
  }

  /**
   * The leg to the pod's own application: who dials is shown another name anyway, and from one address there would be
   * room for some 28 000 connections a port. Best effort: unbound, it has the pod's address.
   */
  #spread(fd: number, family: IpFamily): void {
    const turn = this.#made++ % SPREAD
    if (family === 4) native().bindSource(fd, `127.0.0.${1 + turn}`)
    else if (turn % 2 === 0) native().bindSource(fd, '::1')
  }
}
