// How a request or connection ended, in the words of Envoy's response code details, which dashboards and people know.

import type { MeshError } from '../model/failure.ts'
import { type Part, part } from './line.ts'
import type { OutcomeFields } from './record.ts'

/** How it ended. */
export interface Ended {
  readonly failure: MeshError | null
  readonly flags: string
}

/** How a request ended. */
export interface RequestEnded extends Ended {
  /** Envoy's word for an answer that a rule gave in place of any upstream; null: none did. */
  readonly details: string | null
  /** Whether it was a copy, whose answer nobody reads. */
  readonly isMirror: boolean
}

/** Envoy's word for a connection that was refused. */
const REFUSED = 'delayed_connect_error:_Connection_refused'

/** What ends well has few outcomes: one a flag. */
const REQUESTS = new Map<string, Part<OutcomeFields>>()
const CONNECTIONS = new Map<string, Part<OutcomeFields>>()
/** By what the answer was, and the flag. */
const ANSWERED = new Map<string, Map<string, Part<OutcomeFields>>>()
const MIRRORS = new Map<string, Part<OutcomeFields>>()

/** Of a request. `heard`: whether the head of a response had come. */
export function requestOutcome(ended: RequestEnded, heard: boolean): Part<OutcomeFields> {
  const { failure, flags, isMirror } = ended
  if (failure === null) {
    if (isMirror) return well(MIRRORS, flags, 'via_upstream', MIRRORED)
    return ended.details === null ? well(REQUESTS, flags, 'via_upstream') : answered(ended.details, flags)
  }
  const { details } = failure.kind
  return part({
    response_flags: flags,
    response_code_details: heard ? details.replace('_before_', '_after_') : details,
    connection_termination_details: null,
    upstream_transport_failure_reason: transportFailure(failure),
    weft_reason: failure.code,
    weft_message: failure.message,
    ...(isMirror ? MIRRORED : {}),
  })
}

const MIRRORED = { weft_mirror: true } as const

/** Of a request that a rule answered. */
function answered(details: string, flags: string): Part<OutcomeFields> {
  let known = ANSWERED.get(details)
  if (known === undefined) ANSWERED.set(details, (known = new Map<string, Part<OutcomeFields>>()))
  return well(known, flags, details)
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

function well(
  known: Map<string, Part<OutcomeFields>>,
  flags: string,
  details: string | null,
  beside: Pick<OutcomeFields, 'weft_mirror'> = {},
): Part<OutcomeFields> {
  let outcome = known.get(flags)
  if (outcome === undefined) {
    outcome = part({
      response_flags: flags,
      response_code_details: details,
      connection_termination_details: null,
      upstream_transport_failure_reason: null,
      weft_reason: null,
      weft_message: null,
      ...beside,
    })
    known.set(flags, outcome)
  }
  return outcome
}

function transportFailure({ code }: MeshError): string | null {
  return code === 'CONNECT_REFUSED' ? REFUSED : null
}
