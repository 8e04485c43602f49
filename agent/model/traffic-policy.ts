// Istio's DestinationRule in the mesh's own words, as plain values: how to talk to the endpoints of a host.

import type { ObjectRef } from './workload.ts'

/** How an endpoint is picked (Istio LoadBalancerSettings.simple). PASSTHROUGH: the address that was dialled. */
export type Balancer = 'ROUND_ROBIN' | 'LEAST_REQUEST' | 'RANDOM' | 'PASSTHROUGH'

/** Requests that are alike in this go to one endpoint (Istio ConsistentHashLB). */
export interface ConsistentHash {
  readonly by:
    | { readonly kind: 'header' | 'query'; readonly name: string }
    | { readonly kind: 'source-ip' }
    | {
        readonly kind: 'cookie'
        readonly name: string
        readonly path: string
        /** Seconds that a cookie lives which is issued where none came; 0: as long as the session; null: none is issued. */
        readonly ttlSeconds: number | null
        /** Further attributes of the cookie, as they are written. */
        readonly attributes: readonly (readonly [name: string, value: string])[]
      }
  readonly algorithm:
    { readonly kind: 'ring'; readonly minimumSize: number } | { readonly kind: 'maglev'; readonly tableSize: number }
}

/** Which endpoints come first by where they are (Istio LocalityLoadBalancerSetting). Localities are `region/zone/subzone`. */
export interface LocalityPreference {
  readonly enabled: boolean
  /** Shares by locality, `*` for any, for callers of one. */
  readonly distribute: readonly {
    readonly from: string
    readonly to: readonly { readonly locality: string; readonly weight: number }[]
  }[]
  /** To which region callers of a region go when theirs fails. */
  readonly failover: readonly { readonly from: string; readonly to: string }[]
  /** Labels, in order, `name` or `name=value`: the more of them agree with the caller's, the sooner. */
  readonly failoverPriority: readonly string[]
}

/** Endpoints that are new get their share little by little (Istio WarmupConfiguration). */
export interface Warmup {
  readonly durationMs: number
  /** The least share of a full one, in percent. */
  readonly minimumPercent: number
  readonly aggression: number
}

/** Istio LoadBalancerSettings. What is null is Istio's default. */
export interface LoadBalancing {
  readonly simple: Balancer | null
  readonly hash: ConsistentHash | null
  readonly locality: LocalityPreference | null
  readonly warmup: Warmup | null
}

/** Bounds of what is under way to a host (Istio ConnectionPoolSettings). What is null is Istio's default: none. */
export interface ConnectionPool {
  readonly maxConnections: number | null
  readonly connectTimeoutMs: number | null
  readonly keepalive: {
    readonly probes: number | null
    readonly timeMs: number | null
    readonly intervalMs: number | null
  } | null
  /** Of TCP flows; 0: for ever. */
  readonly idleMs: number | null
  readonly maxDurationMs: number | null
  /** HTTP requests that wait for a connection. */
  readonly maxPending: number | null
  /** HTTP requests under way. */
  readonly maxRequests: number | null
  /** Requests that one connection serves. */
  readonly maxPerConnection: number | null
  /** Retries under way. */
  readonly maxRetries: number | null
  /** How long an HTTP connection without a request is kept; 0: for ever. */
  readonly httpIdleMs: number | null
}

/** When an endpoint is not asked for a while (Istio OutlierDetection). Counts of 0 mean never. */
export interface OutlierDetection {
  /** Failures of any kind in a row, and gateway errors (502, 503, 504) in a row. */
  readonly consecutive5xx: number
  readonly consecutiveGateway: number
  /** Failures of the connection in a row, where they are told apart from answers. */
  readonly consecutiveLocal: number
  readonly splitsLocal: boolean
  /** Statuses that are failures in place of 5xx; empty: 5xx. */
  readonly codes: readonly number[]
  readonly intervalMs: number
  readonly baseEjectionMs: number
  readonly maxEjectionPercent: number
  /** With less than this share of endpoints that are not ejected, none counts as ejected. */
  readonly minHealthPercent: number
}

/** How much of what is under way may be retries (Istio TrafficPolicy.retryBudget). */
export interface RetryBudget {
  readonly percent: number
  readonly minConcurrency: number
  /** Requests of the last so many milliseconds count; 0: those under way. */
  readonly intervalMs: number
}

/** TCP is carried through a forward proxy (Istio TunnelSettings): to whom it is to connect. */
export interface Tunnel {
  readonly protocol: 'CONNECT'
  readonly host: string
  readonly port: number
}

/** How a connection to an endpoint is secured (Istio ClientTLSSettings). Texts are '' where the object does not say. */
export interface ClientTls {
  /** Who says so, and where: the path of the field. */
  readonly by: { readonly object: ObjectRef; readonly field: string }
  /** ISTIO_MUTUAL: by the caller's own identity of the mesh. */
  readonly mode: 'DISABLE' | 'SIMPLE' | 'MUTUAL' | 'ISTIO_MUTUAL'
  readonly sni: string
  /** Whom the certificate may name; empty: whom the server is asked for. */
  readonly subjectAltNames: readonly string[]
  /** Files of the node. */
  readonly clientCertificate: string
  readonly privateKey: string
  readonly caCertificates: string
  /** A Secret of the object's namespace, in place of files. */
  readonly credentialName: string
  readonly insecureSkipVerify: boolean
}

/** How to talk to endpoints at one port, or at any; null where the object does not say. */
export interface PortPolicy {
  readonly balancing: LoadBalancing | null
  readonly pool: ConnectionPool | null
  readonly outliers: OutlierDetection | null
  readonly tls: ClientTls | null
}

/** The part of a DestinationRule that says how to talk to endpoints. */
export interface TrafficPolicy extends PortPolicy {
  readonly retryBudget: RetryBudget | null
  /** The caller's address is told ahead of the first byte (haproxy.org, "The PROXY protocol"). */
  readonly proxyProtocol: 1 | 2 | null
  readonly tunnel: Tunnel | null
  /** By port number; overrides what stands above, all of PortPolicy together. */
  readonly ports: readonly (PortPolicy & { readonly port: number })[]
}

export interface Subset {
  readonly name: string
  /** Labels a workload must carry. */
  readonly labels: Readonly<Record<string, string>>
  readonly policy: TrafficPolicy | null
}

/** Istio DestinationRule. */
export interface DestinationRule {
  readonly ref: ObjectRef
  readonly createdMs: number
  /** Fully qualified; a leading `*.` or `*` is a wildcard. */
  readonly host: string
  readonly exportTo: readonly string[]
  /** Labels of the callers it is for, of its own namespace; null: for all callers. */
  readonly callers: Readonly<Record<string, string>> | null
  readonly policy: TrafficPolicy | null
  readonly subsets: readonly Subset[]
}
