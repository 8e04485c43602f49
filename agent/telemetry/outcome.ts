// How a request or connection ended, in the words of Envoy's response code details, which dashboards and people know.

import type { MeshError } from '../model/failure.ts'
import { type Part, part } from './line.ts'
import type { OutcomeFields } from './record.ts'

/** How it ended. */
export interface Ended {
  readonly failure: MeshError | null
  readonly flags: string
}

/** Envoy's word for a connection that was refused. */
const REFUSED = 'delayed_connect_error:_Connection_refused'

/** What ends well has few outcomes: one a flag. */
const REQUESTS = new Map<string, Part<OutcomeFields>>()
const CONNECTIONS = new Map<string, Part<OutcomeFields>>()

/** Of a request. `heard`: whether the head of a response had come. */
export function requestOutcome({ failure, flags }: Ended, heard: boolean): Part<OutcomeFields> {
  if (failure === null) return well(REQUESTS, flags, 'via_upstream')
  const { details } = failure.kind
  return part({
    response_flags: flags,
    response_code_details: heard ? details.replace('_before_', '_after_') : details,
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
    response_code_details: status === 0 ? null : failure.kind.details,
    connection_termination_details: failure.code === 'DENIED' ? failure.kind.details : null,
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
