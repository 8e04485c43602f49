// What holds for the whole mesh, as its operators have set it: the fields of Istio's meshConfig, as plain values.

import type { HttpAuthorizer } from './authorization/provider.ts'

/** What becomes of connections to addresses that nothing in the mesh stands for (Istio OutboundTrafficPolicy.Mode). */
export type OutboundTrafficPolicy = 'ALLOW_ANY' | 'REGISTRY_ONLY'

/** Where access records go, and what they look like (accessLogFile, accessLogEncoding, accessLogFormat). */
export interface AccessLogSettings {
  /** A path, empty for no records; null: the agent's own setting decides. */
  readonly file: string | null
  readonly encoding: 'JSON' | 'TEXT'
  /** A line of text with Envoy's command operators, or for JSON the text of an object of such; null: the default fields. */
  readonly format: string | null
}

/**
 * What of a request's path is made plain before anything looks at it (pathNormalization.normalization): nothing; dot segments
 * and backslashes; slashes in a row too; slashes and backslashes that are written as escapes too.
 */
export const PATH_NORMALIZATIONS = ['NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'] as const
export type PathNormalization = (typeof PATH_NORMALIZATIONS)[number]

/** Settings of the mesh. */
export interface MeshSettings {
  readonly trustDomain: string
  /** Trust domains that identities may have besides. */
  readonly trustDomainAliases: readonly string[]
  /** Namespace whose Istio objects hold for the whole mesh; null: as agents and controller are told. */
  readonly rootNamespace: string | null
  readonly outboundTrafficPolicy: OutboundTrafficPolicy
  readonly accessLog: AccessLogSettings
  readonly enableTracing: boolean
  readonly pathNormalization: PathNormalization
  /** Who may be asked for CUSTOM policies; no two have one name. */
  readonly authorizers: readonly HttpAuthorizer[]
  /** Proxies ahead of the mesh whose word counts on whom a request comes of (defaultConfig.gatewayTopology.numTrustedProxies). */
  readonly trustedProxies: number
}

/** Where nobody has set anything: Istio's defaults, but that records are JSON. */
export const DEFAULT_MESH_SETTINGS: MeshSettings = {
  trustDomain: 'cluster.local',
  trustDomainAliases: [],
  rootNamespace: null,
  outboundTrafficPolicy: 'ALLOW_ANY',
  accessLog: { file: null, encoding: 'JSON', format: null },
  enableTracing: false,
  pathNormalization: 'BASE',
  authorizers: [],
  trustedProxies: 0,
}

/** Where records go unless the settings name another file. */
export const STANDARD_OUTPUT = '/dev/stdout'

/** How records are written: where the mesh's settings name no file, `isWanted` says whether they go to standard output. */
export function accessLogOf(
  { accessLog }: MeshSettings,
  isWanted: boolean,
): AccessLogSettings & { readonly file: string } {
  return { ...accessLog, file: accessLog.file ?? (isWanted ? STANDARD_OUTPUT : '') }
}
