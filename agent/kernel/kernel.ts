// What the agent asks of the kernel: the control side captures and releases pods (Kernel), the data side takes their
// connections and dials for them (Sockets). Two bodies: bpf.ts, the real one, and fake.ts for tests.
import type { IpFamily, SocketAddress } from '../model/address.ts'

/** Ports of the proxy's listeners on 127.0.0.1 inside a pod; where one is taken, another is used. */
export const OUTBOUND_PORT = 15001
export const INBOUND_PORT = 15006

/** Connections that may wait to be accepted, a listener; the pod's net.core.somaxconn caps it. */
export const LISTEN_BACKLOG = 4096

/**
 * Handshakes in flight, a pod, of connections that its applications dial; later ones are refused. A handshake on loopback
 * takes microseconds, so the bound matters only while a listener's accept queue is full. 128 KiB of kernel memory a pod.
 */
export const ORIGINS_BOUND = 8192

/** Handshakes in flight, a pod, of connections that the proxy dials to it on its own node. 64 KiB a pod. */
export const ENTRIES_BOUND = 4096

/** A pod to capture. */
export interface PodSource {
  readonly uid: string
  /** The pod's IPv4 address; its applications see it as their own name on captured connections. */
  readonly ip: string
  /** An fd of its network namespace (discover.ts). Stays the caller's: capture() keeps a duplicate. */
  readonly netns: number
}

/** A listener of the proxy inside a pod, on its loopback. */
export interface Listener {
  readonly direction: 'outbound' | 'inbound'
  readonly ip: string
  readonly fd: number
  readonly port: number
}

/**
 * A captured pod. Plain data: post it to the data side as it is. Its fds are owned by the Kernel and closed by release();
 * the data side makes its own duplicates in Sockets.hold().
 */
export interface Captured {
  readonly uid: string
  /** The pod's addresses, canonical. */
  readonly ips: readonly string[]
  /** The network namespace's cookie in decimal: never used twice while the machine runs. Names the pod as a callee. */
  readonly cookie: string
  readonly netns: number
  readonly listeners: readonly Listener[]
}

/** What the data side needs beside the captured pods. Plain data, good in every thread of this process. */
export interface Handles {
  /** The body that made them. */
  readonly body: 'bpf' | 'fake'
  /** fd of the map that marks the proxy's own sockets. */
  readonly own: number
  /** fd of the map of original destinations. */
  readonly accepted: number
  /** fd of the agent's own network namespace. */
  readonly home: number
}

/** Since the Kernel was opened, all pods together, released ones too. */
export interface Counters {
  /** Outbound connects turned to the proxy. */
  captured: number
  /** Accepted outbound connections that got their original destination. */
  handed: number
  /** Accepted outbound connections without an original destination: origin() says null and they must be refused. */
  missing: number
  /** Direct dials of a listener of ours from inside a pod, refused. */
  direct: number
  /** Connections of the proxy that reached an application on this node. */
  passed: number
  /** Handshakes that found their pod's table full. */
  full: number
  /** Connects refused because the socket had no storage left (net.core.optmem_max). */
  noMemory: number
  /** SYNs from outside given to the proxy. */
  steered: number
  /** SYNs of the proxy let through to an application. */
  let: number
  /** SYNs from outside refused: dials of the proxy's ports. */
  dropped: number
  /** SYNs from outside refused: no application listens there. */
  closed: number
  /**
   * Listeners that found their pod's set of ports full (16 a remainder of the port by 64): they work, but closed ports of
   * that remainder accept and are reset by the proxy until the pod is released. A pod whose older listeners could not be
   * read, or are more than 1024 places, counts one more, and all its closed ports do so.
   */
  crowded: number
}

/** A call into the kernel that failed. */
export class KernelError extends Error {
  /** errno's name, such as `ENOENT`; `EHOST` where the pod has no network namespace of its own. */
  readonly code: string

  constructor(code: string, doing: string) {
    super(`${doing}: ${code}`)
    this.name = 'KernelError'
    this.code = code
  }
}

/** The control side. Synchronous: every call is a handful of system calls (release waits some ms for the kernel's RCU). */
export interface Kernel {
  /**
   * Joins a pod's traffic: from the return on its new connections come to the listeners; open ones are not touched.
   * A pod that is captured already under this uid, in the same network namespace and with the same address, is returned
   * as it is, after another look at listeners that are older than its capture; else it is released first. Throws KernelError, and then the pod is not captured.
   */
  capture(pod: PodSource): Captured
  /**
   * Leaves a pod's traffic and closes the fds. Connections that are open, and those that wait in a listener which the data
   * side still holds, go on. An unknown uid is not an error.
   */
  release(uid: string): void
  /** The captured pods, by uid. */
  captured(): ReadonlyMap<string, Captured>
  counters(): Counters
  handles(): Handles
  /** Releases every pod and detaches the programs. Idempotent. */
  close(): void
}

export interface AcceptOptions {
  /**
   * Takes the fd of one accepted connection (non-blocking, TCP_NODELAY); from then on it must close it. What it throws
   * costs this one connection: it may throw only while the fd is not yet in anyone's hands, and the fd is closed then.
   */
  readonly onAccept: (fd: number) => void
  /** Is told what onAccept threw, and the KernelError of a failed accept (EMFILE: accepting pauses for a moment). */
  readonly onFault: (error: unknown) => void
  /** Most connections taken in one wake-up of the event loop. Default 64. */
  readonly batch?: number
}

/** Takes the connections of one listener in this thread's event loop. Every call is idempotent. */
export interface Acceptor {
  pause(): void
  resume(): void
  /** Takes what still waits in the queue, then stops. onAccept is called before it returns. */
  close(): void
}

export interface SocketOptions {
  /** Of the address that is to be dialled. */
  readonly family: IpFamily
  /**
   * Cookie of the callee where it is a captured pod of this node (the dialling pod itself included): its application then
   * gets the connection directly. Absent: the callee is elsewhere, or did not join.
   */
  readonly callee?: string
  /** Whom the callee's application sees as its client (accept, getpeername). Needs `callee`. Absent: the truth. */
  readonly client?: SocketAddress
}

/** A captured pod in the hands of the data side. */
export interface PodSockets {
  readonly captured: Captured
  /** Takes the pod's outbound or inbound connections from now on. One Acceptor a direction. */
  accept(direction: 'outbound' | 'inbound', options: AcceptOptions): Acceptor
  /**
   * A socket made in the pod's network namespace, never captured itself, non-blocking, TCP_NODELAY:
   * `new net.Socket({ fd, manualStart: true, … }).connect({ host: ip, port })`. The fd is the caller's.
   * Throws KernelError (EMFILE, …).
   */
  socket(options: SocketOptions): number
  /** Closes its acceptors and its hold of the pod's namespace. Sockets that were made stay. Idempotent. */
  close(): void
}

/** Both ends of an accepted connection as they are on the wire. */
export interface Ends {
  /** On an inbound connection: the original destination. */
  readonly local: SocketAddress
  /** On an outbound connection 127.0.0.1 or the pod's address, with the application's port. */
  readonly remote: SocketAddress
}

/** The data side, in whatever thread it was opened: `openSockets(kernel.handles())` of bpf.ts. */
export interface Sockets {
  /**
   * Takes a captured pod: duplicates its fds and proves by the cookie that they still are this pod's.
   * Throws KernelError ESTALE where the pod has been released meanwhile.
   */
  hold(captured: Captured): PodSockets
  /** Where an accepted outbound connection was going; null: unknown, the connection must be refused. */
  origin(fd: number): SocketAddress | null
  /** Throws KernelError ENOTCONN where the other end has reset it already. */
  ends(fd: number): Ends
  /** Closes an accepted or made fd that is in nobody's hands yet. */
  close(fd: number): void
}
