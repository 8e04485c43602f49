// Connections that nobody judges, at ports that take no plaintext: which they are, and when each is to end. Pure.
//
// A connection that a pod accepted before it was captured, or while no agent ran, passes the proxy by for as long as it
// lives. Under STRICT it gets a grace, so that whoever dialled can finish and dial anew, and is closed after it.

import { addressText, type SocketAddress } from './address.ts'
import { effectiveMode, isStrictSomewhere, type PeerModes } from './peer-authentication.ts'

/** A connection that is open in a captured pod. */
export interface OpenInPod {
  /** Names it: never used twice. */
  readonly socket: bigint
  readonly local: SocketAddress
  readonly remote: SocketAddress
  /** How it came; null: before the capture, and which side dialled is not known. */
  readonly tally: { readonly direction: 'outbound' | 'inbound'; readonly passage: 'proxy' | 'direct' | 'probe' } | null
}

/** What is asked of a pod. */
export interface StrictTerms {
  readonly modes: PeerModes
  /** Ports at which its connections pass the proxy by because it wants it so. */
  readonly excludeInboundPorts: readonly number[]
}

/** What is found out about suspects alone, because it costs. */
export interface Evidence {
  /** Ports at which the pod listens. */
  readonly listening: ReadonlySet<number>
  /** Ends (addressText) that sockets of captured pods of this very node have: who dialled from there is known. */
  readonly proved: ReadonlySet<string>
}

/** Since when each connection is known to be there unjudged, in milliseconds. */
export type Graces = ReadonlyMap<bigint, number>

/** How a pod's graces stand. */
export interface GraceStep {
  readonly graces: Graces
  /** Those whose grace is over. */
  readonly due: readonly bigint[]
}

/** Of a pod at which nothing is to be closed. */
export const NO_GRACES: Graces = new Map()

/** The connections that may be unjudged ones at a port that takes no plaintext. */
export function suspects<T extends OpenInPod>(open: readonly T[], { modes, excludeInboundPorts }: StrictTerms): T[] {
  if (!isStrictSomewhere(modes)) return []
  return open.filter(({ tally, local: { port } }) => {
    const isPast = tally === null || (tally.direction === 'inbound' && tally.passage === 'direct')
    return isPast && effectiveMode(modes, port).mode === 'STRICT' && !excludeInboundPorts.includes(port)
  })
}

/**
 * The graces of the connections that are unjudged now: those known before go on, others begin, and what is there no more,
 * or not to be closed any more, is forgotten. A connection that was taken for an accepted one stays so when its listener
 * is closed.
 */
export function graceStep(
  before: Graces,
  among: readonly OpenInPod[],
  { listening, proved }: Evidence,
  { nowMs, graceMs }: { readonly nowMs: number; readonly graceMs: number },
): GraceStep {
  const unjudged = among.filter(({ socket, tally, local, remote }) => {
    const isAccepted = tally !== null || before.has(socket) || listening.has(local.port)
    return isAccepted && !proved.has(addressText(remote))
  })
  const graces = new Map(unjudged.map(({ socket }) => [socket, before.get(socket) ?? nowMs]))
  const due = [...graces].filter(([, sinceMs]) => nowMs - sinceMs >= graceMs).map(([socket]) => socket)
  return { graces, due }
}
