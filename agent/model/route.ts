// Where a connection or request goes: pure, from the snapshot, what the caller dialled and what it asked for.

import { addressText, familyOf, type IpFamily, type SocketAddress } from './address.ts'
import { type FailureCode, MeshError } from './failure.ts'
import { clientTlsFor, isVisible, policiesFor, saidOf } from './destination.ts'
import { pathOf, type RequestFacts } from './match.ts'
import type { Balancer, ClientTls, HttpRule, RequestMatch, Rewrite, WeightedDestination } from './policy.ts'
import { entriesFor } from './host-index.ts'
import type { Endpoint, Service } from './service.ts'
import { serving } from './serving.ts'
import {
  type CompiledRule,
  type CompiledVirtualService,
  memoized,
  resolve,
  type RuleRef,
  type ServiceAt,
  type Snapshot,
  type Target,
  type Vantage,
  workloadAt,
} from './snapshot.ts'
import type { ObjectRef, Workload } from './workload.ts'

/** Random number in [0, 1), as Math.random gives. */
export type Random = () => number

/** The endpoints that may serve, and how to choose among them. */
export interface Backends {
  /** Names the set across snapshots: the balancer's turn is counted by it. */
  readonly key: string
  /** Fully qualified service host, or the dialled IP where no service stands there. */
  readonly host: string
  readonly subset: string | null
  /** Port of the service (not of the endpoint). */
  readonly port: number
  /** Of the endpoints, all of them. */
  readonly family: IpFamily
  readonly balancer: Balancer
  readonly endpoints: readonly Endpoint[]
  /** The address that was dialled, of which the mesh knows nothing: passed through as it is. */
  readonly isUnknown: boolean
  /** How long a client keeps its endpoint, in seconds, or null: as the Service says where no policy says more. */
  readonly affinitySeconds: number | null
  /** How a policy wants connections secured, or null where none says. */
  readonly tls: ClientTls | null
}

export type HttpRoute =
  | {
      readonly kind: 'forward'
      readonly by: RuleRef | null
      readonly backends: Backends
      /** Fault: wait so long before anything else; 0 for none. */
      readonly delayMs: number
      /** Request target to send, or null to keep it. */
      readonly target: string | null
      /** Authority to send, or null to keep it. */
      readonly authority: string | null
      /** Milliseconds for the whole request, retries included, or null for no limit. */
      readonly timeoutMs: number | null
    }
  | { readonly kind: 'abort'; readonly by: RuleRef; readonly delayMs: number; readonly status: number }
  | { readonly kind: 'none'; readonly code: FailureCode; readonly why: string }

/**
 * Routes one HTTP request that was sent to a service. Order is the VirtualService's own: the first rule that matches
 * wins; a VirtualService none of whose rules match is NO_ROUTE (Istio answers 404); without one, plain balancing.
 */
export function routeHttp(
  snapshot: Snapshot,
  target: Target & { kind: 'service' },
  asked: { readonly request: RequestFacts; readonly caller: Workload | null },
  random: Random,
): HttpRoute {
  const consumer = asked.caller?.namespace ?? target.service.namespace
  const virtualService = virtualServiceFor(snapshot, target, consumer)
  if (virtualService === null) return forward(routeTcp(snapshot, target, consumer), null)
  const at = { consumer, dialledPort: target.port.port, family: target.family, external: target.external }
  return followRules(snapshot, virtualService, asked, { at, own: null, random })
}

/** What a destination stands for that names the very host that was asked for. */
export interface Own {
  readonly hosts: readonly string[]
  readonly backends: Backends
}

/** Routes one HTTP request by the rules of a VirtualService. */
export function followRules(
  snapshot: Snapshot,
  virtualService: CompiledVirtualService,
  asked: { readonly request: RequestFacts; readonly caller: Workload | null },
  { at, own, random }: { readonly at: Vantage; readonly own: Own | null; readonly random: Random },
): HttpRoute {
  const { ref } = virtualService.source
  const matched = firstMatch(virtualService.http, asked)
  if (matched === null) return { kind: 'none', code: 'NO_ROUTE', why: `no rule of ${text(ref)} matches` }
  const { by, rule } = matched
  const delay = rule.fault?.delay
  const delayMs = delay && strikes(delay.percent, random) ? delay.ms : 0
  const abort = rule.fault?.abort
  if (abort && strikes(abort.percent, random)) return { kind: 'abort', by, delayMs, status: abort.status }
  const destination = draw(rule.destinations, random)
  if (destination === null) return { kind: 'none', code: 'NO_ROUTE', why: `${text(ref)} gives no destination` }
  const isOwn = own !== null && own.hosts.includes(destination.host)
  const backends = isOwn
    ? ownBackends(snapshot, own.backends, destination.subset, at.consumer)
    : backendsFor(snapshot, destination, at)
  if (backends === null) return { kind: 'none', code: 'NO_CLUSTER', why: unknownDestination(destination, ref) }
  const { timeoutMs } = rule
  const { target, authority } = rewritten(rule.rewrite, matched.match, asked.request.target)
  return { kind: 'forward', by, backends, delayMs, timeoutMs, target, authority }
}

/** The very endpoint that was dialled, as a policy for a subset has it. */
function ownBackends(snapshot: Snapshot, own: Backends, subset: string | null, consumer: string): Backends {
  const { host, port, isUnknown } = own
  return { ...own, subset, tls: isUnknown ? null : clientTlsFor(snapshot, { host, subset, port }, consumer) }
}

/** The first rule that matches, with the `match` entry that did (null where the rule takes every request). */
function firstMatch(
  rules: readonly CompiledRule[],
  asked: { readonly request: RequestFacts; readonly caller: Workload | null },
): { readonly rule: HttpRule; readonly by: RuleRef; readonly match: RequestMatch | null } | null {
  const { request, caller } = asked
  // by index: an iterator a rule and an object a step are most of what a request would leave to the collector here
  for (let i = 0; i < rules.length; i++) {
    const { rule, by, matches } = rules[i] as CompiledRule
    if (matches.length === 0) return { rule, by, match: null }
    for (let k = 0; k < matches.length; k++) {
      const { match, test } = matches[k] as CompiledRule['matches'][number]
      if (test(request, caller)) return { rule, by, match }
    }
  }
  return null
}

/** The endpoints of the service itself, its DestinationRule applied: what a connection gets that no rule speaks of. */
export function routeTcp(snapshot: Snapshot, target: Target, consumer: string): Backends {
  switch (target.kind) {
    case 'service': {
      const { service, port, family, external } = target
      const at = { consumer, dialledPort: port.port, family, external }
      // cannot be null: the service and its port come from this very snapshot
      return memoized(snapshot, port, at, () => {
        return backendsFor(snapshot, { host: service.host, subset: null, port: port.port }, at)
      }) as Backends
    }
    case 'workload':
      return asDialled(snapshot, direct(target.address, target.workload.uid), target.behind, consumer)
    case 'unknown': {
      const isUnknown = target.behind === null
      return asDialled(snapshot, { ...direct(target.address, null), isUnknown }, target.behind, consumer)
    }
  }
}

/** An endpoint that was dialled: where that is how its Service is dialled, the Service's policy secures it. */
function asDialled(snapshot: Snapshot, dialled: Backends, behind: ServiceAt | null, consumer: string): Backends {
  if (behind === null || !behind.service.headless) return dialled
  const at = { host: behind.service.host, port: behind.port.port }
  const tls = clientTlsFor(snapshot, { ...at, subset: null }, consumer)
  return tls === null ? dialled : { ...dialled, ...at, tls }
}

/**
 * Why the mesh keeps a caller from an address, or null: by outboundTrafficPolicy REGISTRY_ONLY (Istio's meshConfig) only what
 * the mesh knows is reached. An address of a Service, of an endpoint of one, or of a pod, joined or not, is known.
 */
export function keptFrom(
  snapshot: Snapshot,
  address: SocketAddress,
  code: 'BLACK_HOLE' | 'BLACK_HOLE_FLOW',
): MeshError | null {
  if (snapshot.settings.mesh.outboundTrafficPolicy === 'ALLOW_ANY') return null
  const name = addressText(address)
  const isKnown = resolve(snapshot, address).kind !== 'unknown' || snapshot.servicesByEndpoint.get(name) !== undefined
  return isKnown ? null : new MeshError(code, `nothing in the mesh stands for ${name}`)
}

/**
 * The VirtualService in force for a service: of those the consumer may see, one with the service's own host before one
 * with a wildcard; then the consumer's namespace, the service's, the mesh's root.
 */
export function virtualServiceFor(
  snapshot: Snapshot,
  { service }: { readonly service: Service },
  consumer: string,
): CompiledVirtualService | null {
  return memoized(snapshot, service, { consumer, dialledPort: 0, family: 4, external: false }, () => {
    const levels = entriesFor(snapshot.virtualServices, service.host)
    return firstVisible(levels, { consumer, order: [consumer, service.namespace, snapshot.rootNamespace] })
  })
}

/** Of the first level of which the consumer sees any, the one of the first namespace in `order`. */
export function firstVisible(
  levels: readonly (readonly CompiledVirtualService[])[],
  { consumer, order }: { readonly consumer: string; readonly order: readonly string[] },
): CompiledVirtualService | null {
  for (const known of levels) {
    const visible = known.filter(({ source }) => isVisible(source.exportTo, consumer))
    if (visible.length > 0) return preferred(visible, order, ({ source }) => source.ref.namespace)
  }
  return null
}

/**
 * The endpoints a destination names, those of the dialled family alone, or null where its host, port or subset is not
 * known. Worked out once a snapshot for each destination object.
 */
export function backendsFor(
  snapshot: Snapshot,
  destination: { readonly host: string; readonly subset: string | null; readonly port: number | null },
  at: Vantage,
): Backends | null {
  const { subset } = destination
  const { family } = at
  const wanted = destination.port ?? at.dialledPort
  return memoized(snapshot, destination, at, () => {
    const service = serviceNamed(snapshot, destination.host)
    if (service === null) return null
    const { host } = service
    const port =
      service.ports.find((candidate) => candidate.port === wanted) ??
      (destination.port === null && service.ports.length === 1 ? service.ports[0] : undefined)
    if (port === undefined) return null
    const from = { consumer: at.consumer, producer: service.namespace }
    const { chosen, policies } = policiesFor(snapshot, { host, subset }, from)
    if (subset !== null && chosen === null) return null
    const labels = chosen?.labels ?? {}
    const balancer = saidOf(policies, port.port, (one) => one.balancer, DEFAULT_BALANCER)
    const onlyNode = service.localOnly && !at.external ? snapshot.settings.node : null
    return {
      key: `${host}|${subset ?? ''}|${port.port}|${family}`,
      host,
      subset,
      port: port.port,
      family,
      isUnknown: false,
      balancer: balancer ?? DEFAULT_BALANCER,
      affinitySeconds: balancer === null && subset === null ? service.affinitySeconds : null,
      tls: saidOf(policies, port.port, (one) => one.tls, null),
      endpoints: serving(service, port, { family, onlyNode }).filter((endpoint) => carries(snapshot, endpoint, labels)),
    }
  })
}

/** Aliases (ExternalName) that are followed from one to the next. */
const ALIASES_MAX = 4

/** The Service of a host; of an ExternalName one the Service that it names, null where that is a host outside. */
function serviceNamed(snapshot: Snapshot, host: string): Service | null {
  let service = snapshot.serviceByHost.get(host)
  for (let i = 0; i < ALIASES_MAX && service !== undefined && service.externalName !== null; i++) {
    service = snapshot.serviceByHost.get(service.externalName)
  }
  return service === undefined || service.externalName !== null ? null : service
}

/** The first entry (oldest first) of the first namespace in `order` that has one. */
export function preferred<T>(
  entries: readonly T[],
  order: readonly string[],
  namespaceOf: (entry: T) => string,
): T | null {
  for (const namespace of order) {
    const found = entries.find((entry) => namespaceOf(entry) === namespace)
    if (found !== undefined) return found
  }
  return entries[0] ?? null
}

function carries(snapshot: Snapshot, endpoint: Endpoint, labels: Readonly<Record<string, string>>): boolean {
  const wanted = Object.entries(labels)
  if (wanted.length === 0) return true
  const workload = workloadAt(snapshot, endpoint)
  return workload !== null && wanted.every(([name, value]) => workload.labels[name] === value)
}

/** Istio's default. */
const DEFAULT_BALANCER: Balancer = 'LEAST_REQUEST'

/** Exactly this address, whoever is there. */
export function direct(address: SocketAddress, workload: string | null): Backends {
  return {
    key: `${address.ip}||${address.port}`,
    host: address.ip,
    subset: null,
    port: address.port,
    family: familyOf(address.ip),
    balancer: 'ROUND_ROBIN',
    isUnknown: workload === null,
    affinitySeconds: null,
    tls: null,
    endpoints: [{ address, workload, ready: true, serving: true, terminating: false, node: null }],
  }
}

/** Nothing but the backends. */
export function forward(backends: Backends, by: RuleRef | null): HttpRoute & { kind: 'forward' } {
  return { kind: 'forward', by, backends, delayMs: 0, target: null, authority: null, timeoutMs: null }
}

/** One destination by weight. Weights of 0 never win unless it is the only destination (Istio: a lone weight is 100). */
function draw(destinations: readonly WeightedDestination[], random: Random): WeightedDestination | null {
  if (destinations.length === 1) return destinations[0] ?? null
  const total = destinations.reduce((sum, { weight }) => sum + weight, 0)
  let rest = random() * total
  for (const destination of destinations) {
    rest -= destination.weight
    if (rest < 0) return destination
  }
  return null
}

function strikes(percent: number, random: Random): boolean {
  return percent >= 100 || (percent > 0 && random() * 100 < percent)
}

const AS_IT_IS = { target: null, authority: null }

/** Istio's rewrite: the prefix that matched is replaced, where none did the whole path; the query stays. */
function rewritten(
  rewrite: Rewrite | null,
  match: RequestMatch | null,
  target: string,
): { target: string | null; authority: string | null } {
  if (rewrite === null) return AS_IT_IS
  if (rewrite.uri === null) return { target: null, authority: rewrite.authority }
  const path = pathOf(target)
  const uri = match?.uri ?? null
  // without a uri match every path matches as the prefix `/`
  const replaced = uri === null || uri.kind === 'present' ? 1 : uri.kind === 'prefix' ? uri.value.length : path.length
  return { target: rewrite.uri + path.slice(replaced) + target.slice(path.length), authority: rewrite.authority }
}

function text(ref: ObjectRef): string {
  return `${ref.kind} ${ref.namespace}/${ref.name}`
}

function unknownDestination({ host, subset, port }: WeightedDestination, ref: ObjectRef): string {
  const where = `${host}${port === null ? '' : `:${port}`}${subset === null ? '' : ` subset ${subset}`}`
  return `${text(ref)} sends to ${where}, which is not known`
}
