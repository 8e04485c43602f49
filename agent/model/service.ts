// Services and their endpoints, as Kubernetes means them.

import type { DeclaredProtocol } from './protocol.ts'
import type { SocketAddress } from './address.ts'

/** A workload's address behind a service. */
export interface Endpoint {
  readonly address: SocketAddress
  /** uid of the pod behind it, or null (a Service without selector, an external address). */
  readonly workload: string | null
  readonly ready: boolean
  readonly serving: boolean
  readonly terminating: boolean
  /** Kubernetes node, or null where unknown. */
  readonly node: string | null
}

/** One port of a Service, with everything that answers there. */
export interface ServicePort {
  readonly name: string
  readonly port: number
  readonly protocol: DeclaredProtocol
  /** Of both families: a pod of a dual-stack Service stands here twice. */
  readonly endpoints: readonly Endpoint[]
}

/** A Kubernetes Service. */
export interface Service {
  /** Fully qualified, lower case: `reviews.default.svc.cluster.local`. */
  readonly host: string
  readonly name: string
  readonly namespace: string
  /** ClusterIPs and external IPs it is dialled by, of both families where it has both; empty for a headless one. */
  readonly addresses: readonly string[]
  /** Those of them that are not ClusterIPs: external IPs, and a load balancer's that kube-proxy serves. */
  readonly externalAddresses: readonly string[]
  readonly ports: readonly ServicePort[]
  readonly headless: boolean
  /** spec.publishNotReadyAddresses: endpoints count as ready whatever their probes say. */
  readonly publishNotReady: boolean
  /** spec.sessionAffinity ClientIP: milliseconds a caller stays with its endpoint after its last visit; null for none. */
  readonly affinityMs: number | null
  /** spec.internalTrafficPolicy Local: by its ClusterIP only endpoints of the caller's own node serve. */
  readonly internalLocal: boolean
  /** spec.externalName, lower case, of a Service that is but a name for another host; else null. */
  readonly externalName: string | null
}

/** Stands in the books for what may not be gone to, under Istio's name for it. */
export const BLACK_HOLE: Service = {
  host: 'unknown',
  name: 'BlackHoleCluster',
  namespace: 'unknown',
  addresses: [],
  externalAddresses: [],
  ports: [],
  headless: false,
  publishNotReady: false,
  affinityMs: null,
  internalLocal: false,
  externalName: null,
}
