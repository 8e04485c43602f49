// Where an HTTP request goes whose caller dialled no Service's own address: an endpoint of a headless Service, a pod, or
// what nothing in the mesh stands for.
//
// The dialled endpoint stands: a caller of a headless Service has chosen it. The Service's VirtualService applies (one for
// the pod's own name before it), but a destination that names that very Service, whatever its subset, is the dialled
// endpoint. A Host that is an IP address asks for a pod, not for a Service, and gets no routing.

import { addressText, canonicalIp, familyOf, type SocketAddress } from './address.ts'
import { clientTlsFor } from './destination.ts'
import { entriesFor } from './host-index.ts'
import type { RequestFacts } from './match.ts'
import {
  type Backends,
  direct,
  firstVisible,
  followRules,
  forward,
  type HttpRoute,
  keptFrom,
  type Random,
  routeTcp,
  virtualServiceFor,
} from './route.ts'
import type { Service } from './service.ts'
import { endpointAt } from './serving.ts'
import type { CompiledVirtualService, ServiceAt, Snapshot, Target, Vantage } from './snapshot.ts'
import type { Workload } from './workload.ts'

/** A dialled address that is no Service's own. */
export type Addressed = Exclude<Target, { kind: 'service' }>

interface Asked {
  readonly request: RequestFacts
  readonly caller: Workload | null
}

/** Routes one HTTP request by the address dialled and, where that does not settle it, by its Host. */
export function routeAddress(snapshot: Snapshot, target: Addressed, asked: Asked, random: Random): HttpRoute {
  const { address } = target
  const name = hostOf(asked.request.authority)
  if (canonicalIp(name) === null) {
    const headless = headlessAt(snapshot, address, { name, consumer: asked.caller?.namespace ?? '' })
    if (headless !== null) return routeHeadless(snapshot, { ...headless, address, name }, asked, random)
    if (target.kind === 'unknown' && target.behind === null)
      return routeByHost(snapshot, { address, name }, asked, random)
  }
  const kept = target.kind === 'unknown' ? keptFrom(snapshot, address, 'BLACK_HOLE') : null
  if (kept !== null) return { kind: 'none', code: kept.code, why: kept.message }
  return forward(routeTcp(snapshot, target, asked.caller?.namespace ?? ''), null)
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

function routeHeadless(
  snapshot: Snapshot,
  at: ServiceAt & { readonly address: SocketAddress; readonly name: string },
  asked: Asked,
  random: Random,
): HttpRoute {
  const { service, port, address, name } = at
  const consumer = asked.caller?.namespace ?? service.namespace
  const pod = isNamed(behindDot(name), service, consumer) ? `${name.slice(0, name.indexOf('.'))}.${service.host}` : null
  const rules =
    (pod === null ? null : rulesForPod(snapshot, pod, service, consumer)) ??
    virtualServiceFor(snapshot, { service }, consumer)
  const endpoint = endpointAt(port, addressText(address))
  const dialled = direct(address, endpoint?.workload ?? null)
  const backends: Backends = {
    ...dialled,
    host: service.host,
    port: port.port,
    isUnknown: false,
    tls: clientTlsFor(snapshot, { host: service.host, subset: null, port: port.port }, consumer),
    endpoints: endpoint === undefined ? dialled.endpoints : [endpoint],
  }
  if (rules === null) return forward(backends, null)
  const own = { hosts: pod === null ? [service.host] : [service.host, pod], backends }
  return followRules(snapshot, rules, asked, { at: vantage(address, port.port, consumer), own, random })
}

/** The VirtualService for a pod's own name: one that speaks of all the cluster does not come before its Service's. */
function rulesForPod(
  snapshot: Snapshot,
  pod: string,
  service: Service,
  consumer: string,
): CompiledVirtualService | null {
  const { exact, wildcards } = snapshot.virtualServices
  const within = `.${service.host}`
  const covering = wildcards.filter(({ suffix }) => suffix.endsWith(within) && pod.endsWith(suffix))
  const levels = [exact.get(pod) ?? [], ...covering.map(({ entries }) => entries)]
  return firstVisible(levels, { consumer, order: [consumer, service.namespace, snapshot.rootNamespace] })
}

/** An address that belongs to nothing: an ExternalName Service, or a VirtualService for a host that is no Service's. */
function routeByHost(
  snapshot: Snapshot,
  { address, name }: { readonly address: SocketAddress; readonly name: string },
  asked: Asked,
  random: Random,
): HttpRoute {
  const consumer = asked.caller?.namespace ?? ''
  const alias = aliasNamed(snapshot, name, consumer)
  const host = alias?.host ?? name
  const kept = alias === null ? keptFrom(snapshot, address, 'BLACK_HOLE') : null
  const isOther = alias === null && snapshot.serviceByHost.has(name) // a Service has its routes at its own addresses
  const order = [consumer, alias?.namespace ?? consumer, snapshot.rootNamespace]
  const rules = isOther ? null : firstVisible(entriesFor(snapshot.virtualServices, host), { consumer, order })
  const dialled = direct(address, null)
  const aliased = { ...dialled, host, isUnknown: false }
  const backends: Backends =
    alias === null
      ? dialled
      : { ...aliased, tls: clientTlsFor(snapshot, { host, subset: null, port: address.port }, consumer) }
  if (rules !== null) {
    const own = kept === null ? { hosts: [host], backends } : null
    return followRules(snapshot, rules, asked, { at: vantage(address, address.port, consumer), own, random })
  }
  return kept === null ? forward(backends, null) : { kind: 'none', code: kept.code, why: kept.message }
}

/** The ExternalName Service that a Host names. */
function aliasNamed(snapshot: Snapshot, name: string, consumer: string): Service | null {
  if (snapshot.aliases.size === 0) return null
  const [own = '', namespace = consumer] = name.split('.', 2)
  const alias = snapshot.aliases.get(`${own}.${namespace}`)
  return alias !== undefined && isNamed(name, alias, consumer) ? alias : null
}

function vantage({ ip }: SocketAddress, dialledPort: number, consumer: string): Vantage {
  return { consumer, dialledPort, family: familyOf(ip), external: false }
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
