// What holds for the whole mesh, as plain values: Istio's meshConfig, the part of it that Weft knows.

/** What becomes of a destination that nothing in the mesh stands for (Istio OutboundTrafficPolicy.Mode). */
export type OutboundTrafficPolicy = 'ALLOW_ANY' | 'REGISTRY_ONLY'

/** Where access records go (Istio accessLogFile, accessLogEncoding, accessLogFormat). */
export interface AccessLogSettings {
  /** Path, `` for none; null where nobody said: the agent's flag decides then. */
  readonly file: string | null
  readonly encoding: 'JSON' | 'TEXT'
  /** A format string, or for JSON the text of an object of them; null for Istio's default fields. */
  readonly format: string | null
}

/** Mesh-wide settings: the ConfigMap `weft` of the root namespace. */
export interface MeshSettings {
  /** Trust domain of all identities, as in `spiffe://cluster.local/ns/…`. */
  readonly trustDomain: string
  /** Trust domains that identities may have besides. */
  readonly trustDomainAliases: readonly string[]
  /** Namespace whose Istio objects hold for the whole mesh. */
  readonly rootNamespace: string
  readonly outboundTrafficPolicy: OutboundTrafficPolicy
  readonly accessLog: AccessLogSettings
  readonly enableTracing: boolean
}

/** In force where nobody says otherwise. Records are JSON, unlike Istio's: an operator's tools read them. */
export const DEFAULT_MESH_SETTINGS: MeshSettings = {
  trustDomain: 'cluster.local',
  trustDomainAliases: [],
  rootNamespace: 'istio-system',
  outboundTrafficPolicy: 'ALLOW_ANY',
  accessLog: { file: null, encoding: 'JSON', format: null },
  enableTracing: false,
}
