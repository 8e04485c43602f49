// What the agent asks of the kernel: the control side captures and releases pods (Kernel), the data side takes their
// connections and dials for them (Sockets). Two bodies: bpf.ts, the real one, and fake.ts for tests.
import type { IpFamily, SocketAddress } from '../model/address.ts'
import type { CaptureTerms } from '../model/terms.ts'

/** Ports of the proxy's listeners on loopback inside a pod; where one is taken, another is used. */
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

/** Other ends that a pod's connections are summed by; more than these are summed under none. 400 KiB a pod, once used. */
export const TALLIES_BOUND = 4096

export type Direction = 'outbound' | 'inbound'

/** A pod to capture. */
export interface PodSource {
  readonly uid: string
  /** The pod's addresses, canonical; the first of each family is what its applications see as their own name. */
  readonly ips: readonly string[]
  /** An fd of its network namespace (discover.ts). Stays the caller's: capture() keeps a duplicate. */
  readonly netns: number
  readonly terms: CaptureTerms
}

/** A listener of the proxy inside a pod. */
export interface Listener {
  readonly direction: Direction
  /** 127.0.0.1, ::1, or :: in a pod with IPv6 that has no ::1. */
  readonly ip: string
  readonly fd: number
  readonly port: number
  /** The socket's cookie: another listener at the same place has another. */
  readonly socket: string
}

/**
 * A captured pod. Plain data: post it to the data side as it is. Its fds are owned by the Kernel and closed by release();
 * the data side makes its own duplicates in Sockets.hold().
 */
export interface Captured {
  readonly uid: string
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

/** Since the programs' maps were made, all pods together, released ones too. */
export interface Counters {
  /** Outbound connects turned to the proxy. */
  captured: number
  /** Accepted outbound connections that got their original destination. */
  handed: number
  /** Accepted outbound connections without an original destination: origin() says null and they must be refused. */
  missing: number
  /** Direct dials of a listener of ours from inside a pod, refused. */
  direct: number
  /** Connections of the proxy, and probes, that reached an application on this node. */
  passed: number
  /** Handshakes that found their pod's table full. */
  full: number
  /** Connects refused, or connections not counted, because the socket had no storage left (net.core.optmem_max). */
  noMemory: number
  /** SYNs from outside given to the proxy. */
  steered: number
  /** SYNs of the proxy and of probes let through to an application. */
  let: number
  /** SYNs refused: dials of the proxy's ports from outside, strangers that were turned to a loopback address. */
  dropped: number
  /** SYNs from outside refused: no application listens there. */
  closed: number
  /**
   * Listeners that found their pod's set of ports full (16 a remainder of the port by 64): they work, but closed ports of
   * that remainder accept and are reset by the proxy until the pod is released. A pod whose older listeners could not be
   * read, or are more than 1024 places, counts one more, and all its closed ports do so.
   */
  crowded: number
  /** Connects refused: the pod is fail-closed and not captured yet. */
  pending: number
  /** Connects and SYNs refused: no agent listened, and the pod is fail-closed. */
  lost: number
  /** Connects and SYNs that went direct: no agent listened, and the pod is fail-open. */
  opened: number
  /** Connects and SYNs that went direct because the pod excludes them. */
  excluded: number
  /** Connects of the node's probes. */
  probes: number
  /** Connections summed under no address. */
  spilled: number
}

/** How a connection passed. */
export type Passage = 'proxy' | 'direct' | 'probe'

/** What connections carried, as a pod's applications see it. */
export interface Sum {
  readonly opened: number
  readonly closed: number
  readonly sentBytes: number
  readonly receivedBytes: number
  /** Segments, of closed connections, as is the next. */
  readonly retransmits: number
  /** Sum of the last smoothed round-trip times, in microseconds. */
  readonly srttUs: number
}

/** What connections are summed under. */
export interface TallyKey {
  readonly direction: Direction
  readonly passage: Passage
  /** Whom the pod dialled; null: many ends together, as all that dialled it. */
  readonly remote: SocketAddress | null
}

/** The sum of one pod's closed connections with one other end. */
export interface Tally extends TallyKey, Sum {
  readonly uid: string
}

/** A connection that is open now. */
export interface OpenConnection {
  /** The socket's cookie: never used twice while the machine runs. */
  readonly socket: bigint
  readonly sentBytes: number
  readonly receivedBytes: number
  /** Its ends as they are on the wire; `local` is the pod's. */
  readonly local: SocketAddress
  readonly remote: SocketAddress
  /** What it will be summed under; null: nothing, it is older than the capture. */
  readonly tally: TallyKey | null
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

/**
 * The control side. Synchronous but for proofs: every call is a handful of system calls (capture and release wait some ms
 * for the kernel's RCU). What it says of a pod is compared with the kernel at each call, not with notes of its own.
 */
export interface Kernel {
  /**
   * Joins a pod's traffic: from the return on its new connections come to the listeners; open ones are not touched. To be
   * called again at any time: it looks at everything that the capture stands on, mends what is not as it should be, takes
   * over new terms and addresses, and returns the same object where nothing changed for the data side. Throws
   * KernelError: then a fail-open pod is not captured, and of a fail-closed one new connections are refused (unless not
   * even its maps could be made).
   */
  capture(pod: PodSource): Captured
  /**
   * Sees by trying that what the pod dials and what dials it comes to this agent's data side, which must hold the pod by
   * now. Rejects with KernelError.
   */
  prove(uid: string): Promise<void>
  /** The first half of a release: what the pod dials goes direct from now on, what dials it still comes here. */
  loosen(uid: string): void
  /**
   * Drops what an agent of another layout has left in force. To be called once all that is wanted is captured: what was
   * refused until then is refused no more. Does so once.
   */
  dropOtherLayouts(): void
  /** Another agent has the captures: nothing is told to the kernel any more. */
  retire(): void
  /** As if this agent listened no more: new connections of all pods go direct or are refused, as their terms say. */
  deafen(): void
  /**
   * Leaves a pod's traffic and closes the fds. Connections that are open, and those that wait in a listener which the data
   * side still holds, go on. An unknown uid is not an error, and nothing else is.
   */
  release(uid: string): void
  /** The captured pods, by uid. */
  captured(): ReadonlyMap<string, Captured>
  /** UIDs of all pods that have anything in the kernel of this agent's: those captured, and those refused until they are. */
  held(): readonly string[]
  /** Cookies of pods that an earlier agent has captured and this one has not taken over (yet). */
  inherited(): readonly string[]
  /** The cookie of a network namespace, by an fd of it. Throws KernelError. */
  cookieOf(netns: number): string
  /** Leaves the traffic of an inherited pod. */
  disinherit(cookie: string): void
  /**
   * Looks at what all captures share and mends it, and drops what is inherited of pods that are gone. Returns what keeps
   * the node from capturing as it should, a sentence each.
   */
  look(): readonly string[]
  counters(): Counters
  /** Of one captured pod, since its capture began, under whichever agent. Throws KernelError. */
  tallies(uid: string): readonly Tally[]
  /** Throws KernelError. */
  connections(uid: string): readonly OpenConnection[]
  /** Ports of a captured pod that somebody outside could dial now. Throws KernelError. */
  listeningPorts(uid: string): ReadonlySet<number>
  /** A captured pod's own ends of all connections that are open in it, the proxy's among them. Throws KernelError. */
  localEnds(uid: string): readonly SocketAddress[]
  /**
   * Resets connections of a captured pod, named by OpenConnection.socket: both ends hear of it. What has ended meanwhile is
   * passed over. Returns how many were reset. Throws KernelError where none could be: EOPNOTSUPP, where the kernel cannot
   * do it at all.
   */
  reset(uid: string, sockets: readonly bigint[]): number
  /** Whether captures outlive this process, and with them a pod's fail-closed. */
  readonly lasting: boolean
  handles(): Handles
  /** Takes listeners that another agent has handed over, by the pod's cookie: they are used in place of new ones. */
  adopt(listeners: ReadonlyMap<string, readonly Listener[]>): void
  /**
   * `remove`: releases every pod and detaches the programs. `keep`: closes the fds; what lasts, lasts. Idempotent.
   */
  close(how: 'keep' | 'remove'): void
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
  /** Of the address that will be dialled. */
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
  /** Takes the pod's outbound or inbound connections from now on, whatever family. One Acceptor a direction. */
  accept(direction: Direction, options: AcceptOptions): Acceptor
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
  /** On an outbound connection a loopback or the pod's address, with the application's port. */
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
  /**
   * How long bytes may stay unacknowledged, or unsent at a closed window, before the connection is lost (ETIMEDOUT):
   * TCP_USER_TIMEOUT (RFC 5482), 0 for the kernel's own patience. With keepalive, also how long an idle peer may be silent.
   * Best effort: an fd that is none any more is passed over.
   */
  setUserTimeout(fd: number, ms: number): void
  /** Closes an accepted or made fd that is in nobody's hands yet. */
  close(fd: number): void
}
