// Which endpoints stand behind each port of each Service, seen from one node: what kube-proxy and cluster DNS both work from. Pure.
import type { V1EndpointSlice, V1Service } from '@kubernetes/client-node'
import { CLUSTER_DNS } from './network.ts'

export type Protocol = 'tcp' | 'udp'

export interface Backend {
  readonly address: string
  readonly port: number
}

/** One port of a Service with addresses of its own. */
export interface Frontend {
  readonly namespace: string
  readonly service: string
  readonly portName: string
  readonly protocol: Protocol
  readonly port: number
  /** The ClusterIP and external addresses. */
  readonly addresses: readonly string[]
  readonly nodePort: number | null
  /** A caller's connections go to one backend (sessionAffinity ClientIP). */
  readonly sticky: boolean
  readonly backends: readonly Backend[]
}

/** All ports of all Services that have a cluster address, in a stable order. `node` decides about Local traffic policies. */
export function frontendsOf(
  services: Iterable<V1Service>,
  slices: Iterable<V1EndpointSlice>,
  node: string,
): Frontend[] {
  const byService = slicesByService(slices)
  const found: Frontend[] = []
  for (const service of services) {
    const { spec, metadata } = service
    const clusterIp = spec?.clusterIP
    if (!spec || !clusterIp || clusterIp === 'None' || spec.type === 'ExternalName') continue
    // Each node has that address itself and answers there.
    if (clusterIp === CLUSTER_DNS) continue
    const key = `${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`
    const own = byService.get(key) ?? []
    for (const port of spec.ports ?? []) {
      const protocol = (port.protocol ?? 'TCP').toLowerCase()
      if (protocol !== 'tcp' && protocol !== 'udp') continue
      found.push({
        namespace: metadata?.namespace ?? '',
        service: metadata?.name ?? '',
        portName: port.name ?? '',
        protocol,
        port: port.port,
        addresses: [clusterIp, ...(spec.externalIPs ?? [])].filter((address) => address.includes('.')),
        nodePort: port.nodePort ?? null,
        sticky: spec.sessionAffinity === 'ClientIP',
        backends: backendsOf(own, port.name ?? '', protocol, spec.internalTrafficPolicy === 'Local' ? node : null),
      })
    }
  }
  return found.toSorted((a, b) => compare(nameOf(a), nameOf(b)))
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
const nameOf = (each: Frontend): string => `${each.namespace}/${each.service}/${each.protocol}/${String(each.port)}`

/** Slices grouped by `namespace/service`, by their kubernetes.io/service-name label. */
export function slicesByService(slices: Iterable<V1EndpointSlice>): Map<string, V1EndpointSlice[]> {
  const found = new Map<string, V1EndpointSlice[]>()
  for (const slice of slices) {
    const service = slice.metadata?.labels?.['kubernetes.io/service-name']
    if (service === undefined || slice.addressType !== 'IPv4') continue
    const key = `${slice.metadata?.namespace ?? ''}/${service}`
    const known = found.get(key)
    if (known) known.push(slice)
    else found.set(key, [slice])
  }
  return found
}

/** The ready endpoints of a port; while none is ready, those that still serve as they terminate. */
function backendsOf(
  slices: readonly V1EndpointSlice[],
  portName: string,
  protocol: Protocol,
  onlyNode: string | null,
): Backend[] {
  const ready = new Map<string, Backend>()
  const leaving = new Map<string, Backend>()
  for (const slice of slices) {
    const match = slice.ports?.find(
      (port) => (port.name ?? '') === portName && (port.protocol ?? 'TCP').toLowerCase() === protocol,
    )
    if (match?.port === undefined) continue
    for (const endpoint of slice.endpoints ?? []) {
      if (onlyNode !== null && endpoint.nodeName !== onlyNode) continue
      const { conditions } = endpoint
      const into = conditions?.ready !== false ? ready : conditions.serving && conditions.terminating ? leaving : null
      const address = endpoint.addresses[0]
      if (into && address !== undefined) into.set(`${address}:${String(match.port)}`, { address, port: match.port })
    }
  }
  const chosen = ready.size > 0 ? ready : leaving
  return [...chosen.entries()].toSorted(([a], [b]) => compare(a, b)).map(([, backend]) => backend)
}
