// The kinds whose definitions the chart brings: those that Weft reads. A further one is a row.

import {
  AuthorizationPolicy,
  PeerAuthentication,
  RequestAuthentication,
} from '@kubernetes-models/istio/security.istio.io/v1'
import { DestinationRule, VirtualService } from '@kubernetes-models/istio/networking.istio.io/v1'
import type { Asked } from './bounds.ts'
import type { Schema } from './schema.ts'

export interface KindRow {
  readonly kind: string
  readonly plural: string
  readonly group: string
  readonly shortName: string
  /** The first is stored; all are served, and are the same. */
  readonly versions: readonly string[]
  readonly columns: readonly { readonly name: string; readonly path: string }[]
  readonly says: string
  /** The package's judge of a spec. */
  readonly judge: Asked
  /** Fields that the package does not know yet, by the field that they are in. */
  readonly newer: readonly NewerField[]
}

export interface NewerField {
  /** Objects beneath spec, as docs/istio-fields.md writes paths; the same object in several places is a pattern. */
  readonly within: RegExp
  readonly name: string
  readonly schema: Schema
  /** It is one of the fields of which there may be one. */
  readonly isRival?: true
}

/** Fields for which null says as much as leaving them out: a number or a switch that is told from its zero. */
export const NULLABLE =
  /(^|\.)(allowCredentials|mirrorPercent|mirror_percent|retryIgnorePreviousHosts|retryRemoteLocalities|localityLbSetting\.enabled|zoneAwareLbSetting\.(enabled|minClusterSize)|warmup\.(aggression|minimumPercent)|consecutive(5xxErrors|GatewayErrors|LocalOriginFailures)|retryBudget\.percent|insecureSkipVerify)$/

interface Judged {
  validate(): void
}

function judgeOf(Kind: new (data: never) => Judged): Asked {
  return (spec) => {
    try {
      new Kind({ spec } as never).validate()
      return []
    } catch (error) {
      return (error as { errors?: ReturnType<Asked> }).errors ?? []
    }
  }
}

const NETWORKING = { group: 'networking.istio.io', versions: ['v1', 'v1beta1', 'v1alpha3'] } as const
const SECURITY = { group: 'security.istio.io', versions: ['v1', 'v1beta1'] } as const
const AGE = { name: 'Age', path: '.metadata.creationTimestamp' } as const

const TEXT: Schema = { type: 'string' }
const TEXTS: Schema = { type: 'array', items: TEXT }
const TIMES: Schema = { type: 'object', properties: { interval: TEXT, timeout: TEXT } }
const UINT32 = { type: 'integer', minimum: 0, maximum: 4_294_967_295 } as const

/** In the order in which they are listed everywhere. */
export const KIND_ROWS: readonly KindRow[] = [
  {
    ...NETWORKING,
    ...{ kind: 'VirtualService', plural: 'virtualservices', shortName: 'vs', judge: judgeOf(VirtualService) },
    says: 'Where requests and connections to hosts go, and what is done to them on their way.',
    columns: [{ name: 'Gateways', path: '.spec.gateways' }, { name: 'Hosts', path: '.spec.hosts' }, AGE],
    newer: [{ within: /^http\[\]\.redirect$/, name: 'prefixRewrite', schema: TEXT }],
  },
  {
    ...NETWORKING,
    ...{ kind: 'DestinationRule', plural: 'destinationrules', shortName: 'dr', judge: judgeOf(DestinationRule) },
    says: 'How to talk to a host: subsets, balancing, limits, outliers, TLS.',
    columns: [{ name: 'Host', path: '.spec.host' }, AGE],
    newer: [
      { within: /\.connectionPool\.http$/, name: 'http2KeepAlive', schema: TIMES },
      {
        ...{ within: /\.loadBalancer$/, name: 'backendUtilization', isRival: true },
        schema: {
          type: 'object',
          properties: {
            errorUtilizationPenaltyPercent: UINT32,
            metricNamesForComputingUtilization: TEXTS,
            weightExpirationPeriod: TEXT,
            weightStabilizationPeriod: TEXT,
            weightUpdatePeriod: TEXT,
          },
        },
      },
      {
        ...{ within: /\.loadBalancer$/, name: 'zoneAwareLbSetting' },
        schema: {
          type: 'object',
          properties: {
            enabled: { type: 'boolean' },
            failover: { type: 'array', items: { type: 'object', properties: { from: TEXT, to: TEXT } } },
            failoverPriority: TEXTS,
            minClusterSize: { ...UINT32, minimum: 1 },
          },
        },
      },
      {
        ...{ within: /\.outlierDetection$/, name: 'outlierDetectionHttpErrorCodes' },
        schema: { type: 'array', items: { type: 'integer', minimum: 100, maximum: 599 } },
      },
      { within: /\.retryBudget$/, name: 'budgetInterval', schema: TEXT },
    ],
  },
  {
    ...SECURITY,
    ...{ kind: 'PeerAuthentication', plural: 'peerauthentications', shortName: 'pa' },
    judge: judgeOf(PeerAuthentication),
    says: 'Whether pods take plaintext, mutual TLS, or both.',
    columns: [{ name: 'Mode', path: '.spec.mtls.mode' }, AGE],
    newer: [],
  },
  {
    ...SECURITY,
    ...{ kind: 'AuthorizationPolicy', plural: 'authorizationpolicies', shortName: 'ap' },
    judge: judgeOf(AuthorizationPolicy),
    says: 'Who may call what.',
    columns: [{ name: 'Action', path: '.spec.action' }, AGE],
    newer: ['trustDomains', 'notTrustDomains'].map((name) => ({ within: /\.source$/, name, schema: TEXTS })),
  },
  {
    ...SECURITY,
    ...{ kind: 'RequestAuthentication', plural: 'requestauthentications', shortName: 'ra' },
    judge: judgeOf(RequestAuthentication),
    says: 'Whose JSON Web Tokens are believed, and where requests carry them.',
    columns: [AGE],
    newer: [{ within: /^jwtRules\[\]$/, name: 'presence', schema: { type: 'string', enum: ['OPTIONAL', 'REQUIRED'] } }],
  },
]
