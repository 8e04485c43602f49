// How a request or connection ended, in the words of Envoy's response code details, which dashboards and people know.

import type { MeshError } from '../model/failure.ts'
import { isPlain, type Judged, judgementFields } from './judgements.ts'
import { type Part, part } from './line.ts'
import type { OutcomeFields } from './record.ts'

/** How it ended. */
export interface Ended extends Judged {
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
  const { failure, flags, isMirror, decision } = ended
  if (failure === null && decision !== null && !isPlain(decision)) return noted(ended)
  if (failure === null) {
    if (isMirror) return well(MIRRORS, flags, 'via_upstream', MIRRORED)
    return ended.details === null ? well(REQUESTS, flags, 'via_upstream') : answered(ended.details, flags)
  }
  const { details } = failure
  return part({
    response_flags: flags,
    response_code_details: heard ? details.replace('_before_', '_after_') : details,
    connection_termination_details: null,
    upstream_transport_failure_reason: transportFailure(failure),
    weft_reason: failure.code,
    weft_message: failure.message,
    ...(isMirror ? MIRRORED : {}),
    ...judgementFields(ended),
  })
}

/** Of one that went well, and of which policies have something to tell. */
function noted(ended: RequestEnded): Part<OutcomeFields> {
  const well = { ...WELL, response_flags: ended.flags, response_code_details: ended.details ?? 'via_upstream' }
  return part({ ...well, ...(ended.isMirror ? MIRRORED : {}), ...judgementFields(ended) })
}

const WELL = {
  response_flags: '-',
  response_code_details: null,
  connection_termination_details: null,
  upstream_transport_failure_reason: null,
  weft_reason: null,
  weft_message: null,
} as const

const MIRRORED = { weft_mirror: true } as const

/** Of a request that a rule answered. */
function answered(details: string, flags: string): Part<OutcomeFields> {
  let known = ANSWERED.get(details)
  if (known === undefined) ANSWERED.set(details, (known = new Map<string, Part<OutcomeFields>>()))
  return well(known, flags, details)
}

/** Of a connection; `status`: of an answer to what could not be read as a request, 0 for none. */
export function connectionOutcome(ended: Ended, status: number): Part<OutcomeFields> {
  const { failure, flags, decision } = ended
  if (failure === null && decision !== null && !isPlain(decision)) {
    return part({ ...WELL, response_flags: flags, ...judgementFields(ended) })
  }
  if (failure === null) return well(CONNECTIONS, flags, null)
  return part({
    response_flags: flags,
    response_code_details: status === 0 ? null : failure.details,
    connection_termination_details: failure.code === 'DENIED' ? failure.details : null,
    upstream_transport_failure_reason: transportFailure(failure),
    weft_reason: failure.code,
    weft_message: failure.message,
    ...judgementFields(ended),
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
    outcome = part({ ...WELL, response_flags: flags, response_code_details: details, ...beside })
    known.set(flags, outcome)
  }
  return outcome
}

function transportFailure({ code }: MeshError): string | null {
  return code === 'CONNECT_REFUSED' ? REFUSED : null
}
