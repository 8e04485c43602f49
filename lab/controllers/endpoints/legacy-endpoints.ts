// The older Endpoints object of a Service, for clients that still read it. Pure.
import type { ObjectDraft } from '../../api/object.ts'
import type { Group } from './backends.ts'
import type { Endpoint, Service } from '../world/kinds.ts'

/** As kube-controller-manager: more addresses are left out, and an annotation says so. */
export const ADDRESS_LIMIT = 1000
const OVER_CAPACITY = 'endpoints.kubernetes.io/over-capacity'

export function endpointsOf(service: Service, groups: readonly Group[]): ObjectDraft {
  let room = ADDRESS_LIMIT
  let truncated = false
  const subsets = groups.flatMap(({ ports, endpoints }) => {
    // Ready ones first, so that the limit leaves out those that serve nobody.
    const staying = endpoints.filter(({ conditions }) => conditions.ready || !conditions.terminating)
    const ordered = [...staying].sort((a, b) => Number(b.conditions.ready) - Number(a.conditions.ready))
    const kept = ordered.slice(0, room)
    truncated ||= kept.length < ordered.length
    room -= kept.length
    if (kept.length === 0) return []
    const ready = kept.filter(({ conditions }) => conditions.ready).map(addressOf)
    const notReady = kept.filter(({ conditions }) => !conditions.ready).map(addressOf)
    return [
      {
        ...(ready.length > 0 ? { addresses: ready } : {}),
        ...(notReady.length > 0 ? { notReadyAddresses: notReady } : {}),
        ports: ports.map(({ name, ...port }) => (name === '' ? port : { name, ...port })),
      },
    ]
  })
  const { name, namespace = 'default', labels } = service.metadata
  return {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: {
      name,
      namespace,
      labels: { ...labels, ...(service.spec.clusterIP === 'None' ? { 'service.kubernetes.io/headless': '' } : {}) },
      ...(truncated ? { annotations: { [OVER_CAPACITY]: 'truncated' } } : {}),
    },
    ...(subsets.length > 0 ? { subsets } : {}),
  }
}

function addressOf({ addresses, hostname, nodeName, targetRef }: Endpoint) {
  return {
    ip: addresses[0],
    ...(hostname ? { hostname } : {}),
    ...(nodeName ? { nodeName } : {}),
    ...(targetRef ? { targetRef } : {}),
  }
}
