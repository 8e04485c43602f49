// Where an HTTP request goes whose caller dialled no Service's own address: an endpoint of a headless Service, a pod, or
// what nothing in the mesh stands for.
//
// The dialled endpoint stands: a caller of a headless Service has chosen it. The Service's VirtualService applies (one for
// the pod's own name before it), but a destination that names that very Service, whatever its subset, is the dialled
// endpoint. A Host that is an IP address asks for a pod, not for a Service, and gets no routing.

import { addressText, canonicalIp, familyOf, type SocketAddress } from './address.ts'
import type { RequestFacts } from './match.ts'
import {
  applyRules,
  type Backends,
  backendsFor,
  direct,
  forward,
  type HttpRoute,
  type Random,
  virtualServiceOf,
} from './route.ts'
import type { Service } from './service.ts'
import { memoized, type ServiceAt, type Snapshot, type Target } from './snapshot.ts'
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
  const uid = target.kind === 'workload' ? target.workload.uid : null
  const consumer = asked.caller?.namespace ?? ''
  const name = hostOf(asked.request.authority)
  if (canonicalIp(name) === null) {
    const headless = headlessAt(snapshot, address, { name, consumer })
    if (headless !== null) return routeHeadless(snapshot, { ...headless, address, name }, asked, random)
    if (target.kind === 'unknown' && target.behind === null)
      return routeByHost(snapshot, { address, name }, asked, random)
  }
  return isBlocked(snapshot, target) ? blocked(address) : forward(direct(address, uid), null)
}

/**
 * Whether nobody may go there: outboundTrafficPolicy REGISTRY_ONLY, and the address belongs to nothing. A pod's address and
 * that of an endpoint are known, other than to Istio, whose proxies know only what is dialled by name.
 */
export function isBlocked(snapshot: Snapshot, target: Target): boolean {
  const { outboundTrafficPolicy } = snapshot.settings
  return outboundTrafficPolicy === 'REGISTRY_ONLY' && target.kind === 'unknown' && target.behind === null
}

/** The headless Service an endpoint is dialled for: the one that stands there; where several do, the one Host names. */
function headlessAt(
  snapshot: Snapshot,
  address: SocketAddress,
  { name, consumer }: { readonly name: string; readonly consumer: string },
): ServiceAt | null {
  const all = (snapshot.servicesByEndpoint.get(addressText(address)) ?? []).filter(({ service }) => service.headless)
  if (all.length < 2) return all[0] ?? null
  return (
    all.find(({ service }) => isNamed(name, service, consumer) || isNamed(behindDot(name), service, consumer)) ?? null
  )
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
  const by = { consumer, producer: service.namespace }
  const rules =
    (pod === null ? null : virtualServiceOf(snapshot, pod, by)) ?? virtualServiceOf(snapshot, service.host, by)
  const endpoint = port.endpoints.find(({ address: { ip } }) => ip === address.ip)
  const dialled = { ...direct(address, endpoint?.workload ?? null), host: service.host, port: port.port }
  const own: Backends = endpoint === undefined ? dialled : { ...dialled, endpoints: [endpoint] }
  if (rules === null) return forward(own, null)
  const place = { consumer, dialledPort: port.port, family: familyOf(address.ip) }
  return applyRules(rules, asked, random, (destination) =>
    destination.host === service.host || destination.host === pod
      ? { ...own, subset: destination.subset }
      : backendsFor(snapshot, destination, place),
  )
}

/** An address that belongs to nothing: an ExternalName Service, or a VirtualService for a host that is no Service's. */
function routeByHost(
  snapshot: Snapshot,
  { address, name }: { readonly address: SocketAddress; readonly name: string },
  asked: Asked,
  random: Random,
): HttpRoute {
  const consumer = asked.caller?.namespace ?? ''
  const service = externalNames(snapshot).find((candidate) => isNamed(name, candidate, consumer)) ?? null
  const host = service?.host ?? name
  const rules = virtualServiceOf(snapshot, host, { consumer, producer: service?.namespace ?? consumer })
  const isAllowed = service !== null || snapshot.settings.outboundTrafficPolicy === 'ALLOW_ANY'
  const own = service === null ? direct(address, null) : { ...direct(address, null), host }
  if (rules === null) return isAllowed ? forward(own, null) : blocked(address)
  const place = { consumer, dialledPort: address.port, family: familyOf(address.ip) }
  return applyRules(rules, asked, random, (destination) =>
    destination.host === host && isAllowed ? own : backendsFor(snapshot, destination, place),
  )
}

function externalNames(snapshot: Snapshot): readonly Service[] {
  return memoized(snapshot, 'externalNames', () =>
    [...snapshot.serviceByHost.values()].filter(({ externalName }) => externalName !== null),
  )
}

function blocked(address: SocketAddress): HttpRoute {
  return { kind: 'none', code: 'BLACKHOLE', why: `nothing in the mesh stands for ${addressText(address)}` }
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
  const port = /:\d*$/.exec(authority)
  const bare = port === null || authority.endsWith(']') ? authority : authority.slice(0, port.index)
  const host = bare.startsWith('[') && bare.endsWith(']') ? bare.slice(1, -1) : bare
  return (host.endsWith('.') ? host.slice(0, -1) : host).toLowerCase()
}
