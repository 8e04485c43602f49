// The policies a user applies, as plain values: Istio's VirtualService and DestinationRule in the mesh's own words.

import type { ObjectRef } from './workload.ts'

/** How one string is matched (Istio StringMatch). A regex is RE2 and must match the whole string. */
export type StringMatch =
  | { readonly kind: 'exact'; readonly value: string }
  | { readonly kind: 'prefix'; readonly value: string }
  | { readonly kind: 'regex'; readonly value: string }
  | { readonly kind: 'present' }

/** One entry of `http[].match[]`: all that is given must hold (Istio HTTPMatchRequest). */
export interface RequestMatch {
  readonly name: string
  readonly uri: StringMatch | null
  readonly ignoreUriCase: boolean
  readonly scheme: StringMatch | null
  readonly method: StringMatch | null
  readonly authority: StringMatch | null
  /** Header names are lower case. */
  readonly headers: readonly NamedMatch[]
  readonly withoutHeaders: readonly NamedMatch[]
  readonly queryParams: readonly NamedMatch[]
  readonly port: number | null
  readonly sourceLabels: Readonly<Record<string, string>>
  readonly sourceNamespace: string | null
}

export interface NamedMatch {
  readonly name: string
  readonly match: StringMatch
}

/** Where a rule sends (Istio Destination): `host` fully qualified, `subset` and `port` where given. */
export interface Destination {
  readonly host: string
  readonly subset: string | null
  readonly port: number | null
}

export interface WeightedDestination extends Destination {
  /** Share of the rule's traffic; the shares of a rule need not add up to 100. */
  readonly weight: number
}

/** Fault to inject before forwarding (Istio HTTPFaultInjection). Percentages are 0..100. */
export interface Fault {
  readonly delay: { readonly percent: number; readonly ms: number } | null
  readonly abort: { readonly percent: number; readonly status: number } | null
}

/** What to change in a request before it leaves (Istio HTTPRewrite). `uri` replaces the matched prefix or the path. */
export interface Rewrite {
  readonly uri: string | null
  readonly authority: string | null
}

/** One rule of a VirtualService's `http` list. */
export interface HttpRule {
  readonly name: string
  /** Empty: every request. Else any one of them must match. */
  readonly matches: readonly RequestMatch[]
  readonly destinations: readonly WeightedDestination[]
  readonly rewrite: Rewrite | null
  readonly fault: Fault | null
  /** Milliseconds for the whole request with its retries, or null for none (Istio's default). */
  readonly timeoutMs: number | null
}

/** Istio VirtualService, for traffic inside the mesh. */
export interface VirtualService {
  readonly ref: ObjectRef
  /** metadata.creationTimestamp in milliseconds since 1970; the oldest wins a tie. */
  readonly createdMs: number
  /** Fully qualified hosts; a leading `*.` or `*` is a wildcard. */
  readonly hosts: readonly string[]
  /** Namespaces that may see it: `*` for all. */
  readonly exportTo: readonly string[]
  readonly http: readonly HttpRule[]
}

/** How an endpoint is picked (Istio LoadBalancerSettings.simple). */
export type Balancer = 'ROUND_ROBIN' | 'LEAST_REQUEST' | 'RANDOM'

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
  readonly balancer: Balancer | null
  readonly tls: ClientTls | null
}

/** The part of a DestinationRule that says how to talk to endpoints. */
export interface TrafficPolicy extends PortPolicy {
  /** By port number; overrides what stands above. */
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
  readonly policy: TrafficPolicy | null
  readonly subsets: readonly Subset[]
}

/** A field of an object that is not honoured, or an object that is not in force at all. */
export interface Problem {
  readonly object: ObjectRef
  /** Path of the field, as in `spec.http[0].retries`; empty when the whole object is meant. */
  readonly field: string
  readonly reason: string
}
