// Where a connection or request goes: pure, from the snapshot, what the caller dialled and what it asked for.

import { addressText, type SocketAddress } from './address.ts'
import { type Backends, backendsFor, direct, passedThrough } from './backends.ts'
import type { Random } from './chance.ts'
import { type Consumer, isVisible, NO_POLICY, policyFor } from './destination.ts'
import { MeshError } from './failure.ts'
import { entriesFor } from './host-index.ts'
import { followRules } from './http/rules.ts'
import { type Asked, forward, type HttpRoute } from './http/route.ts'
import type { VirtualService } from './policy.ts'
import type { Service } from './service.ts'
import {
  type CompiledVirtualService,
  memoized,
  resolve,
  type ServiceAt,
  type Snapshot,
  type Target,
} from './snapshot.ts'

/**
 * Routes one HTTP request that was sent to a service. Order is the VirtualService's own: the first rule that matches
 * wins; a VirtualService none of whose rules match is NO_ROUTE (Istio answers 404); without one, plain balancing.
 */
export function routeHttp(
  snapshot: Snapshot,
  target: Target & { kind: 'service' },
  asked: Asked,
  random: Random,
): HttpRoute {
  const { caller } = asked
  const consumer = caller?.namespace ?? target.service.namespace
  const virtualService = virtualServiceFor(snapshot, target, consumer)
  if (virtualService === null) return forward(routeTcp(snapshot, target, { consumer, caller }), null)
  const { address: dialled, family, external } = target
  const at = { consumer, caller, dialledPort: target.port.port, family, external, dialled }
  return followRules(snapshot, virtualService, asked, { at, own: null, random })
}

/** The endpoints of the service itself, its DestinationRule applied: what a connection gets that no rule speaks of. */
export function routeTcp(snapshot: Snapshot, target: Target, from: Consumer): Backends {
  switch (target.kind) {
    case 'service': {
      const { service, port, address, family, external } = target
      const at = { ...from, dialledPort: port.port, family, external }
      const backends = memoized(snapshot, port, at, () => {
        return backendsFor(snapshot, { host: service.host, subset: null, port: port.port }, at)
      })
      // cannot be null: the service and its port come from this very snapshot
      return (backends === null ? null : passedThrough(backends, address)) as Backends
    }
    case 'workload':
      return asDialled(snapshot, direct(target.address, target.workload.uid), target.behind, from)
    case 'unknown': {
      const isUnknown = target.behind === null
      return asDialled(snapshot, { ...direct(target.address, null), isUnknown }, target.behind, from)
    }
  }
}

/** An endpoint that was dialled: where that is how its Service is dialled, the Service's policy holds for it. */
function asDialled(snapshot: Snapshot, dialled: Backends, behind: ServiceAt | null, from: Consumer): Backends {
  if (behind === null || !behind.service.headless) return dialled
  const at = { host: behind.service.host, port: behind.port.port }
  const { policy } = policyFor(snapshot, { ...at, subset: null }, from)
  return policy === NO_POLICY ? dialled : { ...dialled, ...at, policy }
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

/** What rules are asked for: those of requests (`http`), or those of connections (`tls` and `tcp`). */
export type Carriage = 'http' | 'flows'

/**
 * The VirtualService in force for a service: of those with rules of the kind that the consumer may see, one with the
 * service's own host before one with a wildcard; then the consumer's namespace, the service's, the mesh's root.
 */
export function virtualServiceFor(
  snapshot: Snapshot,
  { service }: { readonly service: Service },
  consumer: string,
  of: Carriage = 'http',
): CompiledVirtualService | null {
  const key = of === 'http' ? service : service.ports // an object of its own for each
  return memoized(snapshot, key, { consumer, caller: null, dialledPort: 0, family: 4, external: false }, () => {
    const levels = entriesFor(snapshot.virtualServices, service.host)
    return firstVisible(levels, { consumer, order: [consumer, service.namespace, snapshot.rootNamespace], of })
  })
}

/** Whether a VirtualService has rules of a kind: one that has none is as if it were not there. */
export function hasRules({ http, tls, tcp }: VirtualService, of: Carriage): boolean {
  return of === 'http' ? http.length > 0 : tls.length + tcp.length > 0
}

/** Of the first level of which the consumer sees any, the one of the first namespace in `order`. */
export function firstVisible(
  levels: readonly (readonly CompiledVirtualService[])[],
  { consumer, order, of }: { readonly consumer: string; readonly order: readonly string[]; readonly of: Carriage },
): CompiledVirtualService | null {
  for (const known of levels) {
    const visible = known.filter(({ source }) => hasRules(source, of) && isVisible(source.exportTo, consumer))
    if (visible.length > 0) return preferred(visible, order, ({ source }) => source.ref.namespace)
  }
  return null
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
