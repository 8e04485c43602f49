// The access record: what Istio's default JSON log says of a request or TCP connection, and what the mesh adds to it under
// names of its own (`weft_`). Written from parts that are encoded once, and equal to recordOf() by test.

import { addressText, type SocketAddress } from '../model/address.ts'
import { decoded, type Line, type Part, part, type TextPart } from './line.ts'

/** The same for all requests of a connection. */
export interface ConnectionFields {
  readonly downstream_local_address: string | null
  readonly downstream_remote_address: string | null
  readonly requested_server_name: string | null
  readonly weft_direction: string
  readonly weft_source_workload: string | null
}

/** The same for all that goes one way. */
export interface CourseFields {
  readonly upstream_host: string | null
  readonly upstream_cluster: string | null
  readonly route_name: string | null
  readonly weft_destination_workload: string | null
}

/** The same for all that ends well. */
export interface OutcomeFields {
  readonly response_flags: string
  readonly response_code_details: string | null
  readonly connection_termination_details: string | null
  readonly upstream_transport_failure_reason: string | null
  /** Code of the failure, null where there was none. */
  readonly weft_reason: string | null
  /** What is particular to this failure; a denial names its policy. */
  readonly weft_message: string | null
  /** There for a copy of a request alone. */
  readonly weft_mirror?: true
  /** There where a rule of a policy denied it: `NAMESPACE/NAME`, and the rule's place in it. */
  readonly weft_policy?: string
  readonly weft_rule?: number
  /** There where AUDIT policies matched, or some are in dry run: `NAMESPACE/NAME[RULE]`, and what those would say. */
  readonly weft_audited?: readonly string[]
  readonly weft_dry_run?: string
}

export interface AccessRecord extends ConnectionFields, CourseFields, OutcomeFields {
  readonly start_time: string
  readonly method: string | null
  readonly path: string | null
  readonly protocol: string | null
  readonly response_code: number
  readonly bytes_received: number
  readonly bytes_sent: number
  readonly duration: number
  /** Milliseconds as text, for Istio takes it from a header. */
  readonly upstream_service_time: string | null
  readonly x_forwarded_for: string | null
  readonly user_agent: string | null
  readonly request_id: string | null
  readonly authority: string | null
  readonly upstream_local_address: string | null
  /** Version of the snapshot that the decision was made by. */
  readonly weft_snapshot: number
}

/** What a request asked, for its record. Texts hold one byte a character, as they came. */
export interface Asked {
  readonly method: string
  readonly target: string
  readonly authority: string
  readonly minor: number
  readonly requestId: string
  readonly userAgent: string | null
  readonly forwardedFor: string | null
}

/** What a record is made of. */
export interface Entry {
  readonly connection: TextPart<ConnectionFields>
  readonly course: CoursePart
  readonly outcome: Part<OutcomeFields>
  readonly upstreamLocal: LocalPart
  /** Null for a connection. */
  readonly asked: Asked | null
  /** Milliseconds since 1970. */
  readonly startedMs: number
  /** Whole milliseconds. */
  readonly durationMs: number
  /** Whole milliseconds, null where no response came. */
  readonly serviceMs: number | null
  readonly status: number
  readonly receivedBytes: number
  readonly sentBytes: number
  readonly snapshot: number
  /** Those that the format asks for, by lower-case name; null where it asks for none. */
  readonly headers: Headers | null
}

/** The address that an endpoint was reached from: made once for each connection. */
export type LocalPart = Part<Pick<AccessRecord, 'upstream_local_address'>>

export const NO_LOCAL: LocalPart = part({ upstream_local_address: null })

export function localPart(address: SocketAddress | null): LocalPart {
  return address === null ? NO_LOCAL : part({ upstream_local_address: addressText(address) })
}

/** Of a request and its response, as far as a format asks for them. */
export interface Headers {
  readonly request: ReadonlyMap<string, string>
  readonly response: ReadonlyMap<string, string>
}

/** The record as it is read. */
export function recordOf(entry: Entry): AccessRecord {
  const { asked, serviceMs } = entry
  const text = (value: string | null | undefined): string | null => (value == null ? null : decoded(value))
  return {
    start_time: new Date(entry.startedMs).toISOString(),
    method: text(asked?.method),
    path: text(asked?.target),
    protocol: asked === null ? null : `HTTP/1.${asked.minor}`,
    response_code: entry.status,
    bytes_received: entry.receivedBytes,
    bytes_sent: entry.sentBytes,
    duration: entry.durationMs,
    upstream_service_time: serviceMs === null ? null : String(serviceMs),
    x_forwarded_for: text(asked?.forwardedFor),
    user_agent: text(asked?.userAgent),
    request_id: text(asked?.requestId),
    authority: text(asked?.authority),
    ...entry.upstreamLocal.fields,
    ...entry.connection.fields,
    ...entry.course.fields,
    ...entry.outcome.fields,
    weft_snapshot: entry.snapshot,
  }
}

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1')
const AFTER_TIME = bytes('Z",')
const CODE = bytes('"response_code":')
const RECEIVED = bytes(',"bytes_received":')
const SENT = bytes(',"bytes_sent":')
const DURATION = bytes(',"duration":')
const SERVICE = bytes(',"upstream_service_time":"')
const AFTER_SERVICE = bytes('","weft_snapshot":')
const NO_SERVICE = bytes(',"upstream_service_time":null,"weft_snapshot":')
const METHOD = bytes('"method":')
const PROTOCOLS = [bytes(',"protocol":"HTTP/1.0","authority":'), bytes(',"protocol":"HTTP/1.1","authority":')]
const USER_AGENT = bytes(',"user_agent":')
const FORWARDED_FOR = bytes(',"x_forwarded_for":')
const PATH = bytes(',"path":')
const REQUEST_ID = bytes(',"request_id":')
const NULL = bytes('null')
const COMMA = bytes(',')
const END = bytes('}\n')
const NOTHING_ASKED = part({
  ...{ method: null, path: null, protocol: null, x_forwarded_for: null },
  ...{ user_agent: null, request_id: null, authority: null },
}).json

/** Writes records as Istio's default JSON, one a line. */
export class JsonRecords {
  #second = -1
  #secondJson = NULL
  readonly #manners = new Manners()

  write(line: Line, entry: Entry): void {
    this.#time(line, entry.startedMs)
    if (entry.asked === null) line.put(NOTHING_ASKED)
    else {
      this.#manners.write(line, entry.asked)
      line.quoted(entry.asked.target)
      line.put(REQUEST_ID)
      line.quoted(entry.asked.requestId)
      line.put(COMMA)
    }
    line.put(entry.upstreamLocal.json)
    line.text(entry.connection.text)
    line.put(entry.course.told(entry.outcome))
    line.int(entry.status)
    line.put(RECEIVED)
    line.int(entry.receivedBytes)
    line.put(SENT)
    line.int(entry.sentBytes)
    line.put(DURATION)
    line.int(entry.durationMs)
    if (entry.serviceMs === null) line.put(NO_SERVICE)
    else {
      line.put(SERVICE)
      line.int(entry.serviceMs)
      line.put(AFTER_SERVICE)
    }
    line.int(entry.snapshot)
    line.put(END)
  }

  /** All of an ISO time but its milliseconds is kept for a second. */
  #time(line: Line, ms: number): void {
    const second = Math.floor(ms / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#secondJson = bytes(`{"start_time":"${new Date(second * 1000).toISOString().slice(0, -'000Z'.length)}`)
    }
    line.put(this.#secondJson)
    line.thousandths(ms - second * 1000)
    line.put(AFTER_TIME)
  }
}

/** The part that tells of a way, and with it how that mostly ends: one piece of bytes. */
export class CoursePart implements Part<CourseFields> {
  readonly fields: CourseFields
  readonly json: Buffer
  #outcome: Part<OutcomeFields> | null = null
  #told = NULL

  constructor(fields: CourseFields) {
    this.fields = fields
    this.json = part(fields).json
  }

  /** Everything up to the value of the status. */
  told(outcome: Part<OutcomeFields>): Buffer {
    if (this.#outcome !== outcome) {
      this.#outcome = outcome
      this.#told = Buffer.concat([this.json, outcome.json, CODE])
    }
    return this.#told
  }
}

/** How a request is asked, beside its path and id, and the bytes that say so. */
interface Manner {
  readonly asked: Omit<Asked, 'target' | 'requestId'>
  readonly json: Buffer
}

/** How callers ask: what mostly stays the same from one request to the next, kept as bytes. */
class Manners {
  readonly #kept = new Array<Manner | null>(MANNERS).fill(null)

  /** Everything up to the value of the path. */
  write(line: Line, asked: Asked): void {
    const place = placeOf(asked)
    const kept = this.#kept[place] as Manner | null
    if (kept !== null && isAlike(kept.asked, asked)) {
      line.put(kept.json)
      return
    }
    const { minor, method, authority, userAgent, forwardedFor } = asked
    const from = line.length
    line.put(METHOD)
    line.quoted(method)
    line.put(PROTOCOLS[minor === 0 ? 0 : 1] as Buffer)
    line.quoted(authority)
    line.put(USER_AGENT)
    writeOptional(line, userAgent)
    line.put(FORWARDED_FOR)
    writeOptional(line, forwardedFor)
    line.put(PATH)
    if (line.length - from > KEPT_BYTES) return
    const json = Buffer.from(line.bytes.subarray(from, line.length))
    this.#kept[place] = { asked: { minor, method, authority, userAgent, forwardedFor }, json }
  }
}

/** Manners that are kept; of those that meet at one place the last one is. */
const MANNERS = 256
/** Kept of one at most. */
const KEPT_BYTES = 1024

/** Other authorities, clients and methods mostly have other places. */
function placeOf({ method, authority, userAgent, forwardedFor }: Asked): number {
  const { length } = authority
  const named = length === 0 ? 0 : 31 * authority.charCodeAt(0) + 7 * authority.charCodeAt(length - 1) + length
  return (named + 13 * method.length + 5 * (userAgent?.length ?? 0) + 3 * (forwardedFor?.length ?? 0)) & (MANNERS - 1)
}

function isAlike(a: Manner['asked'], b: Asked): boolean {
  return (
    a.minor === b.minor &&
    a.method === b.method &&
    a.userAgent === b.userAgent &&
    a.authority === b.authority &&
    a.forwardedFor === b.forwardedFor
  )
}

function writeOptional(line: Line, text: string | null): void {
  if (text === null) line.put(NULL)
  else line.quoted(text)
}
