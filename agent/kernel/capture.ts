// One captured pod on the control side: its listeners, its inbound program and its lines in the maps, put up in an order
// in which each step finds what it needs, and taken down in the reverse one.
import type { Captured, PodSource } from './kernel.ts'
import { INBOUND_PORT, KernelError, LISTEN_BACKLOG, OUTBOUND_PORT } from './kernel.ts'
import { ADDRESS_BYTES, INBOUND_COUNTERS, cookieKey, intBytes, longBytes, podValue } from './layout.ts'
import { olderListeners } from './listeners.ts'
import { errorName, must, native } from './native.ts'
import type { Programs } from './programs.ts'
import { ATTACH, readCounters } from './programs.ts'

/** A pod that is captured, and how to leave it. */
export interface Capture {
  readonly captured: Captured
  counters(): Record<(typeof INBOUND_COUNTERS)[number] | 'crowded', number>
  /** Looks anew at the listeners that are older than the capture. */
  look(): void
  release(): void
}

/** What capturing needs of the agent. */
export interface Ground {
  readonly programs: Programs
  /** fd of the agent's own network namespace */
  readonly home: number
  readonly originsBound: number
  readonly entriesBound: number
}

/** The cookie of the network namespace that an fd stands for. Throws KernelError (EINVAL: the fd is no such thing). */
export function cookieIn(netns: number, home: number): string {
  const fd = must(native().socketIn(netns, home, -1, new Uint8Array(0)), 'make a socket in the pod')
  try {
    return cookieOf(fd)
  } finally {
    native().closeFd(fd)
  }
}

/** The cookie of the network namespace that a socket was made in. */
export function cookieOf(fd: number): string {
  const { status, cookie } = native().netnsCookie(fd)
  must(status, 'read the network namespace cookie')
  return cookie
}

/** Listens at 127.0.0.1 in a pod: at the wished port, a second choice, or any that is free. */
function listen(netns: number, home: number, wished: number): { fd: number; port: number } {
  for (const port of [wished, wished + 100, 0]) {
    const fd = native().listenIn(netns, home, '127.0.0.1', port, LISTEN_BACKLOG)
    if (fd < 0 && errorName(fd) === 'EADDRINUSE') continue
    must(fd, `listen at 127.0.0.1:${port} in the pod`)
    return { fd, port: port || native().ends(fd).localPort }
  }
  throw new KernelError('EADDRINUSE', 'listen at 127.0.0.1 in the pod')
}

/** A namespace that cannot bind the pod's address is not this pod's, whatever led here. */
function proveAddress(pod: PodSource, netns: number, home: number): void {
  const fd = must(native().socketIn(netns, home, -1, new Uint8Array(0)), 'make a socket in the pod')
  try {
    must(native().bindSocket(fd, pod.ip, 0), `find ${pod.ip} in the network namespace of ${pod.uid}`)
  } finally {
    native().closeFd(fd)
  }
}

/** Captures a pod. Throws KernelError, and then nothing stays; EHOST where the pod shares the agent's namespace. */
export function capturePod(pod: PodSource, ground: Ground): Capture {
  const { programs, home } = ground
  const { maps } = programs
  using undo = new DisposableStack()
  const own = (fd: number, doing: string): number => {
    must(fd, doing)
    undo.defer(() => native().closeFd(fd))
    return fd
  }
  const put = (map: number, key: Uint8Array, value: Uint8Array, doing: string): void => {
    must(native().mapPut(map, key, value), doing)
    undo.defer(() => native().mapRemove(map, key))
  }

  const netns = own(native().duplicate(pod.netns), 'hold the network namespace')
  const cookie = cookieIn(netns, home)
  if (cookie === cookieIn(home, home)) throw new KernelError('EHOST', `capture ${pod.uid}: it has the node's network`)
  proveAddress(pod, netns, home)
  const outbound = listen(netns, home, OUTBOUND_PORT)
  undo.defer(() => native().closeFd(outbound.fd))
  const inbound = listen(netns, home, INBOUND_PORT)
  undo.defer(() => native().closeFd(inbound.fd))

  const steering = native().loadInbound(outbound.port, inbound.port, ground.entriesBound)
  must(steering.status, 'load the inbound program')
  const { status: _, ...fds } = steering
  for (const fd of Object.values(fds)) undo.defer(() => native().closeFd(fd))
  must(native().mapPut(steering.listener, intBytes(0), longBytes(inbound.fd)), 'name the inbound listener')

  const key = cookieKey(cookie)
  const origins = own(native().createHash(ADDRESS_BYTES, ADDRESS_BYTES, ground.originsBound), 'make the origins map')
  put(maps.origins, key, intBytes(origins), 'keep the origins map')
  put(maps.entries, key, intBytes(steering.arrivals), 'keep the entries map')
  put(maps.listening, key, intBytes(steering.ports), 'keep the listening ports')
  const older = olderListeners(netns, home, steering)
  older.look() // after the programs know the set, and before anyone asks it: see there
  own(native().attach(steering.program, netns, ATTACH.skLookup), 'attach the inbound program')
  // last: from here on connects are turned, and everything they will meet is there
  put(maps.pods, key, podValue(pod.ip, outbound.port, inbound.port), 'keep the pod')

  const held = undo.move()
  return {
    captured: {
      uid: pod.uid,
      ips: [pod.ip],
      cookie,
      netns,
      listeners: [
        { direction: 'outbound', ip: '127.0.0.1', ...outbound },
        { direction: 'inbound', ip: '127.0.0.1', ...inbound },
      ],
    },
    counters: () => ({ ...readCounters(steering.steering, INBOUND_COUNTERS), crowded: older.crowded() }),
    look: () => older.look(),
    release: () => held.dispose(),
  }
}
