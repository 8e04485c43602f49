// The corridor's steps and every way a connection or request can end badly, as one table.

import type { Decision, MatchedRule } from './authorization/decision.ts'
import type { Field } from './policy.ts'

/** The steps of the corridor, in order. Errors, metrics, logs and documents name them so. */
export const STEPS = [
  'capture',
  'authenticate',
  'classify',
  'route',
  'pick',
  'authorize',
  'connect',
  'relay',
  'account',
] as const

export type Step = (typeof STEPS)[number]

/** Whose doing it is. */
export type Blame = 'caller' | 'policy' | 'upstream' | 'mesh' | 'kernel'

interface FailureKind {
  readonly step: Step
  readonly blame: Blame
  /** HTTP status the caller gets where HTTP is spoken; 0 where the connection is simply ended. */
  readonly status: number
  /** Envoy's response flag as Istio's access log shows it, `-` for none. */
  readonly flag: string
  /** Whether another endpoint may be tried: only where no byte of the request can have been acted upon. */
  readonly retry: boolean
  /** What the access record says of it: Envoy's response code details where it has one. */
  readonly details: string
}

/** Every failure by its code. Codes are stable: they are the `reason` of metrics and logs. */
export const FAILURES = {
  NO_ORIGINAL_DESTINATION: {
    step: 'capture',
    blame: 'caller',
    status: 0,
    flag: '-',
    retry: false,
    details: 'no_original_destination',
  },
  OWN_LISTENER: { step: 'capture', blame: 'caller', status: 0, flag: '-', retry: false, details: 'own_listener' },
  CALLER_TLS_FAILED: {
    step: 'authenticate',
    blame: 'caller',
    status: 0,
    flag: '-',
    retry: false,
    details: 'tls_handshake_failed',
  },
  // of a pod under a PeerAuthentication that is STRICT for the port
  PLAINTEXT_REFUSED: {
    step: 'authenticate',
    blame: 'policy',
    status: 0,
    flag: '-',
    retry: false,
    details: 'plaintext_refused',
  },
  BAD_REQUEST: {
    step: 'classify',
    blame: 'caller',
    status: 400,
    flag: 'DPE',
    retry: false,
    details: 'http1.codec_error',
  },
  HEAD_TOO_LARGE: {
    step: 'classify',
    blame: 'caller',
    status: 431,
    flag: 'DPE',
    retry: false,
    details: 'http1.headers_too_large',
  },
  TARGET_TOO_LONG: {
    step: 'classify',
    blame: 'caller',
    status: 414,
    flag: 'DPE',
    retry: false,
    details: 'http1.url_too_long',
  },
  NOT_IMPLEMENTED: {
    step: 'classify',
    blame: 'caller',
    status: 501,
    flag: 'DPE',
    retry: false,
    details: 'http1.transfer_coding_not_implemented',
  },
  VERSION_NOT_SUPPORTED: {
    step: 'classify',
    blame: 'caller',
    status: 505,
    flag: 'DPE',
    retry: false,
    details: 'low_version',
  },
  CALLER_TIMEOUT: {
    step: 'classify',
    blame: 'caller',
    status: 408,
    flag: 'DT',
    retry: false,
    details: 'request_header_timeout',
  },
  NO_ROUTE: { step: 'route', blame: 'policy', status: 404, flag: 'NR', retry: false, details: 'route_not_found' },
  NO_CLUSTER: { step: 'route', blame: 'policy', status: 503, flag: 'NC', retry: false, details: 'cluster_not_found' },
  // Istio answers a request by a route of its own (block_all), and sends a flow to a cluster without endpoints
  BLACK_HOLE: { step: 'route', blame: 'policy', status: 502, flag: '-', retry: false, details: 'direct_response' },
  BLACK_HOLE_FLOW: {
    step: 'route',
    blame: 'policy',
    status: 0,
    flag: 'UH',
    retry: false,
    details: 'no_healthy_upstream',
  },
  FAULT_ABORT: { step: 'route', blame: 'policy', status: 0, flag: 'FI', retry: false, details: 'fault_filter_abort' },
  NO_ENDPOINT: {
    step: 'pick',
    blame: 'upstream',
    status: 503,
    flag: 'UH',
    retry: false,
    details: 'no_healthy_upstream',
  },
  // there are some, and all of them failed too often of late
  NO_HEALTHY_ENDPOINT: {
    step: 'pick',
    blame: 'upstream',
    status: 503,
    flag: 'UH',
    retry: false,
    details: 'no_healthy_upstream',
  },
  DENIED: {
    step: 'authorize',
    blame: 'policy',
    status: 403,
    flag: '-',
    retry: false,
    details: 'rbac_access_denied_matched_policy[none]',
  },
  // a token that is not believed, or is missing where one is demanded; `details` has the reason
  UNAUTHENTICATED: {
    step: 'authorize',
    blame: 'caller',
    status: 401,
    flag: '-',
    retry: false,
    details: 'jwt_authn_access_denied',
  },
  AUTHORIZER_DENIED: {
    step: 'authorize',
    blame: 'policy',
    status: 403,
    flag: 'UAEX',
    retry: false,
    details: 'ext_authz_denied',
  },
  // what is answered then is the provider's word
  AUTHORIZER_FAILED: {
    step: 'authorize',
    blame: 'policy',
    status: 403,
    flag: 'UAEX',
    retry: false,
    details: 'ext_authz_error',
  },
  // than an authorizer may be asked about
  BODY_TOO_LARGE: {
    step: 'authorize',
    blame: 'caller',
    status: 413,
    flag: '-',
    retry: false,
    details: 'request_payload_too_large',
  },
  // STRICT or a rule's ISTIO_MUTUAL, and not captured: nothing leaves in plaintext. Another endpoint may be captured
  UPSTREAM_NOT_SECURED: {
    step: 'authorize',
    blame: 'policy',
    status: 503,
    flag: 'UF',
    retry: true,
    details: 'upstream_not_secured',
  },
  CONNECT_REFUSED: {
    step: 'connect',
    blame: 'upstream',
    status: 503,
    flag: 'UF',
    retry: true,
    details:
      'upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}',
  },
  CONNECT_TIMEOUT: {
    step: 'connect',
    blame: 'upstream',
    status: 503,
    flag: 'UF',
    retry: true,
    details: 'upstream_reset_before_response_started{connection_timeout}',
  },
  UPSTREAM_TLS_FAILED: {
    step: 'connect',
    blame: 'upstream',
    status: 503,
    flag: 'UF',
    retry: true,
    details: 'upstream_reset_before_response_started{remote_connection_failure|TLS_error}',
  },
  // by a forward proxy that a DestinationRule's tunnel leads through
  TUNNEL_REFUSED: {
    step: 'connect',
    blame: 'upstream',
    status: 503,
    flag: 'UF',
    retry: true,
    details: 'upstream_reset_before_response_started{remote_connection_failure|tunnel_refused}',
  },
  SOCKET_LIMIT: {
    step: 'connect',
    blame: 'kernel',
    status: 503,
    flag: 'UO',
    retry: false,
    details: 'upstream_reset_before_response_started{overflow}',
  },
  // of what a rule lets be under way to the host: connections, requests that wait for one, requests
  OVERFLOW: {
    step: 'connect',
    blame: 'policy',
    status: 503,
    flag: 'UO',
    retry: false,
    details: 'upstream_reset_before_response_started{overflow}',
  },
  BUFFER_LIMIT: { step: 'relay', blame: 'mesh', status: 503, flag: 'UO', retry: false, details: 'overload' },
  UPSTREAM_RESET: {
    step: 'relay',
    blame: 'upstream',
    status: 503,
    flag: 'UC',
    retry: false,
    details: 'upstream_reset_before_response_started{connection_termination}',
  },
  UPSTREAM_BAD_RESPONSE: {
    step: 'relay',
    blame: 'upstream',
    status: 502,
    flag: 'UPE',
    retry: false,
    details: 'upstream_reset_before_response_started{protocol_error}',
  },
  REQUEST_TIMEOUT: {
    step: 'relay',
    blame: 'upstream',
    status: 504,
    flag: 'UT',
    retry: false,
    details: 'response_timeout',
  },
  PER_TRY_TIMEOUT: {
    step: 'relay',
    blame: 'upstream',
    status: 504,
    flag: 'UT',
    retry: false,
    details: 'upstream_per_try_timeout',
  },
  CALLER_RESET: {
    step: 'relay',
    blame: 'caller',
    status: 0,
    flag: 'DC',
    retry: false,
    details: 'downstream_remote_disconnect',
  },
  IDLE_TIMEOUT: { step: 'relay', blame: 'mesh', status: 0, flag: 'SI', retry: false, details: 'stream_idle_timeout' },
  // maxConnectionDuration of a DestinationRule
  DURATION_LIMIT: { step: 'relay', blame: 'policy', status: 0, flag: 'DT', retry: false, details: 'duration_timeout' },
  SHUTDOWN: { step: 'relay', blame: 'mesh', status: 503, flag: '-', retry: false, details: 'shutdown' },
  MESH_BUG: { step: 'account', blame: 'mesh', status: 500, flag: '-', retry: false, details: 'mesh_bug' },
} as const satisfies Record<string, FailureKind>

export type FailureCode = keyof typeof FAILURES

/** What a caller is answered in place of what its code says. */
export interface RefusalAnswer {
  readonly status: number
  readonly body: string | Uint8Array
  readonly fields: readonly Field[]
}

/** What is told of a failure beyond its code. */
export interface FailureMore {
  /** In place of its code's (FailureKind). */
  readonly details?: string
  readonly answer?: RefusalAnswer
  /** The rule of a policy that denies; null: none is to be named. */
  readonly by?: MatchedRule | null
  /** What the policies say that denied it. */
  readonly decision?: Decision | null
}

/** The one error of the data path: a code of the table, and what is particular to this case. */
export class MeshError extends Error {
  readonly code: FailureCode
  readonly kind: FailureKind
  readonly details: string
  readonly answer: RefusalAnswer | null
  readonly by: MatchedRule | null
  readonly decision: Decision | null

  constructor(code: FailureCode, message: string, cause?: unknown, more: FailureMore = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'MeshError'
    this.code = code
    this.kind = FAILURES[code]
    this.details = more.details ?? this.kind.details
    this.answer = more.answer ?? null
    this.by = more.by ?? null
    this.decision = more.decision ?? null
  }
}

/** The loss of a connection: `code`, unless it was the mesh itself that gave it up. */
export function lossOf(code: FailureCode, why: string, cause: Error): MeshError {
  return cause instanceof MeshError ? cause : new MeshError(code, why, cause)
}

/** Whatever was thrown, as a MeshError: what is not one is a bug of the mesh and says so. */
export function failureOf(thrown: unknown): MeshError {
  if (thrown instanceof MeshError) return thrown
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return new MeshError('MESH_BUG', message, thrown)
}
