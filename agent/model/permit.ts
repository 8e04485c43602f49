// The proof that a connection may be made. Only authorize() makes one; connect cannot be called without.

import { addressText, isLoopback } from './address.ts'
import type { Decision, MatchedRule } from './authorization/decision.ts'
import type { Arriving, Facts } from './authorization/facts.ts'
import { protectionOf } from './authorization/protection.ts'
import { sourceOf } from './authorization/source.ts'
import type { FailureCode } from './failure.ts'
import type { Caller } from './identity.ts'
import type { Link } from './link.ts'
import type { Endpoint } from './service.ts'
import type { Snapshot } from './snapshot.ts'
import type { Workload } from './workload.ts'

declare const granted: unique symbol

/** Proof for one pair of caller and endpoint, and the way that it is reached. */
export interface Permit {
  readonly [granted]: true
  readonly caller: Caller
  readonly endpoint: Endpoint
  readonly link: Exclude<Link, { kind: 'refused' }>
  /** What the callee's policies say; null where none is for it, or another node judges. */
  readonly decision: Decision | null
}

export interface Denial {
  readonly denied: string
  readonly code: FailureCode
  /** The rule that denies; null where none is to be named. */
  readonly by: MatchedRule | null
  readonly decision: Decision | null
}

/** Who wants to go where, and how. */
export interface Way {
  readonly caller: Caller
  readonly endpoint: Endpoint
  readonly link: Link
  /**
   * The pod whose policies are judged here; null: it is captured here, and not known (yet); undefined: its own node judges,
   * or no pod of the mesh stands there.
   */
  readonly callee: Workload | null | undefined
}

/** What is to be carried there. */
export interface Cargo {
  /** IP address of the connection's other end. */
  readonly client: string
  readonly serverName: string | null
  /** Null of a connection whose bytes are not read. */
  readonly request: Arriving | null
  /** Names of the authorizers that were asked and let it pass. */
  readonly consented: ReadonlySet<string>
}

/** Where nobody was asked. */
export const UNASKED: ReadonlySet<string> = new Set()

/**
 * Judges whether `caller` may reach `endpoint` by `link`, with this cargo. An endpoint on loopback is refused: the
 * connection is made inside the caller's own network namespace, where it would reach what the caller keeps to itself, and no
 * Service may name one (Kubernetes refuses it in EndpointSlices too).
 */
export function authorize(snapshot: Snapshot, way: Way, cargo: Cargo): Permit | Denial {
  const { caller, endpoint, link, callee } = way
  if (isLoopback(endpoint.address.ip)) return denial(`${addressText(endpoint.address)} is a loopback address`)
  if (link.kind === 'refused') return { ...denial(link.why), code: 'UPSTREAM_NOT_SECURED' }
  if (callee === undefined) return { caller, endpoint, link, decision: null } as Permit
  if (callee === null) {
    const isAnyGuarded = snapshot.authorizationPolicies.size > 0 || snapshot.requestAuthentications.size > 0
    if (!isAnyGuarded) return { caller, endpoint, link, decision: null } as Permit
    return denial(`the pod at ${addressText(endpoint.address)} is not known, and so are its policies`)
  }
  const { table } = protectionOf(snapshot, callee, endpoint.address.port)
  if (table === null) return { caller, endpoint, link, decision: null } as Permit
  const facts = factsOf(snapshot, way, cargo)
  if (table.consults) {
    const unasked = table.consultations(facts).find(({ provider }) => !cargo.consented.has(provider))
    if (unasked !== undefined) return denial(`${unasked.provider} would have to be asked`, unasked.by)
  }
  const decision = table.decide(facts)
  if (decision.denied === null) return { caller, endpoint, link, decision } as Permit
  const { by } = decision.denied
  return {
    ...denial(by === null ? NOT_ALLOWED : `rule ${by.rule} of ${by.policy.namespace}/${by.policy.name} denies it`, by),
    decision,
  }
}

const NOT_ALLOWED = 'policies say who may, and no rule of theirs matches'

/** What the policies for `way.callee` look at. */
export function factsOf(
  { settings }: Snapshot,
  { caller, endpoint }: Way,
  { client, serverName, request }: Cargo,
): Facts {
  return { source: sourceOf(caller, settings.mesh, client), destination: endpoint.address, serverName, request }
}

function denial(denied: string, by: MatchedRule | null = null): Denial {
  return { denied, code: 'DENIED', by, decision: null }
}
