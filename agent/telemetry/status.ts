// How a node's agent and its pods stand, as the admin endpoint tells it and `weft status` reads it.

import type { PeerMode } from '../model/peer-authentication.ts'

/** A pod that joined the mesh, or one that left and is not let go of yet. */
export interface PodStatus {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly ips: readonly string[]
  readonly state: 'captured' | 'pending' | 'leaving' | 'uncaptured'
  /** Why it is not captured; null when it is. */
  readonly reason: string | null
  /** What happens to its traffic when the agent is lost: it goes direct, or nowhere. */
  readonly onLoss: 'open' | 'closed'
  /** Open TCP connections that are older than the capture, and so bypass the proxy. */
  readonly olderConnections: number
  /** Whether its capture began before any process of it; absent where the agent does not tell. */
  readonly fromStart?: boolean
  /** What it takes: the mode at its ports, and at those where another holds. */
  readonly modes: { readonly others: PeerMode; readonly ports: Readonly<Record<string, PeerMode>> }
  readonly certificate: CertificateStatus
}

/** The certificate that stands for a pod. */
export interface CertificateStatus {
  /** Whom it names, as a URI. */
  readonly identity: string | null
  /** When it ends (RFC 3339); null: there is none. */
  readonly notAfter: string | null
  /** Why the last request for one failed, or null. */
  readonly failure: string | null
}

export interface AgentStatus {
  /** Name of the Kubernetes node it serves. */
  readonly node: string
  /** The name it announces captured pods by. */
  readonly agent: string
  readonly version: string
  readonly state: 'ready' | 'starting' | 'degraded'
  /** What is missing or degraded, one sentence each; empty when ready. */
  readonly reasons: readonly string[]
  /** Why pods of this node run before they are captured, or null: CNI sees to it that they do not. */
  readonly startWindow?: string | null
  readonly pods: readonly PodStatus[]
}

/** What an agent knows of itself. */
export interface AgentFacts extends Pick<AgentStatus, 'node' | 'agent' | 'version' | 'startWindow' | 'pods'> {
  /** What it waits for before it serves, or null. */
  readonly unready: string | null
  /** What it serves without, one sentence each. */
  readonly lacks: readonly string[]
}

/** An agent's status of its facts: one that does not serve yet is starting, whatever else it lacks. */
export function agentStatus({ unready, lacks, ...known }: AgentFacts): AgentStatus {
  if (unready !== null) return { ...known, state: 'starting', reasons: [unready, ...lacks] }
  return { ...known, state: lacks.length > 0 ? 'degraded' : 'ready', reasons: lacks }
}
