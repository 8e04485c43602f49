// Every bound and time-out of the data path, by name.

import { AFFINITY_LIMIT } from '../../model/affinity.ts'

export interface Limits {
  /** Accepted connections of one pod at once, both directions. */
  readonly podConnections: number
  readonly connectTimeoutMs: number
  /** Further endpoints tried where one cannot be connected (Istio's default). */
  readonly connectRetries: number
  /** How often an idempotent request is sent again whose new connection broke before a byte of its response came. */
  readonly resetRetries: number
  /** How long a caller's first bytes are waited for where the port declares no protocol. */
  readonly sniffMs: number
  /** Bytes looked at to tell the protocol. */
  readonly sniffBytes: number
  /** A connection without a byte either way is ended after this. */
  readonly idleMs: number
  /** While the node stops, a kept connection between two requests is ended once it was silent for so long. */
  readonly quietMs: number
  /** How long a request head may take from its first byte. */
  readonly headMs: number
  /** Longest injected delay. */
  readonly delayMs: number
  /** Idle pooled connections of one pod to one endpoint, of one pod in all, and of the worker. */
  readonly idlePerEndpoint: number
  readonly idlePerPod: number
  readonly idleInAll: number
  /** A pooled connection is closed after so long without use. */
  readonly pooledIdleMs: number
  /** Callers whose session affinity is remembered, of all services together. */
  readonly affinityCallers: number
  /** How often live connections and pools are looked over. */
  readonly sweepMs: number
}

export const DEFAULT_LIMITS: Limits = {
  podConnections: 20_000,
  connectTimeoutMs: 10_000,
  connectRetries: 2,
  resetRetries: 1,
  sniffMs: 100,
  sniffBytes: 64,
  idleMs: 60 * 60 * 1000,
  quietMs: 1000,
  headMs: 60_000,
  delayMs: 60 * 60 * 1000,
  idlePerEndpoint: 64,
  idlePerPod: 256,
  idleInAll: 4096,
  pooledIdleMs: 30_000,
  affinityCallers: AFFINITY_LIMIT,
  sweepMs: 1000,
}
