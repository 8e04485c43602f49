// What a connection stands on as it walks the corridor: the node's state, as one value.

import type { Acceptor, Captured, PodSockets, Sockets } from '../../kernel/kernel.ts'
import type { Affinities } from '../../model/balance/affinity.ts'
import type { Health } from '../../model/balance/balance.ts'
import type { Random } from '../../model/chance.ts'
import type { Snapshot } from '../../model/snapshot.ts'
import type { Account, ConnectionLedger, Direction } from '../../telemetry/ledger.ts'
import type { Breakers } from './breakers.ts'
import type { Deadlines } from './deadlines.ts'
import type { Handshakes } from './handshakes.ts'
import type { Identities } from './identities.ts'
import type { Limits } from './limits.ts'
import type { Live, Place } from './live.ts'
import type { Materials } from './materials.ts'
import type { SideRequests } from './side-requests.ts'
import type { NodeLoad } from './load.ts'
import type { Pools } from './pool.ts'
import type { Budget } from '../transport/budget.ts'
import type { Authorizers } from '../authorizer.ts'
import type { Tokens } from '../tokens.ts'
import type { Channel, Transport } from '../transport/transport.ts'

/** A captured pod in the hands of this worker. */
export interface JoinedPod {
  readonly captured: Captured
  readonly sockets: PodSockets
  readonly acceptors: readonly Acceptor[]
  /** What its connections may hold of the mesh's memory. */
  readonly budget: Budget
  /** By the direction that it takes them in: strangers who knock keep no pod from calling. */
  readonly handshakes: Readonly<Record<Direction, Handshakes>>
  /** Its live connections in this worker. */
  connections: number
  /** Those of all workers, as the last one that this worker accepted found them, itself included. */
  nodeConnections: number
  /** Where all workers count them; null: this worker counts for itself. */
  readonly row: number | null
  /** No longer captured: what is open goes on, and the pod is let go with its last connection. */
  released: boolean
  /** Has all the connections it may have: no more are taken for a moment. */
  isHeldOff: boolean
}

/** A connection as it was accepted. */
export interface Arrival {
  readonly fd: number
  readonly channel: Channel
  readonly direction: Direction
  /** Whose listener accepted it: the caller of an outbound connection, the callee of an inbound one. */
  readonly pod: JoinedPod
}

/** The node, as this worker knows it. */
export interface MeshNode {
  readonly sockets: Sockets
  readonly transport: Transport
  /** Captured pods by uid. */
  readonly pods: Map<string, JoinedPod>
  readonly live: Live
  readonly pools: Pools
  readonly load: NodeLoad
  readonly breakers: Breakers
  readonly affinities: Affinities
  readonly health: Health
  /** Milliseconds since 1970. */
  readonly nowMs: () => number
  readonly identities: Identities
  readonly materials: Materials
  readonly tokens: Tokens
  readonly deadlines: Deadlines
  readonly mirrors: SideRequests
  readonly authorizers: Authorizers
  readonly account: Account
  readonly random: Random
  readonly limits: Limits
  readonly requestId: () => string
  /** In force now: a request or TCP flow reads it once. */
  snapshot: Snapshot
  /** The worker is about to stop: each response is its connection's last. */
  draining: boolean
}

/** One connection's walk through the corridor. */
export interface Walk {
  readonly node: MeshNode
  readonly ledger: ConnectionLedger
  readonly place: Place
}

/** The connection is over: into the books with it. */
export function leave({ ledger, place }: Walk): void {
  try {
    place[Symbol.dispose]()
  } finally {
    ledger[Symbol.dispose]()
  }
}
