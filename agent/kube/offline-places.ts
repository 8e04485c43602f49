// What of an object the model has no word for, and its author wants to hear: where each rule and port stands.

import type { KnownService, Places, RulePlace } from '../model/analysis/world.ts'
import type { VirtualService } from '../model/policy.ts'
import type { EndpointSlice, KubeObject, KubeService } from './object.ts'
import { translateService } from './service.ts'

/** The gateway name that stands for traffic between workloads. */
const MESH_GATEWAY = 'mesh'

/** A rule of a VirtualService, what of it tells whom it is for. */
interface GivenRule {
  readonly match?: readonly { readonly gateways?: readonly string[] | null }[] | null
  readonly mirror?: unknown
  readonly mirrors?: readonly unknown[] | null
}

/** Where the rules of a translated VirtualService stand: what is for other gateways alone was left out of it. */
export function rulePlaces(spec: unknown, { http, tls, tcp }: VirtualService): Places {
  const given = (spec ?? {}) as Partial<Record<keyof Places, readonly GivenRule[] | null>>
  return {
    http: placesIn('http', given.http ?? [], http.length),
    tls: placesIn('tls', given.tls ?? [], tls.length),
    tcp: placesIn('tcp', given.tcp ?? [], tcp.length),
  }
}

/** Where they are not as many as the translation has, the list alone is named: a wrong place is worse than a wide one. */
function placesIn(list: keyof Places, given: readonly GivenRule[], count: number): readonly RulePlace[] {
  const places = given.flatMap((rule, index) => {
    const path = `spec.${list}[${index}]`
    const entries = (rule.match ?? []).map(({ gateways }, at) => ({ gateways, path: `${path}.match[${at}]` }))
    const forMesh = entries.filter(({ gateways }) => !gateways?.length || gateways.includes(MESH_GATEWAY))
    if (entries.length > 0 && forMesh.length === 0) return []
    return [{ path, matches: forMesh.map((entry) => entry.path), mirrors: mirrorsOf(rule, path) }]
  })
  if (places.length === count) return places
  return Array.from({ length: count }, () => ({ path: `spec.${list}`, matches: [], mirrors: [] }))
}

/** `mirror` is the older form, of one alone. */
function mirrorsOf({ mirror, mirrors }: GivenRule, path: string): readonly string[] {
  if (mirrors?.length) return mirrors.map((_, index) => `${path}.mirrors[${index}].destination`)
  return mirror ? [`${path}.mirror`] : []
}

/** v1 Service, the fields that tell of its pods. */
interface GivenService {
  readonly selector?: Readonly<Record<string, string>> | null
  readonly ports?: readonly {
    readonly port: number
    readonly protocol?: string
    readonly targetPort?: number | string
  }[]
}

/** A Service, and what it says of the pods behind it. */
export function knownService(
  object: KubeObject,
  slices: readonly EndpointSlice[],
  clusterDomain: string,
): KnownService {
  const service = translateService(object as KubeService, slices, clusterDomain)
  const { selector, ports = [] } = (object.spec ?? {}) as GivenService
  const all = ports.map((port, index) => ({ ...port, field: `spec.ports[${index}]` }))
  const tcp = all.filter(({ protocol }) => protocol === undefined || protocol === 'TCP')
  const isSelecting = selector !== undefined && selector !== null && Object.keys(selector).length > 0
  return {
    service,
    selector: isSelecting ? selector : null,
    places: tcp.map(({ field, port, targetPort = port }, index) => {
      if (typeof targetPort === 'number') return { field, target: targetPort }
      return { field, target: service.ports[index]?.endpoints[0]?.address.port ?? null } // by the name that a pod gives it
    }),
    otherPorts: all.flatMap(({ field, port, protocol }) => {
      return protocol === undefined || protocol === 'TCP' ? [] : [{ field, port, protocol }]
    }),
  }
}
