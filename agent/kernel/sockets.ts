// The data side of the real body: sockets of captured pods, by fd, in any thread of the agent's process.
import { openAcceptor } from './acceptor.ts'
import { cookieIn, cookieOf } from './capture.ts'
import type { AcceptOptions, Acceptor, Captured, Ends, Handles, Listener } from './kernel.ts'
import type { PodSockets, SocketOptions, Sockets } from './kernel.ts'
import { KernelError } from './kernel.ts'
import { ADDRESS_BYTES, intBytes, ownValue, readAddress } from './layout.ts'
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
  const outbound = listenerOf(captured, 'outbound')
  const inbound = listenerOf(captured, 'inbound')
  const listeners = { outbound: take(outbound.fd), inbound: take(inbound.fd) }
  // The numbers came by message: the pod may be gone and they may be another's by now.
  const proofs = [
    () => cookieIn(netns, handles.home),
    () => cookieOf(listeners.outbound),
    () => cookieOf(listeners.inbound),
  ]
  const ports = [native().ends(listeners.outbound).localPort, native().ends(listeners.inbound).localPort]
  const stale = proofs.some((proof) => !proves(proof, captured.cookie))
  if (stale || ports[0] !== outbound.port || ports[1] !== inbound.port) {
    throw new KernelError('ESTALE', `hold ${captured.uid}`)
  }
  return new HeldPod(captured, { netns, home: handles.home, own: handles.own }, listeners, undo.move())
}

/** The listener of one direction. */
export function listenerOf(captured: Captured, direction: Listener['direction']): Listener {
  return captured.listeners.find((listener) => listener.direction === direction) as Listener // each capture makes both
}

function proves(cookie: () => string, expected: string): boolean {
  try {
    return cookie() === expected
  } catch {
    return false
  }
}

class HeldPod implements PodSockets {
  readonly captured: Captured
  readonly #fds: { readonly netns: number; readonly home: number; readonly own: number }
  readonly #listeners: { readonly outbound: number; readonly inbound: number }
  readonly #held: DisposableStack

  constructor(
    captured: Captured,
    fds: { readonly netns: number; readonly home: number; readonly own: number },
    listeners: { readonly outbound: number; readonly inbound: number },
    held: DisposableStack,
  ) {
    this.captured = captured
    this.#fds = fds
    this.#listeners = listeners
    this.#held = held
  }

  accept(direction: 'outbound' | 'inbound', options: AcceptOptions): Acceptor {
    if (this.#held.disposed) throw new KernelError('EBADF', `accept for ${this.captured.uid}`)
    const acceptor = openAcceptor(this.#listeners[direction], options)
    this.#held.defer(() => acceptor.close())
    return acceptor
  }

  socket(options: SocketOptions): number {
    if (this.#held.disposed) throw new KernelError('EBADF', `make a socket for ${this.captured.uid}`)
    const { callee, client } = options
    const value = ownValue(callee, callee === undefined ? undefined : client)
    const { netns, home, own } = this.#fds
    return must(native().socketIn(netns, home, own, value), 'make a socket in the pod')
  }

  close(): void {
    this.#held.dispose()
  }
}
