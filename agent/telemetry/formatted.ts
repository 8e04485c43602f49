// Records in a format that a user gave, or in Istio's text format. Slower than the default JSON, and equal to it in what it
// says: values come from the record as it is read.

import {
  type Command,
  type FieldPlan,
  type Format,
  isPieces,
  type Operator,
  type Piece,
} from '../model/access-format.ts'
import { jsonOf, type Line } from './line.ts'
import { type AccessRecord, type Entry, recordOf } from './record.ts'

type Value = string | number | null

export class FormattedRecords {
  readonly #format: Exclude<Format, { kind: 'default' }>

  constructor(format: Exclude<Format, { kind: 'default' }>) {
    this.#format = format
  }

  write(line: Line, entry: Entry): void {
    const record = recordOf(entry)
    const format = this.#format
    const text =
      format.kind === 'text' ? textOf(format.pieces, record, entry) : jsonOf(objectOf(format.fields, record, entry))
    line.put(Buffer.from(`${text}\n`, 'utf8'))
  }
}

function objectOf(fields: FieldPlan, record: AccessRecord, entry: Entry): Record<string, unknown> {
  const object = Object.create(null) as Record<string, unknown>
  for (const [name, plan] of Object.entries(fields)) {
    object[name] = isPieces(plan) ? valueOf(plan, record, entry) : objectOf(plan, record, entry)
  }
  return object
}

/** A lone command keeps its type and is null where there is nothing, as Envoy's JSON has it. */
function valueOf(pieces: readonly Piece[], record: AccessRecord, entry: Entry): Value {
  const [only] = pieces
  if (pieces.length === 1 && only !== undefined && typeof only !== 'string') return told(only, record, entry)
  return pieces.map((piece) => (typeof piece === 'string' ? piece : (told(piece, record, entry) ?? '-'))).join('')
}

/** What peers sent cannot end the line, nor a quoted value. */
function textOf(pieces: readonly Piece[], record: AccessRecord, entry: Entry): string {
  return pieces
    .map((piece) => (typeof piece === 'string' ? piece : escaped(String(told(piece, record, entry) ?? '-'))))
    .join('')
    .replace(/[\r\n]/g, ' ') // a format's own
}

function escaped(value: string): string {
  return value.replace(/["\\\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (char) =>
    char === '"' || char === '\\' ? `\\${char}` : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

function told(command: Command, record: AccessRecord, entry: Entry): Value {
  const value = command.layout === null ? plain(command, record, entry) : timeOf(entry.startedMs, command.layout)
  return command.limit !== null && typeof value === 'string' ? value.slice(0, command.limit) : value
}

function plain({ operator, names }: Command, record: AccessRecord, entry: Entry): Value {
  if (operator === 'REQ') return firstOf(names, (name) => requestHeader(name, record, entry))
  if (operator === 'RESP') return firstOf(names, (name) => responseHeader(name, record, entry))
  return FIELDS[operator](record)
}

const FIELDS: Readonly<Record<Exclude<Operator, 'REQ' | 'RESP'>, (record: AccessRecord) => Value>> = {
  START_TIME: ({ start_time }) => start_time,
  PROTOCOL: ({ protocol }) => protocol,
  RESPONSE_CODE: ({ response_code }) => response_code,
  RESPONSE_FLAGS: ({ response_flags }) => response_flags,
  RESPONSE_CODE_DETAILS: (record) => record.response_code_details,
  CONNECTION_TERMINATION_DETAILS: (record) => record.connection_termination_details,
  UPSTREAM_TRANSPORT_FAILURE_REASON: (record) => record.upstream_transport_failure_reason,
  BYTES_RECEIVED: ({ bytes_received }) => bytes_received,
  BYTES_SENT: ({ bytes_sent }) => bytes_sent,
  DURATION: ({ duration }) => duration,
  UPSTREAM_HOST: ({ upstream_host }) => upstream_host,
  UPSTREAM_CLUSTER: ({ upstream_cluster }) => upstream_cluster,
  UPSTREAM_CLUSTER_RAW: ({ upstream_cluster }) => upstream_cluster,
  UPSTREAM_LOCAL_ADDRESS: (record) => record.upstream_local_address,
  DOWNSTREAM_LOCAL_ADDRESS: (record) => record.downstream_local_address,
  DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: (record) => withoutPort(record.downstream_local_address),
  DOWNSTREAM_REMOTE_ADDRESS: (record) => record.downstream_remote_address,
  DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: (record) => withoutPort(record.downstream_remote_address),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS: (record) => record.downstream_remote_address,
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT: (record) => withoutPort(record.downstream_remote_address),
  REQUESTED_SERVER_NAME: (record) => record.requested_server_name,
  ROUTE_NAME: ({ route_name }) => route_name,
}

function firstOf(names: readonly string[], valueOf: (name: string) => string | null): string | null {
  for (const name of names) {
    const value = valueOf(name)
    if (value !== null) return value
  }
  return null
}

function requestHeader(name: string, record: AccessRecord, entry: Entry): string | null {
  switch (name) {
    case ':method':
      return record.method
    case ':path':
      return record.path
    case ':authority':
    case 'host':
      return record.authority
    case ':scheme':
      return entry.asked === null ? null : 'http'
    case 'user-agent':
      return record.user_agent
    case 'x-forwarded-for':
      return record.x_forwarded_for
    case 'x-request-id':
      return record.request_id
    default:
      return entry.headers?.request.get(name) ?? null
  }
}

function responseHeader(name: string, record: AccessRecord, entry: Entry): string | null {
  if (name === ':status') return record.response_code === 0 ? null : String(record.response_code)
  if (name === 'x-envoy-upstream-service-time') return record.upstream_service_time
  return entry.headers?.response.get(name) ?? null
}

const withoutPort = (address: string | null): string | null =>
  address === null ? null : address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '')

/** The conversions that compileFormat lets through, in UTC. */
function timeOf(ms: number, layout: string): string {
  const iso = new Date(ms).toISOString()
  const parts: Readonly<Record<string, string>> = {
    ...{ Y: iso.slice(0, 4), m: iso.slice(5, 7), d: iso.slice(8, 10), F: iso.slice(0, 10) },
    ...{ H: iso.slice(11, 13), M: iso.slice(14, 16), S: iso.slice(17, 19), T: iso.slice(11, 19) },
    ...{ s: String(Math.floor(ms / 1000)), z: '+0000', Z: 'UTC', '%': '%' },
  }
  const fraction = String(ms % 1000)
    .padStart(3, '0')
    .padEnd(9, '0')
  return layout.replace(/%([1-9]?)(.)/g, (_, digits: string, kind: string) =>
    kind === 'f' ? fraction.slice(0, Number(digits || 9)) : (parts[kind] ?? ''),
  )
}
