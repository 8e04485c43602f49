// Where a connection goes that is carried as bytes: pure, from the snapshot, what was dialled and whom its TLS asks for.
//
// One that begins with TLS and names a server goes by the first rule of the VirtualService's `tls` list that matches; it and
// all others by the first one of `tcp`. Where none matches it goes to what was dialled, as without a VirtualService: Istio's
// proxies do so too, for their listener of a Service ends in the Service itself, or passes what it does not know through. A
// VirtualService of `http` rules alone says nothing of it.

import { type Backends, backendsFor } from './backends.ts'
import { draw, type Random } from './chance.ts'
import type { FailureCode } from './failure.ts'
import type { FlowFacts } from './flow-match.ts'
import type { Own } from './http/route.ts'
import { ownBackends, unknownDestination } from './http/rules.ts'
import type { WeightedDestination } from './policy.ts'
import { keptFrom, routeTcp, virtualServiceFor } from './route.ts'
import { type Addressed, type Ground, groundAt } from './route-address.ts'
import type { CompiledFlowRule, CompiledVirtualService, RuleRef, Snapshot, Target, Vantage } from './snapshot.ts'
import type { Workload } from './workload.ts'

/** Where a flow goes; `by` null: no rule says, and it goes to what was dialled. */
export type FlowRoute =
  | { readonly kind: 'forward'; readonly by: RuleRef | null; readonly backends: Backends }
  | { readonly kind: 'none'; readonly code: FailureCode; readonly why: string }

/** Routes one connection by the address dialled and, where that belongs to nothing, by its server name. */
export function routeFlow(snapshot: Snapshot, target: Target, asked: FlowFacts, random: Random): FlowRoute {
  const { caller } = asked
  if (target.kind === 'service') {
    const { service, port, family, external } = target
    const consumer = caller?.namespace ?? service.namespace
    const at = { consumer, caller, dialledPort: port.port, family, external, dialled: target.address }
    const rules = virtualServiceFor(snapshot, target, consumer, 'flows')
    const ruled = rules === null ? null : followFlow(snapshot, rules, asked, { at, own: null, random })
    return ruled ?? plain(routeTcp(snapshot, target, at))
  }
  const ground = groundOfFlow(snapshot, target, asked)
  if (ground !== null) {
    const { rules, kept, at } = ground
    const own = kept === null ? ground.own : null
    const ruled = rules === null ? null : followFlow(snapshot, rules, asked, { at, own, random })
    if (ruled !== null) return ruled
    return kept === null ? plain(ground.own.backends) : { kind: 'none', code: 'BLACK_HOLE_FLOW', why: kept.message }
  }
  const kept = target.kind === 'unknown' ? keptFrom(snapshot, target.address, 'BLACK_HOLE_FLOW') : null
  if (kept !== null) return { kind: 'none', code: kept.code, why: kept.message }
  return plain(routeTcp(snapshot, target, { consumer: caller?.namespace ?? '', caller }))
}

/** By what a flow to an address is routed, given whom its TLS asks for. Null: by nothing but the address itself. */
export function groundOfFlow(snapshot: Snapshot, target: Addressed, { serverName, caller }: FlowFacts): Ground | null {
  const isNameless = serverName === null && target.kind === 'unknown' && target.behind === null
  return isNameless ? null : groundAt(snapshot, target, { name: serverName ?? '', of: 'flows' }, caller)
}

function plain(backends: Backends): FlowRoute {
  return { kind: 'forward', by: null, backends }
}

/**
 * Whether a rule for what was dialled may look at the server name. Asked where a port declares what it carries: nothing of
 * the caller's need be read there otherwise, and a server that speaks first is not kept waiting.
 */
export function looksAtServerName(
  snapshot: Snapshot,
  target: Target,
  { caller, port }: { readonly caller: Workload | null; readonly port: number },
): boolean {
  const service = target.kind === 'service' ? target.service : target.behind?.service
  if (service === undefined || (target.kind !== 'service' && !service.headless)) return false
  const rules = virtualServiceFor(snapshot, { service }, caller?.namespace ?? service.namespace, 'flows')
  return rules !== null && rules.tls.some(({ rule: { matches } }) => speaksOf(matches, port))
}

function speaksOf(matches: readonly { readonly port: number | null }[], port: number): boolean {
  return matches.length === 0 || matches.some((match) => match.port === null || match.port === port)
}

/** The first rule that matches: of `tls` where a server is named, else of `tcp`. */
export function firstFlow(
  { tls, tcp }: Pick<CompiledVirtualService, 'tls' | 'tcp'>,
  asked: FlowFacts,
): CompiledFlowRule | null {
  const byName = asked.serverName === null ? undefined : tls.find((one) => takes(one, asked))
  return byName ?? tcp.find((one) => takes(one, asked)) ?? null
}

/** By the first rule that matches; null: none does. */
function followFlow(
  snapshot: Snapshot,
  { tls, tcp, source }: CompiledVirtualService,
  asked: FlowFacts,
  { at, own, random }: { readonly at: Vantage; readonly own: Own | null; readonly random: Random },
): FlowRoute | null {
  const found = firstFlow({ tls, tcp }, asked)
  if (found === null) return null
  const { rule, by } = found
  const destination = draw(rule.destinations, random)
  if (destination === null) {
    const { kind, namespace, name } = source.ref
    return { kind: 'none', code: 'NO_ROUTE', why: `${kind} ${namespace}/${name} gives no destination in ${by.rule}` }
  }
  const backends = flowTo(snapshot, destination, { at, own })
  if (backends === null) return { kind: 'none', code: 'NO_CLUSTER', why: unknownDestination(destination, source.ref) }
  return { kind: 'forward', by, backends }
}

/** What a rule's destination stands for, or null where it is not known. */
export function flowTo(
  snapshot: Snapshot,
  destination: WeightedDestination,
  { at, own }: { readonly at: Vantage; readonly own: Own | null },
): Backends | null {
  const isOwn = own !== null && own.hosts.includes(destination.host)
  return isOwn ? ownBackends(snapshot, own.backends, destination.subset, at) : backendsFor(snapshot, destination, at)
}

function takes({ tests }: CompiledFlowRule, asked: FlowFacts): boolean {
  return tests.length === 0 || tests.some((test) => test(asked))
}
