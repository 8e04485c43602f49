// From groups of endpoints and the slices there are to the fewest writes that make the slices right. Pure.
import type { ObjectDraft } from '../../api/object.ts'
import { sameJson } from '../../api/object.ts'
import type { Family, Group } from './backends.ts'
import { ownedBy, type Endpoint, type EndpointSlice, type Service } from '../world/kinds.ts'

export const SERVICE_NAME = 'kubernetes.io/service-name'
export const MANAGED_BY = 'endpointslice.kubernetes.io/managed-by'
export const CONTROLLER = 'endpointslice-controller.k8s.io'
/** As kube-controller-manager's --max-endpoints-per-slice. */
export const SLICE_LIMIT = 100
const HEADLESS = 'service.kubernetes.io/headless'

export interface SlicePlan {
  readonly create: readonly ObjectDraft[]
  /** Slices whose endpoints or labels change. */
  readonly update: readonly { readonly slice: EndpointSlice; readonly endpoints: readonly Endpoint[] }[]
  readonly remove: readonly EndpointSlice[]
}

/**
 * Endpoints stay in the slice they are in; new ones fill slices with room, then new slices. `existing` are the slices
 * of this Service and family. A Service without endpoints keeps one empty slice.
 */
export function planSlices(
  service: Service,
  family: Family,
  groups: readonly Group[],
  existing: readonly EndpointSlice[],
): SlicePlan {
  const create: ObjectDraft[] = []
  const update: { slice: EndpointSlice; endpoints: readonly Endpoint[] }[] = []
  const left = new Set(existing)
  for (const group of groups.length > 0 ? groups : [{ ports: [], endpoints: [] }]) {
    const mine = existing.filter((slice) => sameJson(slice.ports ?? [], group.ports))
    const packed = pack(group.endpoints, mine)
    for (const { slice, endpoints } of packed.slices) {
      if (endpoints.length === 0 && group.endpoints.length > 0) continue
      left.delete(slice)
      if (!sameJson(slice.endpoints ?? [], endpoints) || !sameJson(slice.metadata.labels, labelsOf(service))) {
        update.push({ slice, endpoints })
      }
    }
    const isPlaceholder = groups.length === 0 && mine.length === 0
    const chunks = isPlaceholder ? [[]] : packed.chunks
    create.push(...chunks.map((endpoints) => sliceOf(service, family, { ports: group.ports, endpoints })))
  }
  return { create, update, remove: [...left] }
}

interface Packed {
  readonly slices: { slice: EndpointSlice; endpoints: Endpoint[] }[]
  /** What needs new slices. */
  readonly chunks: Endpoint[][]
}

function pack(wanted: readonly Endpoint[], slices: readonly EndpointSlice[]): Packed {
  const byTarget = new Map(wanted.map((endpoint) => [targetOf(endpoint), endpoint]))
  const kept = slices.map((slice) => {
    const endpoints: Endpoint[] = []
    for (const before of slice.endpoints ?? []) {
      const now = byTarget.get(targetOf(before))
      // Deleted at once: two slices never both keep it.
      if (now && byTarget.delete(targetOf(before))) endpoints.push(now)
    }
    return { slice, endpoints }
  })
  const fresh = [...byTarget.values()]
  // The fullest first, so that few slices change.
  for (const { endpoints } of [...kept].sort((a, b) => b.endpoints.length - a.endpoints.length)) {
    endpoints.push(...fresh.splice(0, Math.max(0, SLICE_LIMIT - endpoints.length)))
  }
  const chunks: Endpoint[][] = []
  while (fresh.length > 0) chunks.push(fresh.splice(0, SLICE_LIMIT))
  return { slices: kept, chunks }
}

function targetOf({ targetRef, addresses }: Endpoint): string {
  return `${targetRef?.uid ?? ''} ${addresses.join(' ')}`
}

export function labelsOf({ metadata, spec }: Service): Record<string, string> {
  return {
    ...metadata.labels,
    [SERVICE_NAME]: metadata.name,
    [MANAGED_BY]: CONTROLLER,
    ...(spec.clusterIP === 'None' ? { [HEADLESS]: '' } : {}),
  }
}

function sliceOf(service: Service, addressType: Family, { ports, endpoints }: Group): ObjectDraft {
  const { name, namespace = 'default' } = service.metadata
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      generateName: `${name}-`,
      namespace,
      labels: labelsOf(service),
      ownerReferences: [ownedBy(service)],
    },
    addressType,
    endpoints,
    ports,
  }
}
