// Istio's VirtualService in the mesh's own words, as plain values: which requests and connections go where, and how.

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

/** A header field: its name in lower case, and a value. */
export type Field = readonly [name: string, value: string]

/** What becomes of a head's fields: first some are removed, then set, then added (Istio Headers.HeaderOperations). */
export interface HeaderChanges {
  readonly remove: readonly string[]
  readonly set: readonly Field[]
  readonly add: readonly Field[]
}

/** Null where nothing is changed. */
export interface HeaderRules {
  readonly request: HeaderChanges | null
  readonly response: HeaderChanges | null
}

export interface WeightedDestination extends Destination {
  /** Share of the rule's traffic; the shares of a rule need not add up to 100. */
  readonly weight: number
  /** For what is sent there alone. */
  readonly headers: HeaderRules | null
}

/** Fault to inject before forwarding (Istio HTTPFaultInjection). Percentages are 0..100. */
export interface Fault {
  readonly delay: { readonly percent: number; readonly ms: number } | null
  /** `grpcStatus`: for a gRPC call the answer is 200 and this status of it; null: `status` is the answer. */
  readonly abort: { readonly percent: number; readonly status: number; readonly grpcStatus: number | null } | null
}

/** What to change in a request before it leaves (Istio HTTPRewrite). `uri` replaces the matched prefix or the path. */
export interface Rewrite {
  readonly uri: string | null
  readonly authority: string | null
  /** Each part of the path that matches (RE2) is replaced; `\\1` in `by` is its first group. */
  readonly regex: { readonly match: string; readonly by: string } | null
}

/** Sends the caller elsewhere (Istio HTTPRedirect). What is null is as in the request. */
export interface Redirect {
  readonly kind: 'redirect'
  /** In place of the path, and of the query where it has one. */
  readonly uri: string | null
  /** In place of the prefix that matched. */
  readonly prefix: string | null
  readonly authority: string | null
  /** `protocol`: none is named, as the scheme has one; `request`: the one that was asked at. */
  readonly port: number | 'protocol' | 'request' | null
  readonly scheme: string | null
  readonly code: number
}

/** Answers without any upstream (Istio HTTPDirectResponse). */
export interface DirectResponse {
  readonly kind: 'answer'
  readonly status: number
  readonly body: Uint8Array | null
}

/** Goes on with the rules of a VirtualService without hosts (Istio Delegate). */
export interface Delegate {
  readonly kind: 'delegate'
  readonly namespace: string
  readonly name: string
}

/** Words of `retryOn` (Envoy x-envoy-retry-on and x-envoy-retry-grpc-on) that say something of an exchange. */
export const RETRY_WORDS = [
  ...(['5xx', 'gateway-error', 'reset', 'reset-before-request', 'connect-failure', 'refused-stream'] as const),
  ...(['envoy-ratelimited', 'retriable-4xx', 'retriable-status-codes'] as const),
  ...(['cancelled', 'deadline-exceeded', 'internal', 'resource-exhausted', 'unavailable'] as const),
] as const
export type RetryWord = (typeof RETRY_WORDS)[number]

/** Which failures are tried again (Istio HTTPRetry). What is null is Istio's default. */
export interface Retries {
  /** Tries after the first; 0: none. Null: Istio's default, where `on` or others are said all the same. */
  readonly attempts: number | null
  /** Milliseconds that one try may take; null: as long as the request. */
  readonly perTryMs: number | null
  readonly on: readonly RetryWord[] | null
  /** Statuses that are tried again besides. */
  readonly statuses: readonly number[]
  /** The base of exponential backoff, in milliseconds. */
  readonly backoffMs: number | null
  /** Whether an endpoint that failed is passed over. */
  readonly ignorePrevious: boolean | null
  /** Whether endpoints of other localities are asked from the first retry on. */
  readonly remoteLocalities: boolean | null
}

/** A copy of the request goes there, and its answer nowhere (Istio HTTPMirrorPolicy). */
export interface Mirror {
  readonly destination: Destination
  /** Of requests, 0..100. */
  readonly percent: number
}

/** Who may read an answer in a browser (Istio CorsPolicy). */
export interface CorsPolicy {
  readonly origins: readonly StringMatch[]
  readonly methods: readonly string[]
  readonly headers: readonly string[]
  readonly exposed: readonly string[]
  readonly maxAgeSeconds: number | null
  readonly credentials: boolean | null
  /** Whether a preflight of an origin that is not allowed goes to the application. */
  readonly forwardsUnmatched: boolean
}

/** One rule of a VirtualService's `http` list. */
export interface HttpRule {
  readonly name: string
  /** Empty: every request. Else any one of them must match. */
  readonly matches: readonly RequestMatch[]
  /** What is done in place of forwarding, or null. */
  readonly instead: Redirect | DirectResponse | Delegate | null
  readonly destinations: readonly WeightedDestination[]
  readonly rewrite: Rewrite | null
  readonly fault: Fault | null
  /** Milliseconds for the whole request with its retries; 0: no limit; null where it does not say. */
  readonly timeoutMs: number | null
  readonly retries: Retries | null
  readonly mirrors: readonly Mirror[]
  readonly cors: CorsPolicy | null
  readonly headers: HeaderRules | null
}

/** One entry of a `tcp` or `tls` rule's `match`: all that is given must hold (Istio L4MatchAttributes, TLSMatchAttributes). */
export interface FlowMatch {
  /** Server names of TLS in lower case, `*.` a wildcard; null for a rule of `tcp`. */
  readonly serverNames: readonly string[] | null
  /** CIDRs of the address that was dialled; empty: any. As are those of the caller's. */
  readonly destinationSubnets: readonly string[]
  readonly sourceSubnets: readonly string[]
  readonly port: number | null
  readonly sourceLabels: Readonly<Record<string, string>>
  readonly sourceNamespace: string | null
}

/** One rule of a VirtualService's `tcp` or `tls` list. */
export interface FlowRule {
  /** Empty: every connection. */
  readonly matches: readonly FlowMatch[]
  readonly destinations: readonly WeightedDestination[]
}

/** Istio VirtualService, for traffic inside the mesh. */
export interface VirtualService {
  readonly ref: ObjectRef
  /** metadata.creationTimestamp in milliseconds since 1970; the oldest wins a tie. */
  readonly createdMs: number
  /** Fully qualified hosts; a leading `*.` or `*` is a wildcard. Empty: others delegate to it. */
  readonly hosts: readonly string[]
  /** Namespaces that may see it: `*` for all. */
  readonly exportTo: readonly string[]
  readonly http: readonly HttpRule[]
  readonly tls: readonly FlowRule[]
  readonly tcp: readonly FlowRule[]
}

/** A field of an object that is not honoured, or an object that is not in force at all. */
export interface Problem {
  readonly object: ObjectRef
  /** Path of the field, as in `spec.http[0].retries`; empty when the whole object is meant. */
  readonly field: string
  readonly reason: string
}
