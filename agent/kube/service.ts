// Services and their EndpointSlices, as services of the mesh.

import { canonicalIp } from '../model/address.ts'
import type { Locality } from '../model/balance/locality.ts'
import type { Problem } from '../model/policy.ts'
import { declaredProtocol, declaresHttp2 } from '../model/protocol.ts'
import type { Endpoint, Service, ServicePort } from '../model/service.ts'
import type { EndpointSlice, KubeService } from './object.ts'
import { refOf } from './translate.ts'

/** Label by which an EndpointSlice names its Service. */
const SERVICE_NAME = 'kubernetes.io/service-name'

/** The key slices and services meet by. */
export function serviceKey(namespace: string, name: string): string {
  return `${namespace}/${name}`
}

/** The key of the Service a slice belongs to, or null where it names none. */
export function sliceOwner(slice: EndpointSlice): string | null {
  const name = slice.metadata.labels?.[SERVICE_NAME]
  return name === undefined ? null : serviceKey(slice.metadata.namespace ?? '', name)
}

/** Fully qualified host of a Service. */
export function serviceHost(name: string, namespace: string, clusterDomain: string): string {
  return `${name}.${namespace}.svc.${clusterDomain}`.toLowerCase()
}

/** Where a node is; of one that is not known, the zone that its endpoints are said to be in. */
export type PlaceOf = (node: string | null, zone: string) => Locality | null

/** Nobody knows where nodes are. */
export const NO_PLACES: PlaceOf = () => null

/** Translates one Service with its slices. UDP and SCTP ports are left out: the mesh carries TCP. */
export function translateService(
  service: KubeService,
  slices: readonly EndpointSlice[],
  clusterDomain: string,
  placeOf: PlaceOf = NO_PLACES,
): Service {
  const { name, namespace = '' } = service.metadata
  const spec = service.spec ?? {}
  const headless = spec.clusterIP === 'None'
  const ports = (spec.ports ?? []).filter(({ protocol }) => protocol === undefined || protocol === 'TCP')
  return {
    host: serviceHost(name, namespace, clusterDomain),
    name,
    namespace,
    ...addressesOf(service),
    headless,
    publishNotReady: spec.publishNotReadyAddresses === true,
    affinitySeconds: affinityOf(service),
    localOnly: spec.internalTrafficPolicy === 'Local',
    distribution: distributionOf(service).value,
    externalName: spec.type === 'ExternalName' ? hostName(spec.externalName ?? '') : null,
    ports: ports.map((port): ServicePort => {
      const portName = port.name ?? ''
      const appProtocol = port.appProtocol ?? null
      return {
        name: portName,
        port: port.port,
        protocol: declaredProtocol({ number: port.port, name: portName, appProtocol }),
        endpoints: slices.flatMap((slice) => endpointsOf(slice, portName, placeOf)),
      }
    }),
  }
}

/** What a Service asks for and does not get from the mesh. */
export function serviceProblems(service: KubeService): Problem[] {
  const { ports = [] } = service.spec ?? {}
  const object = refOf('Service', service)
  const problems: Problem[] = []
  const tell = (field: string, reason: string): void => void problems.push({ object, field, reason })
  ports.forEach(({ port, name = '', appProtocol = null }, index) => {
    if (declaresHttp2({ number: port, name, appProtocol }))
      tell(`spec.ports[${index}]`, 'HTTP/2 is carried as plain TCP')
  })
  const { field, problem } = distributionOf(service)
  if (problem !== null) tell(field, problem)
  return problems
}

/** Istio's older word for the same, for clusters whose Services have no such field. */
const DISTRIBUTION = 'networking.istio.io/traffic-distribution'

/** The words of spec.trafficDistribution, and beside them Istio's `Any`. */
const DISTRIBUTIONS: ReadonlyMap<string, Service['distribution']> = new Map([
  ['preferclose', 'zone'],
  ['prefersamezone', 'zone'],
  ['prefersamenode', 'node'],
  ['any', null],
])

function distributionOf({ spec, metadata }: KubeService): {
  readonly value: Service['distribution']
  readonly field: string
  readonly problem: string | null
} {
  const own = spec?.trafficDistribution
  const said = own ?? metadata.annotations?.[DISTRIBUTION]
  const field = own === undefined ? `metadata.annotations[${DISTRIBUTION}]` : 'spec.trafficDistribution'
  if (said === undefined) return { value: null, field, problem: null }
  const value = DISTRIBUTIONS.get(said.toLowerCase())
  return value === undefined
    ? { value: null, field, problem: `${said} is not known: endpoints are alike` }
    : { value, field, problem: null }
}

/** The API's default for sessionAffinityConfig.clientIP.timeoutSeconds. */
const AFFINITY_SECONDS = 10_800

function affinityOf({ spec }: KubeService): number | null {
  if (spec?.sessionAffinity !== 'ClientIP') return null
  return spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? AFFINITY_SECONDS
}

function hostName(name: string): string {
  return (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase()
}

/**
 * Canonical, each once, the ClusterIPs first. As with kube-proxy a headless Service and an ExternalName have none, and the
 * address of a load balancer that wants to be passed through (ipMode Proxy) is none. One not yet given is left out.
 */
function addressesOf({ spec = {}, status }: KubeService): Pick<Service, 'addresses' | 'externalAddresses'> {
  const { type, clusterIP, clusterIPs, externalIPs = [] } = spec
  if (clusterIP === 'None' || type === 'ExternalName') return { addresses: [], externalAddresses: [] }
  const ingress = status?.loadBalancer?.ingress ?? []
  const balancers = ingress.flatMap(({ ip, ipMode }) => (ip === undefined || ipMode === 'Proxy' ? [] : [ip]))
  const canonical = (ips: readonly string[]): string[] => ips.flatMap((ip) => canonicalIp(ip) ?? [])
  const own = new Set(canonical(clusterIPs ?? (clusterIP === undefined ? [] : [clusterIP])))
  const externalAddresses = [...new Set(canonical([...externalIPs, ...balancers]))].filter((ip) => !own.has(ip))
  return { addresses: [...own, ...externalAddresses], externalAddresses }
}

/** The endpoints of a slice at one port; none of a slice of names (addressType FQDN), which nothing can dial. */
function endpointsOf(slice: EndpointSlice, portName: string, placeOf: PlaceOf): Endpoint[] {
  if (slice.addressType === 'FQDN') return []
  const number = slice.ports?.find((port) => (port.name ?? '') === portName)?.port
  if (number === undefined) return []
  return (slice.endpoints ?? []).flatMap(({ addresses, conditions, nodeName, zone = '', targetRef }) =>
    addresses
      .flatMap((address) => canonicalIp(address) ?? [])
      .map((ip) => ({
        address: { ip, port: number },
        workload: targetRef?.kind === 'Pod' ? (targetRef.uid ?? null) : null,
        ready: conditions?.ready ?? true, // the API: null means unknown, to be taken as ready
        serving: conditions?.serving ?? conditions?.ready ?? true,
        terminating: conditions?.terminating ?? false,
        node: nodeName ?? null,
        locality: placeOf(nodeName ?? null, zone),
        readySinceMs: null,
      })),
  )
}
