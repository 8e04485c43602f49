// What DestinationRules say of a host, for a caller: pure, from the snapshot.

import { entriesFor } from './host-index.ts'
import type { Snapshot } from './snapshot.ts'
import type {
  Balancer,
  ClientTls,
  ConnectionPool,
  DestinationRule,
  LoadBalancing,
  OutlierDetection,
  PortPolicy,
  RetryBudget,
  Subset,
  TrafficPolicy,
  Tunnel,
} from './traffic-policy.ts'
import type { Workload } from './workload.ts'

/** Who looks: the namespace whose policies speak for the caller, and the caller where it is known. */
export interface Consumer {
  readonly consumer: string
  readonly caller: Workload | null
}

/** Where it is asked about: a host, a subset of it, and a port of its Service. */
export interface HostPort {
  readonly host: string
  readonly subset: string | null
  readonly port: number
}

/** How to talk to the endpoints of a host, all that policies say of it put together. */
export interface HostPolicy {
  /** Names what is bounded and ejected together on this node, across snapshots. */
  readonly scope: string
  /** The DestinationRules that speak, `namespace/name`. */
  readonly rules: readonly string[]
  /** A balancer is said by name, or by what it hashes: the Service's own affinity gives way then. */
  readonly isBalanced: boolean
  readonly balancing: LoadBalancing & { readonly simple: Balancer }
  readonly pool: ConnectionPool
  readonly outliers: OutlierDetection | null
  readonly retryBudget: RetryBudget | null
  readonly proxyProtocol: 1 | 2 | null
  readonly tunnel: Tunnel | null
  readonly tls: ClientTls | null
}

/** Istio's default. */
const DEFAULT_BALANCER: Balancer = 'LEAST_REQUEST'

const UNBOUNDED: ConnectionPool = {
  maxConnections: null,
  connectTimeoutMs: null,
  keepalive: null,
  idleMs: null,
  maxDurationMs: null,
  maxPending: null,
  maxRequests: null,
  maxPerConnection: null,
  maxRetries: null,
  httpIdleMs: null,
}

const UNSAID: LoadBalancing & { readonly simple: Balancer } = {
  simple: DEFAULT_BALANCER,
  hash: null,
  locality: null,
  warmup: null,
}

/** The policy of what no rule speaks of. */
export const NO_POLICY: HostPolicy = {
  scope: '',
  rules: [],
  isBalanced: false,
  balancing: UNSAID,
  pool: UNBOUNDED,
  outliers: null,
  retryBudget: null,
  proxyProtocol: null,
  tunnel: null,
  tls: null,
}

/** The subset that is asked for, null where there is none, and the policy that holds for it at a port. */
export function policyFor(
  snapshot: Snapshot,
  { host, subset, port }: HostPort,
  from: Consumer,
): { readonly chosen: Subset | null; readonly policy: HostPolicy } {
  const rules = destinationRulesFor(snapshot, host, from)
  if (rules.length === 0) return { chosen: null, policy: NO_POLICY }
  const chosen = rules.flatMap(({ subsets }) => subsets).find(({ name }) => name === subset) ?? null
  const all = [chosen?.policy ?? null, rules.find(({ policy }) => policy !== null)?.policy ?? null]
  const names = rules.map(({ ref }) => `${ref.namespace}/${ref.name}`)
  const balancing = saidOf(all, port, (one) => one.balancing)
  const top = <T>(read: (policy: TrafficPolicy) => T | null): T | null => {
    for (const one of all) {
      const said = one === null ? null : read(one)
      if (said !== null) return said
    }
    return null
  }
  const policy: HostPolicy = {
    scope: `${host}|${subset ?? ''}|${port}|${names.join()}`,
    rules: names,
    isBalanced: balancing !== null && (balancing.simple !== null || balancing.hash !== null),
    balancing: { ...UNSAID, ...balancing, simple: balancing?.simple ?? DEFAULT_BALANCER },
    pool: saidOf(all, port, (one) => one.pool) ?? UNBOUNDED,
    outliers: saidOf(all, port, (one) => one.outliers),
    retryBudget: top((one) => one.retryBudget),
    proxyProtocol: top((one) => one.proxyProtocol),
    tunnel: top((one) => one.tunnel),
    tls: saidOf(all, port, (one) => one.tls),
  }
  return { chosen, policy }
}

/**
 * All DestinationRules in force for a host, oldest first: those of the consumer's namespace, else of the service's, else
 * of the root; there those of the longest host. Several of one host are one: their subsets together, and the oldest one's
 * policy (Istio merges them so). Those that select callers come before the others, and speak in their own namespace alone.
 */
function destinationRulesFor(
  snapshot: Snapshot,
  host: string,
  { consumer, caller }: Consumer,
): readonly DestinationRule[] {
  const known = entriesFor(snapshot.destinationRules, host)
  if (known.length === 0) return []
  const producer = snapshot.serviceByHost.get(host)?.namespace ?? consumer
  for (const namespace of [consumer, producer, snapshot.rootNamespace]) {
    const own = known.map((rules) =>
      rules.filter((rule) => {
        if (rule.ref.namespace !== namespace || !isVisible(rule.exportTo, consumer)) return false
        return rule.callers === null || selectsCaller(rule, caller)
      }),
    )
    const found = own.find((rules) => rules.length > 0)
    if (found !== undefined) return selectingFirst(found)
  }
  return []
}

function selectingFirst(rules: readonly DestinationRule[]): readonly DestinationRule[] {
  const selecting = rules.filter(({ callers }) => callers !== null)
  if (selecting.length === 0) return rules
  return [...selecting, ...rules.filter(({ callers }) => callers === null)]
}

/** Istio's workloadSelector does not reach beyond the namespace of its object. */
function selectsCaller({ callers, ref }: DestinationRule, caller: Workload | null): boolean {
  if (caller === null || caller.namespace !== ref.namespace) return false
  return Object.entries(callers ?? {}).every(([name, value]) => caller.labels[name] === value)
}

/**
 * One setting. Port over top level, subset over rule; null where nobody says. What a port's own settings leave out is
 * Istio's default, never inherited.
 */
function saidOf<T>(
  policies: readonly (TrafficPolicy | null)[],
  port: number,
  read: (policy: PortPolicy) => T | null,
): T | null {
  for (const policy of policies) {
    const byPort = policy?.ports.find((entry) => entry.port === port)
    if (byPort !== undefined) return read(byPort)
    const said = policy === null ? null : read(policy)
    if (said !== null) return said
  }
  return null
}

/** Whether a namespace may see an object. */
export function isVisible(exportTo: readonly string[], consumer: string): boolean {
  return exportTo.includes('*') || exportTo.includes(consumer)
}

/** Names of the labels of callers that rules look at, sorted. */
export function callerLabelsOf(rules: Iterable<DestinationRule>): readonly string[] {
  const names = new Set<string>()
  for (const { callers, policy, subsets } of rules) {
    for (const name of Object.keys(callers ?? {})) names.add(name)
    for (const one of [policy, ...subsets.map((subset) => subset.policy)]) {
      for (const { balancing } of one === null ? [] : [one, ...one.ports]) {
        for (const entry of balancing?.locality?.failoverPriority ?? []) names.add(entry.split('=', 1)[0] as string)
      }
    }
  }
  return [...names].sort()
}
