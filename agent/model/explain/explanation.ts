// What is explained, as a document: plain values that cross to a terminal or a script.

import { addressText } from '../address.ts'
import type { Backends } from '../backends.ts'
import { tiersOf } from '../balance/tiers.ts'
import { localityText } from '../balance/locality.ts'
import { dialledText, type Explained, type Outcome, type Share } from './explain.ts'
import type { Forward } from '../http/route.ts'
import { identityOf } from '../identity.ts'
import { type Link, linkNear, linkTo } from '../link.ts'
import type { RetryPolicy } from '../http/retry.ts'
import type { RuleTrace } from './rule-trace.ts'
import { type Endpoint, nameOf } from '../service.ts'
import { type Snapshot, workloadAt } from '../snapshot.ts'
import type { Fault } from '../policy.ts'
import type { ConnectionPool, OutlierDetection } from '../traffic-policy.ts'
import type { ObjectRef } from '../workload.ts'
import { type Call, type ExplainedVerdict, type Reached, verdictsOf } from './verdicts.ts'

/** What only the node knows of this moment. */
export interface Moment {
  /** Milliseconds since 1970. */
  readonly nowMs: number
  /** Until when endpoints (`ip:port`) are ejected from a scope, in milliseconds since 1970. */
  ejected(scope: string): ReadonlyMap<string, number>
  /** Whether a pod is captured on this very node: it is reached past any TLS of the mesh. */
  isCapturedHere(uid: string): boolean
}

export interface ExplainedEndpoint {
  readonly address: string
  /** `namespace/name`, or null where no pod is known there. */
  readonly pod: string | null
  readonly node: string | null
  /** Region, zone and subzone; null where they are not known. */
  readonly locality: string | null
  /** Of what goes to the destination, 0..100, were all endpoints of a tier alike: what its tier gets, divided. */
  readonly percent: number
  /** `serves`, or why not. */
  readonly state: string
  /** How it is reached. */
  readonly link: string
}

export interface ExplainedShare {
  readonly percent: number
  readonly destination: string
  /** False: nobody knows it, and the answer is 503. */
  readonly isKnown: boolean
  /** What is sent where it is other than what came. */
  readonly target: string | null
  readonly authority: string | null
  readonly timeoutMs: number | null
  readonly retries: {
    readonly attempts: number
    readonly perTryMs: number | null
    readonly on: readonly string[]
  } | null
  readonly changes: Forward['changes'] | null
  /** The DestinationRules that speak, and what of theirs is not Istio's default. */
  readonly rules: readonly string[]
  readonly balancer: string
  readonly limits: Partial<ConnectionPool>
  readonly outliers: OutlierDetection | null
  readonly endpoints: readonly ExplainedEndpoint[]
  /** What is said at its pods, where policies are for them. */
  readonly verdicts: readonly ExplainedVerdict[]
  /** Pods that policies are for and that were not asked about: there are too many. */
  readonly unjudged: number
}

export interface Explanation {
  readonly node: string
  /** Version of the snapshot that was asked. */
  readonly snapshot: number
  readonly caller: { readonly pod: string; readonly isCaptured: boolean; readonly identity: string | null }
  readonly dialled: { readonly address: string; readonly stands: string; readonly protocol: string | null }
  /** Whether it is carried as requests of HTTP, or as bytes. */
  readonly carriage: Explained['carriage']
  readonly inForce: string | null
  readonly others: readonly { readonly object: string; readonly why: string }[]
  readonly rules: readonly (Omit<RuleTrace, 'object'> & { readonly object: string })[]
  readonly outcome: Exclude<Outcome, { kind: 'forward' }> | ExplainedForward
}

export interface ExplainedForward extends Fault {
  readonly kind: 'forward'
  readonly shares: readonly ExplainedShare[]
  readonly mirrors: readonly { readonly percent: number; readonly destination: string }[]
}

/** The document of an explanation. */
export function documentOf(snapshot: Snapshot, explained: Explained, moment: Moment): Explanation {
  const { caller, dialled, carriage, inForce, others, rules, outcome } = explained
  const call = { ...explained, isCaptured: moment.isCapturedHere(caller.uid), nowMs: moment.nowMs }
  return {
    node: snapshot.settings.node,
    snapshot: snapshot.version,
    caller: {
      pod: `${caller.namespace}/${caller.name}`,
      isCaptured: call.isCaptured,
      identity: identityOf(caller, snapshot.settings.mesh),
    },
    dialled: { address: dialledText(dialled), stands: standsText(explained), protocol: dialled.port?.protocol ?? null },
    carriage,
    inForce: inForce === null ? null : refText(inForce),
    others: others.map(({ object, why }) => ({ object: refText(object), why })),
    rules: rules.map((rule) => ({ ...rule, object: refText(rule.object) })),
    outcome: outcome.kind === 'forward' ? forwardOf(snapshot, outcome, { call, moment }) : outcome,
  }
}

function standsText({ dialled: { target, service, port } }: Explained): string {
  const at = service === null ? '' : `port ${port?.port ?? '?'} of Service ${service.namespace}/${service.name}`
  switch (target.kind) {
    case 'service':
      return at
    case 'workload': {
      const pod = `pod ${target.workload.namespace}/${target.workload.name}`
      return at === '' ? pod : `${pod}, behind ${at}`
    }
    case 'unknown':
      return at === '' ? 'nothing that the mesh knows' : `an endpoint of ${at}`
  }
}

interface Asking {
  readonly call: Call
  readonly moment: Moment
}

function forwardOf(snapshot: Snapshot, outcome: Outcome & { kind: 'forward' }, asking: Asking): ExplainedForward {
  const { kind, shares, mirrors, delay, abort } = outcome
  return {
    ...{ kind, delay, abort },
    shares: shares.map((share) => shareOf(snapshot, share, asking)),
    mirrors: mirrors.map(({ percent, destination }) => ({ percent, destination: destinationText(destination) })),
  }
}

function shareOf(snapshot: Snapshot, { percent, forward, ...to }: Share, { call, moment }: Asking): ExplainedShare {
  const none = { target: null, authority: null, timeoutMs: null, retries: null, changes: null, outliers: null }
  if (forward === null) {
    const nothing = { rules: [], balancer: '', limits: {}, endpoints: [], verdicts: [], unjudged: 0 }
    return { ...none, ...nothing, percent, destination: destinationText(to), isKnown: false }
  }
  const { backends, target, authority, timeoutMs, retries, changes } = forward
  const { policy } = backends
  const reached = reachedOf(snapshot, backends, moment)
  return {
    percent,
    destination: destinationText(backends),
    isKnown: true,
    ...{ target, authority, timeoutMs, changes: isNothing(changes) ? null : changes },
    retries: retriesOf(retries),
    rules: policy.rules,
    balancer: balancerText(backends),
    limits: Object.fromEntries(Object.entries(policy.pool).filter(([, limit]) => limit !== null)),
    outliers: policy.outliers,
    endpoints: endpointsOf(snapshot, backends, { moment, reached }),
    ...verdictsOf(snapshot, call, forward, reached),
  }
}

function isNothing({ request, response }: Forward['changes']): boolean {
  return request.length + response.length === 0
}

function retriesOf({ attempts, perTryMs, on, statuses }: RetryPolicy): ExplainedShare['retries'] {
  return attempts === 0 ? null : { attempts, perTryMs, on: [...on, ...[...statuses].map(String)] }
}

function balancerText({ policy: { balancing }, affinitySeconds }: Backends): string {
  if (balancing.hash !== null) {
    const { by, algorithm } = balancing.hash
    const what = by.kind === 'source-ip' ? 'source IP' : `${by.kind} ${by.name}`
    return `consistent hash of ${what} (${algorithm.kind})`
  }
  return affinitySeconds === null ? balancing.simple : `session affinity of the Service, ${affinitySeconds} s`
}

/** How each endpoint is reached. */
function reachedOf(snapshot: Snapshot, backends: Backends, moment: Moment): readonly Reached[] {
  return backends.endpoints.map((endpoint) => {
    const workload = workloadAt(snapshot, endpoint)
    const isNear = workload !== null && moment.isCapturedHere(workload.uid)
    const link = isNear ? linkNear(snapshot, endpoint, backends) : linkTo(snapshot, endpoint, backends)
    return { endpoint, link, isNear }
  })
}

interface Serving {
  readonly moment: Moment
  readonly reached: readonly Reached[]
}

function endpointsOf(snapshot: Snapshot, backends: Backends, { moment, reached }: Serving): ExplainedEndpoint[] {
  const ejected = moment.ejected(backends.policy.scope)
  const names = new Set(ejected.keys())
  const tiers = tiersOf(backends, { health: { ejected: () => (names.size === 0 ? null : names) } })
  const shares = new Map(
    tiers.flatMap(({ endpoints, share }) => endpoints.map((each) => [each, (100 * share) / endpoints.length])),
  )
  return reached.map(({ endpoint, link, isNear }) => {
    const workload = workloadAt(snapshot, endpoint)
    const until = ejected.get(nameOf(endpoint)) ?? null
    return {
      address: addressText(endpoint.address),
      pod: workload === null ? null : `${workload.namespace}/${workload.name}`,
      node: endpoint.node,
      locality: endpoint.locality === null ? null : localityText(endpoint.locality),
      percent: shares.get(endpoint) ?? 0,
      state: stateOf(endpoint, until),
      link: linkText(link, isNear),
    }
  })
}

function stateOf({ ready, terminating }: Endpoint, ejectedUntilMs: number | null): string {
  if (ejectedUntilMs !== null) return `ejected until ${new Date(ejectedUntilMs).toISOString()}`
  return terminating ? 'serves, though it terminates' : ready ? 'serves' : 'serves, though it is not ready'
}

function linkText(link: Link, isNear: boolean): string {
  switch (link.kind) {
    case 'plain':
      return isNear ? 'on this node' : 'in plaintext'
    case 'tls':
      return `by the mesh’s TLS, as ${link.identity}`
    case 'originated':
      return link.serverName === null ? 'by TLS' : `by TLS, as ${link.serverName}`
    case 'refused':
      return `not at all: ${link.why}`
  }
}

function destinationText({ host, subset, port }: { host: string; subset: string | null; port: number | null }): string {
  return `${host}${port === null ? '' : `:${port}`}${subset === null ? '' : ` subset ${subset}`}`
}

function refText({ kind, namespace, name }: ObjectRef): string {
  return `${kind} ${namespace}/${name}`
}
