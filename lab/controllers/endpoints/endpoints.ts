// EndpointSlices and Endpoints that follow the pods of each Service. Source: Kubernetes documentation "EndpointSlices".
import type { KubeObject } from '../../api/object.ts'
import { familiesOf, groupsOf, zoneOf, type Family } from './backends.ts'
import { keyOf, splitKey, type Endpoint, type EndpointSlice, type Pod, type Service } from '../world/kinds.ts'
import { conditionOf } from '../workloads/pods.ts'
import { endpointsOf } from './legacy-endpoints.ts'
import { CONTROLLER, labelsOf, MANAGED_BY, planSlices, SERVICE_NAME } from './slices.ts'
import { SelectorIndex } from '../world/view.ts'
import { SLICES, type World } from '../world/world.ts'

export function startEndpoints(world: World): void {
  const queue = world.queue('endpoints', reconcile)
  const bySelector = new SelectorIndex(world.services, (service) => selectorOf(service))

  world.services.onChange((now, before) => queue.add(keyOf((now ?? before)!)))
  world.pods.onChange((now, before) => {
    if (now && before && backing(now) === backing(before)) return
    for (const pod of [now, before]) {
      for (const service of pod ? bySelector.taking(pod) : []) queue.add(keyOf(service))
    }
  })
  world.nodes.onChange((now, before) => {
    const node = (now ?? before)!
    if (zoneOf(now ?? undefined) === zoneOf(before ?? undefined)) return
    for (const pod of world.podsOnNode.get(node.metadata.name)) {
      for (const service of bySelector.taking(pod)) queue.add(keyOf(service))
    }
  })
  // A slice that somebody else changed or removed is put right.
  world.slices.onChange((now, before) => {
    const slice = (now ?? before)!
    const service = slice.metadata.labels?.[SERVICE_NAME]
    if (service && isOurs(slice)) queue.add(`${slice.metadata.namespace}/${service}`)
  })

  function reconcile(key: string): undefined {
    const [namespace, name] = splitKey(key)
    const service = world.services.get(namespace, name)
    // Slices have their Service as owner and go with it.
    if (!service) return void world.store.delete('endpoints', namespace, name)
    const selector = selectorOf(service)
    if (!selector) return
    const pods = world.pods.selected(namespace, selector).sort(byName)
    const families = familiesOf(service)
    for (const family of families) writeSlices(service, family, pods)
    writeEndpoints(service, pods, families[0] ?? 'IPv4')
  }

  function groups(service: Service, pods: readonly Pod[], family: Family) {
    return groupsOf(service, pods, family, (node) => zoneOf(world.nodes.get('', node)))
  }

  function writeSlices(service: Service, family: Family, pods: readonly Pod[]): void {
    const { name, namespace = '' } = service.metadata
    const existing = world.slices
      .selected(namespace, { matchLabels: { [SERVICE_NAME]: name, [MANAGED_BY]: CONTROLLER } })
      .filter((slice) => slice.addressType === family)
      .sort(byName)
    const plan = planSlices(service, family, groups(service, pods, family), existing)
    for (const { slice, endpoints } of plan.update) writeSlice(service, slice, endpoints)
    for (const draft of plan.create) world.store.create(SLICES, draft)
    for (const { metadata } of plan.remove) world.store.delete(SLICES, namespace, metadata.name)
  }

  function writeSlice(service: Service, { metadata }: EndpointSlice, endpoints: readonly Endpoint[]): void {
    world.store.modify(SLICES, metadata.namespace ?? '', metadata.name, (slice) => {
      slice['endpoints'] = endpoints
      slice.metadata.labels = labelsOf(service)
    })
  }

  function writeEndpoints(service: Service, pods: readonly Pod[], family: Family): void {
    const { name, namespace = '' } = service.metadata
    const wanted = endpointsOf(service, groups(service, pods, family))
    const change = (object: KubeObject) => {
      object.metadata.labels = wanted.metadata.labels ?? {}
      if (wanted.metadata.annotations) object.metadata.annotations = wanted.metadata.annotations
      else delete object.metadata.annotations
      if (wanted['subsets']) object['subsets'] = wanted['subsets'] as unknown
      else delete object['subsets']
    }
    if (!world.store.modify('endpoints', namespace, name, change)) world.store.create('endpoints', wanted)
  }
}

function isOurs(slice: EndpointSlice): boolean {
  return slice.metadata.labels?.[MANAGED_BY] === CONTROLLER
}

/** Null for a Service whose endpoints are not made from pods. */
function selectorOf({ spec }: Service) {
  const pairs = Object.keys(spec.selector ?? {}).length
  return spec.type === 'ExternalName' || pairs === 0 ? null : { matchLabels: spec.selector! }
}

function byName(left: { metadata: { name: string } }, right: { metadata: { name: string } }): number {
  return left.metadata.name < right.metadata.name ? -1 : 1
}

/** What of a pod an endpoint is made of: most changes of a pod's status are none of ours. */
function backing(pod: Pod): string {
  const { metadata, spec, status } = pod
  return JSON.stringify([
    metadata.uid,
    metadata.labels,
    metadata.deletionTimestamp !== undefined,
    [spec.nodeName, spec.hostname, spec.subdomain],
    [status?.phase === 'Succeeded' || status?.phase === 'Failed', status?.podIP, status?.podIPs],
    conditionOf(pod, 'Ready')?.status,
  ])
}
