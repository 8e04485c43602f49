// Services and their endpoints, as Kubernetes means them.

import { addressText, type SocketAddress } from './address.ts'
import type { Locality } from './balance/locality.ts'
import type { DeclaredProtocol } from './protocol.ts'

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
  /** Where that node is, or null where nothing is known of it. */
  readonly locality: Locality | null
  /** When it became ready, in milliseconds since 1970; null: it was there as the agent began, or is not ready. */
  readonly readySinceMs: number | null
}

const NAMES = new WeakMap<Endpoint, string>()

/** Its `ip:port`, by which loads, pools and records know it: made once, as it is asked for with every request. */
export function nameOf(endpoint: Endpoint): string {
  let name = NAMES.get(endpoint)
  if (name === undefined) NAMES.set(endpoint, (name = addressText(endpoint.address)))
  return name
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
  /** Those of them that are no ClusterIPs: external IPs, and a load balancer's that kube-proxy serves. */
  readonly externalAddresses: readonly string[]
  readonly ports: readonly ServicePort[]
  readonly headless: boolean
  /** spec.publishNotReadyAddresses: endpoints count as ready whatever their probes say. */
  readonly publishNotReady: boolean
  /** How long one client keeps one endpoint (sessionAffinity ClientIP), in seconds; null: each request may go elsewhere. */
  readonly affinitySeconds: number | null
  /** Whether by a ClusterIP only endpoints of the caller's own node serve (internalTrafficPolicy Local). */
  readonly localOnly: boolean
  /** Whether endpoints of the caller's own zone, or node, come first (trafficDistribution); null: all are alike. */
  readonly distribution: 'zone' | 'node' | null
  /** spec.externalName, lower case, of a Service that is but a name for another host; else null. */
  readonly externalName: string | null
}
