// Every bound and time-out of the data path, by name.

import { ENDPOINTS, SCOPES } from './breaker-cells.ts'
import type { HandshakeLimits } from './handshakes.ts'
import { HEAD_LIMITS, type HeadLimits } from '../http1/scan.ts'
import type { TokenLimits } from '../tokens.ts'

export interface Limits extends HeadLimits, HandshakeLimits, TokenLimits {
  /** Accepted connections of one pod at once, both directions. */
  readonly podConnections: number
  /**
   * Bytes that the connections of one pod may hold at once: what a slow reader has not taken, what a caller sent ahead.
   * Who would hold more is reset (HTTP: 503).
   */
  readonly podBufferBytes: number
  /** Questions to authorizers about requests to one pod that are under way at once through a worker. */
  readonly podQuestions: number
  readonly connectTimeoutMs: number
  /**
   * On legs that leave the pod: how long bytes may stay unacknowledged before the peer is taken for dead. A peer that does
   * not read for so long while bytes wait is dead too, so it is minutes. 0: the kernel's own patience.
   */
  readonly userTimeoutMs: number
  /** Of TCP: further endpoints tried where one cannot be connected. */
  readonly connectRetries: number
  /** Longest request body that is kept where a rule may have the request sent again; of a longer one it is sent once. */
  readonly retryBytes: number
  /** How long a caller's first bytes are waited for where the port declares no protocol. */
  readonly sniffMs: number
  /** How long a handshake of the mesh's TLS may take, and what has begun like one is waited for. */
  readonly helloMs: number
  /** Bytes looked at to tell the protocol. */
  readonly sniffBytes: number
  /** A connection without a byte either way is ended after this. */
  readonly idleMs: number
  /** While the node stops, a kept connection between two requests is ended once it was silent for so long. */
  readonly quietMs: number
  /** How long a request head may take from its first byte. */
  readonly headMs: number
  /** How long a caller that is read may be silent within a request body that nobody has answered. 0: for ever. */
  readonly bodyMs: number
  /** How long a request may take in all where no rule says (Istio's default is no limit). 0: for ever. */
  readonly requestMs: number
  /** Longest injected delay. */
  readonly delayMs: number
  /** Idle pooled connections of one pod to one endpoint, of one pod in all, and of the worker. */
  readonly idlePerEndpoint: number
  readonly idlePerPod: number
  readonly idleInAll: number
  /** A pooled connection is closed after so long without use. */
  readonly pooledIdleMs: number
  /** Scopes of DestinationRules that are bounded together, and endpoints that may be ejected, on the node. */
  readonly breakerScopes: number
  readonly breakerEndpoints: number
  /** How often live connections and pools are looked over. */
  readonly sweepMs: number
}

export const DEFAULT_LIMITS: Limits = {
  ...HEAD_LIMITS,
  podConnections: 20_000,
  podHandshakes: 1000,
  podHandshakesPerSecond: 500,
  podBufferBytes: 256 * 2 ** 20,
  podQuestions: 1000,
  connectTimeoutMs: 10_000,
  userTimeoutMs: 5 * 60_000,
  connectRetries: 2,
  retryBytes: 2 ** 20,
  sniffMs: 100,
  helloMs: 10_000,
  sniffBytes: 64,
  idleMs: 60 * 60 * 1000,
  quietMs: 1000,
  headMs: 60_000,
  bodyMs: 5 * 60_000,
  requestMs: 0,
  delayMs: 60 * 60 * 1000,
  idlePerEndpoint: 64,
  idlePerPod: 256,
  idleInAll: 4096,
  pooledIdleMs: 30_000,
  breakerScopes: SCOPES,
  breakerEndpoints: ENDPOINTS,
  sweepMs: 1000,
  tokenBytes: 16 * 1024,
  tokenCacheEntries: 2000,
  tokenCacheBytes: 16 * 2 ** 20,
  keysAskMs: 30_000,
}

/** The settings that bound the data path, by their flags. */
export interface LimitSettings {
  readonly 'head-bytes': number
  readonly 'head-fields': number
  readonly 'connect-timeout-ms': number
  readonly 'peer-timeout-seconds': number
  readonly 'head-timeout-seconds': number
  readonly 'body-timeout-seconds': number
  readonly 'request-timeout-seconds': number
  readonly 'retry-buffer-kb': number
  readonly 'idle-timeout-seconds': number
  readonly 'sniff-ms': number
  readonly 'handshake-timeout-ms': number
  readonly 'pod-handshakes': number
  readonly 'pod-questions': number
  readonly 'pod-handshakes-per-second': number
  readonly 'pool-idle-seconds': number
  readonly 'pod-connections': number
  readonly 'pod-buffer-mb': number
  readonly 'breaker-scopes': number
  readonly 'breaker-endpoints': number
  readonly 'token-bytes': number
  readonly 'token-cache-entries': number
  readonly 'token-cache-mb': number
  readonly 'jwks-ask-seconds': number
}

/** What the settings say of bounds and time-outs; a flag has the unit that its name ends with. */
export function limitsOf(settings: LimitSettings): Partial<Limits> {
  return {
    headBytes: settings['head-bytes'],
    headFields: settings['head-fields'],
    connectTimeoutMs: settings['connect-timeout-ms'],
    userTimeoutMs: settings['peer-timeout-seconds'] * 1000,
    headMs: settings['head-timeout-seconds'] * 1000,
    bodyMs: settings['body-timeout-seconds'] * 1000,
    requestMs: settings['request-timeout-seconds'] * 1000,
    retryBytes: settings['retry-buffer-kb'] * 1024,
    idleMs: settings['idle-timeout-seconds'] * 1000,
    sniffMs: settings['sniff-ms'],
    helloMs: settings['handshake-timeout-ms'],
    podHandshakes: settings['pod-handshakes'],
    podQuestions: settings['pod-questions'],
    podHandshakesPerSecond: settings['pod-handshakes-per-second'],
    pooledIdleMs: settings['pool-idle-seconds'] * 1000,
    podConnections: settings['pod-connections'],
    podBufferBytes: settings['pod-buffer-mb'] * 2 ** 20,
    breakerScopes: settings['breaker-scopes'],
    breakerEndpoints: settings['breaker-endpoints'],
    tokenBytes: settings['token-bytes'],
    tokenCacheEntries: settings['token-cache-entries'],
    tokenCacheBytes: settings['token-cache-mb'] * 2 ** 20,
    keysAskMs: settings['jwks-ask-seconds'] * 1000,
  }
}
