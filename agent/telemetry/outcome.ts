// How a request or connection ended, in the words of Envoy's response code details, which dashboards and people know.

import type { FailureCode, MeshError } from '../model/failure.ts'
import { type Part, part } from './line.ts'
import type { OutcomeFields } from './record.ts'

/** How it ended. */
export interface Ended {
  readonly failure: MeshError | null
  readonly flags: string
}

const RESET = 'upstream_reset_before_response_started'
const RESET_AFTER = 'upstream_reset_after_response_started'
const REFUSED = 'delayed_connect_error:_Connection_refused'

/** %RESPONSE_CODE_DETAILS% by failure. What the mesh alone knows has words of the same kind. */
const DETAILS: Readonly<Record<FailureCode, string>> = {
  NO_ORIGINAL_DESTINATION: 'filter_chain_not_found',
  OWN_LISTENER: 'filter_chain_not_found',
  BAD_REQUEST: 'http1.codec_error',
  HEAD_TOO_LARGE: 'http1.headers_too_large',
  TARGET_TOO_LONG: 'http1.headers_too_large',
  NOT_IMPLEMENTED: 'http1.codec_error',
  VERSION_NOT_SUPPORTED: 'http1.codec_error',
  CALLER_TIMEOUT: 'request_header_timeout',
  NO_ROUTE: 'route_not_found',
  NO_CLUSTER: 'cluster_not_found',
  FAULT_ABORT: 'fault_filter_abort',
  NO_ENDPOINT: 'no_healthy_upstream',
  DENIED: 'rbac_access_denied_matched_policy[none]',
  CONNECT_REFUSED: `${RESET}{remote_connection_failure|${REFUSED}}`,
  CONNECT_TIMEOUT: `${RESET}{connection_timeout}`,
  SOCKET_LIMIT: `${RESET}{overflow}`,
  UPSTREAM_RESET: `${RESET}{connection_termination}`,
  UPSTREAM_BAD_RESPONSE: `${RESET}{protocol_error}`,
  REQUEST_TIMEOUT: 'response_timeout',
  CALLER_RESET: 'downstream_remote_disconnect',
  IDLE_TIMEOUT: 'stream_idle_timeout',
  SHUTDOWN: 'downstream_local_disconnect',
  MESH_BUG: 'internal_error',
}

/** What ends well has few outcomes: one a flag. */
const REQUESTS = new Map<string, Part<OutcomeFields>>()
const CONNECTIONS = new Map<string, Part<OutcomeFields>>()

/** Of a request. `heard`: whether the head of a response had come. */
export function requestOutcome({ failure, flags }: Ended, heard: boolean): Part<OutcomeFields> {
  if (failure === null) return well(REQUESTS, flags, 'via_upstream')
  const details = DETAILS[failure.code]
  return part({
    response_flags: flags,
    response_code_details: heard ? details.replace(RESET, RESET_AFTER) : details,
    connection_termination_details: null,
    upstream_transport_failure_reason: transportFailure(failure),
    weft_reason: failure.code,
    weft_message: failure.message,
  })
}

/** Of a connection; `status`: of an answer to what could not be read as a request, 0 for none. */
export function connectionOutcome({ failure, flags }: Ended, status: number): Part<OutcomeFields> {
  if (failure === null) return well(CONNECTIONS, flags, null)
  return part({
    response_flags: flags,
    response_code_details: status === 0 ? null : DETAILS[failure.code],
    connection_termination_details: failure.code === 'DENIED' ? DETAILS.DENIED : null,
    upstream_transport_failure_reason: transportFailure(failure),
    weft_reason: failure.code,
    weft_message: failure.message,
  })
}

function well(known: Map<string, Part<OutcomeFields>>, flags: string, details: string | null): Part<OutcomeFields> {
  let outcome = known.get(flags)
  if (outcome === undefined) {
    outcome = part({
      response_flags: flags,
      response_code_details: details,
      connection_termination_details: null,
      upstream_transport_failure_reason: null,
      weft_reason: null,
      weft_message: null,
    })
    known.set(flags, outcome)
  }
  return outcome
}

function transportFailure({ code }: MeshError): string | null {
  return code === 'CONNECT_REFUSED' ? REFUSED : null
}
