// Istio's objects after validation: the fields that are read. Written out here because the types that come with the
// schemas spell every oneOf as a union, too large for the type-aware linter. What only newer CRDs have is `unknown`: no
// schema has judged it.

import type { GivenMode } from '../model/peer-authentication.ts'
import type { ClientTls } from '../model/traffic-policy.ts'

type Texts = Readonly<Record<string, string>>

/** networking.istio.io StringMatch. */
export interface GivenMatch {
  readonly exact?: string
  readonly prefix?: string
  readonly regex?: string
}

/** networking.istio.io HTTPMatchRequest. */
export interface GivenHttpMatch {
  readonly name?: string
  readonly uri?: GivenMatch
  readonly ignoreUriCase?: boolean
  readonly scheme?: GivenMatch
  readonly method?: GivenMatch
  readonly authority?: GivenMatch
  readonly headers?: Readonly<Record<string, GivenMatch>>
  readonly withoutHeaders?: Readonly<Record<string, GivenMatch>>
  readonly queryParams?: Readonly<Record<string, GivenMatch>>
  readonly port?: number
  readonly sourceLabels?: Texts
  readonly sourceNamespace?: string
  readonly gateways?: readonly string[]
}

/** networking.istio.io Percent. */
export interface GivenPercent {
  readonly value?: number
}

/** networking.istio.io HTTPFaultInjection. */
export interface GivenFault {
  readonly delay?: {
    readonly fixedDelay?: string
    readonly exponentialDelay?: string
    readonly percent?: number
    readonly percentage?: GivenPercent
  }
  readonly abort?: {
    readonly httpStatus?: number
    readonly grpcStatus?: string
    readonly http2Error?: string
    readonly percentage?: GivenPercent
  }
}

/** networking.istio.io Destination. */
export interface GivenDestination {
  readonly host: string
  readonly subset?: string
  readonly port?: { readonly number?: number }
}

/** networking.istio.io Headers.HeaderOperations. */
export interface GivenHeaderChanges {
  readonly set?: Texts
  readonly add?: Texts
  readonly remove?: readonly string[]
}

/** networking.istio.io Headers. */
export interface GivenHeaders {
  readonly request?: GivenHeaderChanges
  readonly response?: GivenHeaderChanges
}

/** networking.istio.io HTTPRouteDestination, and RouteDestination, which has no headers. */
export interface GivenRoute {
  readonly destination: GivenDestination
  readonly weight?: number
  readonly headers?: GivenHeaders
}

/** networking.istio.io HTTPRedirect. */
export interface GivenRedirect {
  readonly uri?: string
  readonly prefixRewrite?: unknown
  readonly authority?: string
  readonly port?: number
  readonly derivePort?: 'FROM_PROTOCOL_DEFAULT' | 'FROM_REQUEST_PORT'
  readonly scheme?: string
  readonly redirectCode?: number
}

/** networking.istio.io HTTPDirectResponse. */
export interface GivenDirectResponse {
  readonly status: number
  readonly body?: { readonly string?: string; readonly bytes?: string }
}

/** networking.istio.io HTTPRewrite. */
export interface GivenRewrite {
  readonly uri?: string
  readonly authority?: string
  readonly uriRegexRewrite?: { readonly match?: string; readonly rewrite?: string }
}

/** networking.istio.io HTTPRetry. */
export interface GivenRetries {
  readonly attempts?: number
  readonly perTryTimeout?: string
  readonly retryOn?: string
  readonly retryRemoteLocalities?: boolean
  readonly retryIgnorePreviousHosts?: boolean
  readonly backoff?: string
}

/** networking.istio.io CorsPolicy. */
export interface GivenCors {
  readonly allowOrigin?: readonly string[]
  readonly allowOrigins?: readonly GivenMatch[]
  readonly allowMethods?: readonly string[]
  readonly allowHeaders?: readonly string[]
  readonly exposeHeaders?: readonly string[]
  readonly maxAge?: string
  readonly allowCredentials?: boolean
  readonly unmatchedPreflights?: 'UNSPECIFIED' | 'FORWARD' | 'IGNORE'
}

/** networking.istio.io HTTPRoute. */
export interface GivenHttpRule {
  readonly name?: string
  readonly match?: readonly GivenHttpMatch[]
  readonly route?: readonly GivenRoute[]
  readonly redirect?: GivenRedirect
  readonly directResponse?: GivenDirectResponse
  readonly delegate?: { readonly name?: string; readonly namespace?: string }
  readonly rewrite?: GivenRewrite
  readonly fault?: GivenFault
  readonly timeout?: string
  readonly retries?: GivenRetries
  readonly mirror?: GivenDestination
  readonly mirrorPercent?: number
  readonly mirror_percent?: number
  readonly mirrorPercentage?: GivenPercent
  readonly mirrors?: readonly { readonly destination: GivenDestination; readonly percentage?: GivenPercent }[]
  readonly corsPolicy?: GivenCors
  readonly headers?: GivenHeaders
}

/** networking.istio.io TLSMatchAttributes and L4MatchAttributes: server names are of the one, sourceSubnet of the other. */
export interface GivenFlowMatch {
  readonly sniHosts?: readonly string[]
  readonly destinationSubnets?: readonly string[]
  readonly sourceSubnet?: string
  readonly port?: number
  readonly sourceLabels?: Texts
  readonly sourceNamespace?: string
  readonly gateways?: readonly string[]
}

/** networking.istio.io TLSRoute and TCPRoute. */
export interface GivenFlowRule {
  readonly match?: readonly GivenFlowMatch[]
  readonly route?: readonly GivenRoute[]
}

/** networking.istio.io VirtualService, its spec. */
export interface VirtualServiceSpec {
  readonly hosts?: readonly string[]
  readonly gateways?: readonly string[]
  readonly exportTo?: readonly string[]
  readonly http?: readonly GivenHttpRule[]
  readonly tls?: readonly GivenFlowRule[]
  readonly tcp?: readonly GivenFlowRule[]
}

/** networking.istio.io ClientTLSSettings. */
export type GivenTls = Partial<Omit<ClientTls, 'by'>> & { readonly caCrl?: string }

/** networking.istio.io LoadBalancerSettings.ConsistentHashLB. */
export interface GivenHash {
  readonly httpHeaderName?: string
  readonly httpCookie?: {
    readonly name: string
    readonly ttl?: string
    readonly path?: string
    readonly attributes?: readonly { readonly name: string; readonly value?: string }[]
  }
  readonly useSourceIp?: boolean
  readonly httpQueryParameterName?: string
  readonly ringHash?: { readonly minimumRingSize?: number }
  readonly maglev?: { readonly tableSize?: number }
  readonly minimumRingSize?: number
}

/** networking.istio.io LocalityLoadBalancerSetting. */
export interface GivenLocality {
  readonly enabled?: boolean
  readonly distribute?: readonly { readonly from?: string; readonly to?: Readonly<Record<string, number>> }[]
  readonly failover?: readonly { readonly from?: string; readonly to?: string }[]
  readonly failoverPriority?: readonly string[]
}

/** networking.istio.io LoadBalancerSettings. */
export interface GivenBalancing {
  readonly simple?: string
  readonly consistentHash?: GivenHash
  readonly localityLbSetting?: GivenLocality
  readonly warmup?: { readonly duration: string; readonly minimumPercent?: number; readonly aggression?: number }
  readonly warmupDurationSecs?: string
}

/** networking.istio.io ConnectionPoolSettings. */
export interface GivenPool {
  readonly tcp?: {
    readonly maxConnections?: number
    readonly connectTimeout?: string
    readonly tcpKeepalive?: { readonly probes?: number; readonly time?: string; readonly interval?: string }
    readonly idleTimeout?: string
    readonly maxConnectionDuration?: string
  }
  readonly http?: {
    readonly http1MaxPendingRequests?: number
    readonly http2MaxRequests?: number
    readonly maxRequestsPerConnection?: number
    readonly maxRetries?: number
    readonly idleTimeout?: string
    readonly h2UpgradePolicy?: 'DEFAULT' | 'DO_NOT_UPGRADE' | 'UPGRADE'
    readonly useClientProtocol?: boolean
    readonly maxConcurrentStreams?: number
    readonly http2KeepAlive?: unknown
  }
}

/** networking.istio.io OutlierDetection. */
export interface GivenOutliers {
  readonly splitExternalLocalOriginErrors?: boolean
  readonly consecutiveLocalOriginFailures?: number
  readonly consecutiveGatewayErrors?: number
  readonly consecutive5xxErrors?: number
  readonly consecutiveErrors?: number
  readonly outlierDetectionHttpErrorCodes?: unknown
  readonly interval?: string
  readonly baseEjectionTime?: string
  readonly maxEjectionPercent?: number
  readonly minHealthPercent?: number
}

/** What TrafficPolicy and TrafficPolicy.PortTrafficPolicy share. */
export interface GivenPortPolicy {
  readonly loadBalancer?: GivenBalancing
  readonly connectionPool?: GivenPool
  readonly outlierDetection?: GivenOutliers
  readonly tls?: GivenTls
}

/** networking.istio.io TrafficPolicy. */
export interface GivenPolicy extends GivenPortPolicy {
  readonly portLevelSettings?: readonly (GivenPortPolicy & { readonly port?: { readonly number?: number } })[]
  readonly tunnel?: { readonly protocol?: string; readonly targetHost: string; readonly targetPort: number }
  readonly proxyProtocol?: { readonly version?: 'V1' | 'V2' }
  readonly retryBudget?: {
    readonly percent?: number
    readonly budgetInterval?: unknown
    readonly minRetryConcurrency?: number
  }
}

/** networking.istio.io DestinationRule, its spec. */
export interface DestinationRuleSpec {
  readonly host: string
  readonly exportTo?: readonly string[]
  readonly workloadSelector?: { readonly matchLabels?: Texts }
  readonly trafficPolicy?: GivenPolicy
  readonly subsets?: readonly { readonly name: string; readonly labels?: Texts; readonly trafficPolicy?: GivenPolicy }[]
}

/** security.istio.io PeerAuthentication, its spec. */
export interface PeerAuthenticationSpec {
  readonly selector?: { readonly matchLabels?: Texts }
  readonly mtls?: { readonly mode?: GivenMode }
  /** By the workload's port. */
  readonly portLevelMtls?: Readonly<Record<string, { readonly mode?: GivenMode }>>
}

/** What AuthorizationPolicy and RequestAuthentication are for. */
export interface GivenAim {
  readonly selector?: { readonly matchLabels?: Texts }
  readonly targetRef?: GivenTarget
  readonly targetRefs?: readonly GivenTarget[]
}

/** type.istio.io PolicyTargetReference. */
export interface GivenTarget {
  readonly group?: string
  readonly kind: string
  readonly name: string
  readonly namespace?: string
}

/** security.istio.io Rule. The lists of a source and an operation by their names. */
export interface GivenAuthorizationRule {
  readonly from?: readonly { readonly source?: Readonly<Record<string, unknown>> }[]
  readonly to?: readonly { readonly operation?: Readonly<Record<string, unknown>> }[]
  readonly when?: readonly { readonly key: string; readonly values?: unknown; readonly notValues?: unknown }[]
}

/** security.istio.io AuthorizationPolicy, its spec. */
export interface AuthorizationPolicySpec extends GivenAim {
  readonly action?: 'ALLOW' | 'DENY' | 'AUDIT' | 'CUSTOM'
  readonly provider?: { readonly name?: string }
  readonly rules?: readonly GivenAuthorizationRule[]
}

/** security.istio.io JWTRule. */
export interface GivenJwtRule {
  readonly issuer?: string
  readonly audiences?: readonly string[]
  readonly jwksUri?: string
  readonly jwks_uri?: string
  readonly jwks?: string
  readonly fromHeaders?: readonly { readonly name: string; readonly prefix?: string }[]
  readonly fromParams?: readonly string[]
  readonly fromCookies?: readonly string[]
  readonly outputPayloadToHeader?: string
  readonly outputClaimToHeaders?: readonly { readonly header: string; readonly claim: string }[]
  readonly forwardOriginalToken?: boolean
  readonly timeout?: string
  readonly spaceDelimitedClaims?: readonly string[]
  readonly presence?: unknown
}

/** security.istio.io RequestAuthentication, its spec. */
export interface RequestAuthenticationSpec extends GivenAim {
  readonly jwtRules?: readonly GivenJwtRule[]
}
