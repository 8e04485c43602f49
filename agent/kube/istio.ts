// Istio's objects after validation: the fields that are read. Written out here because the types that come with the
// schemas spell every oneOf as a union, too large for the type-aware linter.

import type { GivenMode } from '../model/peer-authentication.ts'
import type { ClientTls } from '../model/policy.ts'

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
  readonly sourceLabels?: Readonly<Record<string, string>>
  readonly sourceNamespace?: string
  readonly gateways?: readonly string[]
}

/** networking.istio.io HTTPFaultInjection. */
export interface GivenFault {
  readonly delay?: {
    readonly fixedDelay?: string
    readonly percent?: number
    readonly percentage?: { readonly value?: number }
  }
  readonly abort?: { readonly httpStatus?: number; readonly percentage?: { readonly value?: number } }
}

/** networking.istio.io HTTPRoute. */
export interface GivenHttpRule {
  readonly name?: string
  readonly match?: readonly GivenHttpMatch[]
  readonly route?: readonly {
    readonly destination: {
      readonly host: string
      readonly subset?: string
      readonly port?: { readonly number?: number }
    }
    readonly weight?: number
  }[]
  readonly rewrite?: { readonly uri?: string; readonly authority?: string }
  readonly fault?: GivenFault
  readonly timeout?: string
  readonly redirect?: unknown
  readonly directResponse?: unknown
  readonly delegate?: unknown
}

/** networking.istio.io VirtualService, its spec. */
export interface VirtualServiceSpec {
  readonly hosts?: readonly string[]
  readonly gateways?: readonly string[]
  readonly exportTo?: readonly string[]
  readonly http?: readonly GivenHttpRule[]
}

/** networking.istio.io ClientTLSSettings. */
export type GivenTls = Partial<Omit<ClientTls, 'by'>> & { readonly caCrl?: string }

/** networking.istio.io TrafficPolicy. */
export interface GivenPolicy {
  readonly loadBalancer?: { readonly simple?: string }
  readonly tls?: GivenTls
  readonly portLevelSettings?: readonly {
    readonly port?: { readonly number?: number }
    readonly loadBalancer?: { readonly simple?: string }
    readonly tls?: GivenTls
  }[]
}

/** security.istio.io PeerAuthentication, its spec. */
export interface PeerAuthenticationSpec {
  readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> }
  readonly mtls?: { readonly mode?: GivenMode }
  /** By the workload's port. */
  readonly portLevelMtls?: Readonly<Record<string, { readonly mode?: GivenMode }>>
}

/** networking.istio.io DestinationRule, its spec. */
export interface DestinationRuleSpec {
  readonly host: string
  readonly exportTo?: readonly string[]
  readonly trafficPolicy?: GivenPolicy
  readonly subsets?: readonly {
    readonly name: string
    readonly labels?: Readonly<Record<string, string>>
    readonly trafficPolicy?: GivenPolicy
  }[]
}
