// How a request or connection ended, in the words of the access record.

import type { MeshError } from '../model/failure.ts'
import { type Part, part } from './line.ts'
import type { OutcomeFields } from './record.ts'

/** How it ended. */
export interface Ended {
  readonly failure: MeshError | null
  readonly flags: string
}

/** Of what ended well there are few: by flags, `status` 0 or not. */
const WELL = new Map<string, Part<OutcomeFields>>()
const WELL_AS_TCP = new Map<string, Part<OutcomeFields>>()

/** `status`: what the caller of a request got, 0 for none; null for a connection. */
export function outcomeOf(ended: Ended, status: number | null): Part<OutcomeFields> {
  const { failure, flags } = ended
  if (failure !== null) return part(failed(failure, flags, status !== null))
  const known = status === null ? WELL_AS_TCP : WELL
  let outcome = known.get(flags)
  if (outcome === undefined) known.set(flags, (outcome = part(fieldsOf(flags, status === null ? null : VIA_UPSTREAM))))
  return outcome
}

const VIA_UPSTREAM = 'via_upstream'

function fieldsOf(flags: string, details: string | null): OutcomeFields {
  return {
    response_flags: flags,
    response_code_details: details,
    connection_termination_details: null,
    upstream_transport_failure_reason: null,
    weft_reason: null,
    weft_message: null,
  }
}

function failed({ code, message }: MeshError, flags: string, isRequest: boolean): OutcomeFields {
  return {
    ...fieldsOf(flags, isRequest ? code.toLowerCase() : null),
    connection_termination_details: isRequest ? null : code,
    weft_reason: code,
    weft_message: message,
  }
}
