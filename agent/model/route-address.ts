// Where a request or flow goes whose caller dialled no Service's own address: an endpoint of a headless Service, a pod, or
// what nothing in the mesh stands for.
//
// The dialled endpoint stands: a caller of a headless Service has chosen it. The Service's VirtualService applies (one for
// the pod's own name before it), but a destination that names that very Service, whatever its subset, is the dialled
// endpoint. A Host that is an IP address asks for a pod, not for a Service, and gets no routing. Of a flow the server name of its
// TLS stands for Host.

import { addressText, canonicalIp, familyOf, type SocketAddress } from './address.ts'
import { type Backends, direct } from './backends.ts'
import type { Random } from './chance.ts'
import { type Consumer, policyFor } from './destination.ts'
import { entriesFor } from './host-index.ts'
import { followRules } from './http/rules.ts'
import type { MeshError } from './failure.ts'
import { type Asked, forward, type HttpRoute, type Own } from './http/route.ts'
import { type Carriage, firstVisible, keptFrom, routeTcp, virtualServiceFor } from './route.ts'
import type { Service } from './service.ts'
import { endpointAt } from './serving.ts'
import type { CompiledVirtualService, ServiceAt, Snapshot, Target, Vantage } from './snapshot.ts'
import type { Workload } from './workload.ts'

/** A dialled address that is no Service's own. */
export type Addressed = Exclude<Target, { kind: 'service' }>

/** Routes one HTTP request by the address dialled and, where that does not settle it, by its Host. */
export function routeAddress(snapshot: Snapshot, target: Addressed, asked: Asked, random: Random): HttpRoute {
  const { caller } = asked
  const ground = groundOf(snapshot, target, asked)
  if (ground !== null) {
    const { rules, own, kept, at } = ground
    if (rules !== null) return followRules(snapshot, rules, asked, { at, own: kept === null ? own : null, random })
    return kept === null ? forward(own.backends, null) : { kind: 'none', code: kept.code, why: kept.message }
  }
  const kept = target.kind === 'unknown' ? keptFrom(snapshot, target.address, 'BLACK_HOLE') : null
  if (kept !== null) return { kind: 'none', code: kept.code, why: kept.message }
  return forward(routeTcp(snapshot, target, { consumer: caller?.namespace ?? '', caller }), null)
}

/** By what a request is routed to an address, given its Host. Null: by nothing but the address itself. */
export function groundOf(snapshot: Snapshot, target: Addressed, { request, caller }: Asked): Ground | null {
  const name = hostOf(request.authority)
  return canonicalIp(name) === null ? groundAt(snapshot, target, { name, of: 'http' }, caller) : null
}

/** What is known of an address by the name that is asked for there. */
export interface Ground {
  /** The VirtualService in force, or null. */
  readonly rules: CompiledVirtualService | null
  /** What was dialled, and the names that stand for it. */
  readonly own: Own
  /** Why the mesh keeps the caller from the address itself, or null. */
  readonly kept: MeshError | null
  readonly at: Vantage
}

/** What is asked for at an address: a host (lower case), '' for none, and by rules of which kind. */
export interface Wanted {
  readonly name: string
  readonly of: Carriage
}

/**
 * By what an address is routed, given the host that is asked for there. Null: by nothing but itself, as a pod that was
 * dialled.
 */
export function groundAt(
  snapshot: Snapshot,
  target: Addressed,
  wanted: Wanted,
  caller: Workload | null,
): Ground | null {
  const { address } = target
  const headless = headlessAt(snapshot, address, { name: wanted.name, consumer: caller?.namespace ?? '' })
  if (headless !== null) return headlessGround(snapshot, { ...headless, ...wanted, address }, caller)
  return target.kind === 'unknown' && target.behind === null ? outside(snapshot, { ...wanted, address }, caller) : null
}

/** The headless Service an endpoint is dialled for: the one that stands there; where several do, the one Host names. */
function headlessAt(
  snapshot: Snapshot,
  address: SocketAddress,
  { name, consumer }: { readonly name: string; readonly consumer: string },
): ServiceAt | null {
  const behind = snapshot.servicesByEndpoint.get(addressText(address))
  if (behind === undefined) return null
  const all = behind.filter(({ service }) => service.headless)
  if (all.length < 2) return all[0] ?? null
  const parent = behindDot(name)
  return all.find(({ service }) => isNamed(name, service, consumer) || isNamed(parent, service, consumer)) ?? null
}

function headlessGround(
  snapshot: Snapshot,
  at: ServiceAt & Wanted & { readonly address: SocketAddress },
  caller: Workload | null,
): Ground {
  const { service, port, address, name, of } = at
  const consumer = caller?.namespace ?? service.namespace
  const pod = isNamed(behindDot(name), service, consumer) ? `${name.slice(0, name.indexOf('.'))}.${service.host}` : null
  const rules =
    (pod === null ? null : rulesForPod(snapshot, { pod, service, of }, consumer)) ??
    virtualServiceFor(snapshot, { service }, consumer, of)
  const endpoint = endpointAt(port, addressText(address))
  const dialled = direct(address, endpoint?.workload ?? null)
  const backends: Backends = {
    ...dialled,
    host: service.host,
    port: port.port,
    isUnknown: false,
    policy: policyFor(snapshot, { host: service.host, subset: null, port: port.port }, { consumer, caller }).policy,
    endpoints: endpoint === undefined ? dialled.endpoints : [endpoint],
  }
  const own = { hosts: pod === null ? [service.host] : [service.host, pod], backends }
  return { rules, own, kept: null, at: vantage(address, port.port, { consumer, caller }) }
}

/** The VirtualService for a pod's own name: one that speaks of all the cluster does not come before its Service's. */
function rulesForPod(
  snapshot: Snapshot,
  { pod, service, of }: { readonly pod: string; readonly service: Service; readonly of: Carriage },
  consumer: string,
): CompiledVirtualService | null {
  const { exact, wildcards } = snapshot.virtualServices
  const within = `.${service.host}`
  const covering = wildcards.filter(({ suffix }) => suffix.endsWith(within) && pod.endsWith(suffix))
  const levels = [exact.get(pod) ?? [], ...covering.map(({ entries }) => entries)]
  return firstVisible(levels, { consumer, order: [consumer, service.namespace, snapshot.rootNamespace], of })
}

/** An address that belongs to nothing: an ExternalName Service, or a VirtualService for a host that is no Service's. */
function outside(
  snapshot: Snapshot,
  { address, name, of }: Wanted & { readonly address: SocketAddress },
  caller: Workload | null,
): Ground {
  const consumer = caller?.namespace ?? ''
  const alias = aliasNamed(snapshot, name, consumer)
  const host = alias?.host ?? name
  const kept = alias === null ? keptFrom(snapshot, address, 'BLACK_HOLE') : null
  const isOther = alias === null && snapshot.serviceByHost.has(name) // a Service has its routes at its own addresses
  const order = [consumer, alias?.namespace ?? consumer, snapshot.rootNamespace]
  const rules = isOther ? null : firstVisible(entriesFor(snapshot.virtualServices, host), { consumer, order, of })
  const dialled = direct(address, null)
  const aliased = { ...dialled, host, isUnknown: false }
  const backends: Backends =
    alias === null
      ? dialled
      : {
          ...aliased,
          policy: policyFor(snapshot, { host, subset: null, port: address.port }, { consumer, caller }).policy,
        }
  return { rules, own: { hosts: [host], backends }, kept, at: vantage(address, address.port, { consumer, caller }) }
}

/** The ExternalName Service that a Host names. */
function aliasNamed(snapshot: Snapshot, name: string, consumer: string): Service | null {
  if (snapshot.aliases.size === 0) return null
  const [own = '', namespace = consumer] = name.split('.', 2)
  const alias = snapshot.aliases.get(`${own}.${namespace}`)
  return alias !== undefined && isNamed(name, alias, consumer) ? alias : null
}

function vantage(dialled: SocketAddress, dialledPort: number, from: Consumer): Vantage {
  return { ...from, dialledPort, family: familyOf(dialled.ip), external: false, dialled }
}

/** Whether a name, as a pod of `consumer` may write it, is a Service's: `web`, `web.shop`, `web.shop.svc`, or all of it. */
function isNamed(name: string, service: Service, consumer: string): boolean {
  if (name === service.host) return true
  if (name === '' || !service.host.startsWith(`${name}.`)) return false
  return name.includes('.') || service.namespace === consumer
}

/** What stands behind the first dot: of `web-0.web.shop` the Service. */
function behindDot(name: string): string {
  const dot = name.indexOf('.')
  return dot < 0 ? '' : name.slice(dot + 1)
}

/** An authority less its port, brackets and last dot, in lower case (RFC 9110 §4.2.3). */
function hostOf(authority: string): string {
  const colon = authority.lastIndexOf(':')
  const hasPort = colon >= 0 && !authority.endsWith(']') && /^\d*$/.test(authority.slice(colon + 1))
  const bare = hasPort ? authority.slice(0, colon) : authority
  const host = bare.startsWith('[') && bare.endsWith(']') ? bare.slice(1, -1) : bare
  return (host.endsWith('.') ? host.slice(0, -1) : host).toLowerCase()
}
