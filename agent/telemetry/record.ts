// An access record as a line of JSON, with Istio's default fields. Written from parts: what stays the same for a
// connection, an endpoint or a set of backends is put into words once and kept with it.

import { addressText, type SocketAddress } from '../model/address.ts'
import type { MeshError } from '../model/failure.ts'
import type { Backends } from '../model/route.ts'
import { type Endpoint, nameOf } from '../model/service.ts'
import type { Workload } from '../model/workload.ts'

/** Which way a connection goes, from the captured pod's view. */
export type Direction = 'outbound' | 'inbound'

/** What a line tells, as it reads when it is parsed. */
export interface AccessRecord {
  readonly start_time: string
  readonly direction: string
  readonly method: string | null
  readonly path: string | null
  readonly protocol: string | null
  readonly response_code: number
  readonly response_flags: string
  readonly response_code_details: string | null
  readonly connection_termination_details: string | null
  readonly upstream_transport_failure_reason: string | null
  readonly bytes_received: number
  readonly bytes_sent: number
  readonly duration: number
  readonly upstream_service_time: number | null
  readonly x_forwarded_for: string | null
  readonly user_agent: string | null
  readonly request_id: string | null
  readonly authority: string | null
  readonly upstream_host: string | null
  readonly upstream_cluster: string | null
  readonly upstream_local_address: string | null
  readonly downstream_local_address: string | null
  readonly downstream_remote_address: string | null
  readonly requested_server_name: string | null
  readonly route_name: string | null
  readonly source_workload: string | null
  readonly destination_workload: string | null
  /** Version of the snapshot that the decision was made by. */
  readonly weft_snapshot: number
  /** Code of the failure, null where there was none. */
  readonly weft_reason: string | null
  /** What is particular to this failure; a denial names its policy. */
  readonly weft_message: string | null
}

/** What a request asked, for its record. */
export interface Asked {
  readonly method: string
  readonly target: string
  readonly authority: string
  readonly minor: number
  readonly requestId: string
  readonly userAgent: string | null
  readonly forwardedFor: string | null
}

/** What is told of a request or connection besides the parts that are kept. */
export interface Outcome {
  readonly startedMs: number
  readonly status: number
  readonly flags: string
  readonly details: string | null
  readonly receivedBytes: number
  readonly sentBytes: number
  readonly durationMs: number
  /** From the request's leaving to its response's head, milliseconds; null where none came. */
  readonly serviceMs: number | null
  readonly route: string | null
  readonly snapshot: number
  readonly failure: MeshError | null
  /** The connection itself ended badly, not a request on it. */
  readonly isConnection: boolean
}

/** The parts that a line is made of, each ending with a comma. */
export interface Parts {
  readonly connection: string
  readonly asked: string
  readonly reached: string
  readonly backends: string
}

/** The line, its end included. */
export function recordLine(parts: Parts, outcome: Outcome): string {
  const { failure, serviceMs } = outcome
  const ended =
    failure === null
      ? NOT_FAILED
      : `"connection_termination_details":${outcome.isConnection ? quoted(failure.code) : 'null'},` +
        `"upstream_transport_failure_reason":${failure.kind.step === 'connect' ? quoted(failure.message) : 'null'},` +
        `"weft_reason":"${failure.code}","weft_message":${quoted(failure.message)}`
  return (
    `{"start_time":"${isoTime(outcome.startedMs)}",${parts.asked}"response_code":${outcome.status},` +
    `"response_flags":"${outcome.flags}","response_code_details":${nullable(outcome.details)},` +
    `"bytes_received":${outcome.receivedBytes},"bytes_sent":${outcome.sentBytes},` +
    `"duration":${Math.round(outcome.durationMs)},` +
    `"upstream_service_time":${serviceMs === null ? 'null' : Math.round(serviceMs)},` +
    `${parts.reached}${parts.backends}${parts.connection}"route_name":${nullable(outcome.route)},` +
    `"weft_snapshot":${outcome.snapshot},${ended}}\n`
  )
}

const NOT_FAILED =
  '"connection_termination_details":null,"upstream_transport_failure_reason":null,"weft_reason":null,"weft_message":null'

/** Whose connection it is. `dialled` and `peer` are its two ends as the application has them. */
export function connectionPart(
  direction: Direction,
  ends: { readonly dialled: SocketAddress | null; readonly peer: SocketAddress | null },
  caller: Workload | null,
): string {
  return (
    `"direction":"${direction}","downstream_local_address":${addressOrNull(ends.dialled)},` +
    `"downstream_remote_address":${addressOrNull(ends.peer)},"requested_server_name":null,` +
    `"source_workload":${nullable(caller?.owner ?? null)},`
  )
}

/** What was asked; null for a connection that carries no requests. */
export function askedPart(asked: Asked | null): string {
  if (asked === null) return NOTHING_ASKED
  return (
    `"method":${quoted(asked.method)},"path":${quoted(asked.target)},"protocol":"HTTP/1.${asked.minor}",` +
    `"x_forwarded_for":${nullable(asked.forwardedFor)},"user_agent":${nullable(asked.userAgent)},` +
    `"request_id":${quoted(asked.requestId)},"authority":${quoted(asked.authority)},`
  )
}

const NOTHING_ASKED =
  '"method":null,"path":null,"protocol":null,' +
  '"x_forwarded_for":null,"user_agent":null,"request_id":null,"authority":null,'

/** Which endpoint it came to, who is behind that, and from where it was reached. */
export function reachedPart(endpoint: Endpoint | null, callee: Workload | null, local: SocketAddress | null): string {
  if (endpoint === null) return `${NOTHING_REACHED}"upstream_local_address":${addressOrNull(local)},`
  const known = REACHED.get(endpoint)
  if (known?.callee === callee) return `${known.text}${localPart(local)}`
  const text = `"upstream_host":"${nameOf(endpoint)}","destination_workload":${nullable(callee?.owner ?? null)},`
  REACHED.set(endpoint, { callee, text })
  return `${text}${localPart(local)}`
}

const NOTHING_REACHED = '"upstream_host":null,"destination_workload":null,'
const REACHED = new WeakMap<Endpoint, { readonly callee: Workload | null; readonly text: string }>()

function localPart(local: SocketAddress | null): string {
  if (local === null) return '"upstream_local_address":null,'
  let text = LOCAL.get(local)
  if (text === undefined) LOCAL.set(local, (text = `"upstream_local_address":"${addressText(local)}",`))
  return text
}

const LOCAL = new WeakMap<SocketAddress, string>()

/** Envoy's name for a set of backends, which Istio's tools read. */
export function backendsPart(direction: Direction, backends: Backends | null): string {
  if (backends === null) return '"upstream_cluster":null,'
  const kept = CLUSTERS[direction]
  const known = kept.get(backends)
  if (known !== undefined) return known
  const { port, subset, host, isUnknown } = backends
  const isPassed = isUnknown && direction === 'outbound'
  const name = isPassed ? PASSTHROUGH : `${direction}|${port}|${subset ?? ''}|${direction === 'inbound' ? '' : host}`
  const text = `"upstream_cluster":${quoted(name)},`
  kept.set(backends, text)
  return text
}

/** Envoy's names for what nothing in the mesh stands for, as Istio sets it up: passed through, or kept in. */
export const PASSTHROUGH = 'PassthroughCluster'
export const BLACK_HOLE = 'BlackHoleCluster'
export const BLACK_HOLE_PART = `"upstream_cluster":"${BLACK_HOLE}",`

const CLUSTERS: Readonly<Record<Direction, WeakMap<Backends, string>>> = {
  outbound: new WeakMap(),
  inbound: new WeakMap(),
}

function addressOrNull(address: SocketAddress | null): string {
  return address === null ? 'null' : `"${addressText(address)}"`
}

function nullable(text: string | null): string {
  return text === null ? 'null' : quoted(text)
}

/** Text as JSON. Most has nothing to escape, and looking is cheaper than JSON.stringify. */
function quoted(text: string): string {
  return ESCAPED.test(text) ? JSON.stringify(text) : `"${text}"`
}

/** Quotes, backslashes and controls; those of Latin-1 too, and U+2028 and the like are left to JSON.stringify. */

const ESCAPED = /["\\\u0000-\u001f\u007f-\u009f\u2028-\u2029\ud800-\udfff]/

let lastMs = 0
let lastTime = new Date(0).toISOString()

/** ISO 8601 in UTC. Many requests begin within one millisecond. */
function isoTime(ms: number): string {
  if (ms !== lastMs) {
    lastMs = ms
    lastTime = new Date(ms).toISOString()
  }
  return lastTime
}
