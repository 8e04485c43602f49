// From a Service and its pods to endpoints, grouped by the port numbers they have. Pure.
// Source: Kubernetes API reference, Service v1 (targetPort, publishNotReadyAddresses), EndpointSlice v1.
import { isDeleting, type Endpoint, type EndpointPort, type Node, type Pod, type Service } from '../world/kinds.ts'
import { isFinished, isReady } from '../workloads/pods.ts'

const ZONE = 'topology.kubernetes.io/zone'

export interface Group {
  /** Ports as the slices carry them. */
  readonly ports: readonly EndpointPort[]
  readonly endpoints: readonly Endpoint[]
}

export type Family = 'IPv4' | 'IPv6'

/**
 * The endpoints of a Service for one address family, by what its ports resolve to: pods of one Service may call
 * different numbers by one name. Pods without an address or that have ended are left out.
 */
export function groupsOf(
  service: Service,
  pods: readonly Pod[],
  family: Family,
  zoneOf: (node: string) => string | undefined,
): Group[] {
  const groups = new Map<string, { ports: EndpointPort[]; endpoints: Endpoint[] }>()
  for (const pod of pods) {
    const address = addressOf(pod, family)
    if (address === undefined || isFinished(pod)) continue
    const ports = portsOf(service, pod)
    const key = JSON.stringify(ports)
    let group = groups.get(key)
    if (!group) groups.set(key, (group = { ports, endpoints: [] }))
    group.endpoints.push(endpointOf(service, pod, { address, zone: zoneOf(pod.spec.nodeName ?? '') }))
  }
  return [...groups.values()]
}

/** The families that a Service has addresses of. */
export function familiesOf({ spec }: Service): Family[] {
  return (spec.ipFamilies ?? ['IPv4']).filter((family): family is Family => family === 'IPv4' || family === 'IPv6')
}

export function zoneOf(node: Node | undefined): string | undefined {
  return node?.metadata.labels?.[ZONE]
}

function addressOf({ status }: Pod, family: Family): string | undefined {
  const addresses = [...(status?.podIPs ?? []).map(({ ip }) => ip), ...(status?.podIP ? [status.podIP] : [])]
  return addresses.find((ip) => ip.includes(':') === (family === 'IPv6'))
}

function portsOf({ spec }: Service, pod: Pod): EndpointPort[] {
  return (spec.ports ?? []).flatMap(({ name = '', port, protocol = 'TCP', targetPort = port, appProtocol }) => {
    const number = typeof targetPort === 'number' ? targetPort : namedPort(pod, targetPort, protocol)
    // A name that this pod does not have leaves that one port out for it.
    if (number === undefined) return []
    return [{ name, protocol, port: number, ...(appProtocol === undefined ? {} : { appProtocol }) }]
  })
}

function namedPort({ spec }: Pod, name: string, protocol: string): number | undefined {
  if (/^\d+$/.test(name)) return Number(name)
  const sidecars = (spec.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always')
  for (const { ports = [] } of [...spec.containers, ...sidecars]) {
    const found = ports.find((port) => port.name === name && (port.protocol ?? 'TCP') === protocol)
    if (found) return found.containerPort
  }
  return undefined
}

function endpointOf(
  service: Service,
  pod: Pod,
  { address, zone }: { address: string; zone: string | undefined },
): Endpoint {
  const { name, namespace = '', uid } = pod.metadata
  const { hostname, subdomain, nodeName } = pod.spec
  const always = service.spec.publishNotReadyAddresses === true
  const terminating = isDeleting(pod)
  const serving = isReady(pod)
  return {
    addresses: [address],
    conditions: { ready: always || (serving && !terminating), serving: always || serving, terminating },
    ...(hostname && subdomain === service.metadata.name ? { hostname } : {}),
    ...(nodeName ? { nodeName } : {}),
    ...(zone === undefined ? {} : { zone }),
    targetRef: { kind: 'Pod', name, namespace, uid },
  }
}
