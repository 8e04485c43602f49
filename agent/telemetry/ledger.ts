// What is known of one connection or request, gathered along the corridor and written exactly once: metrics and access
// record together, however it ended.

import { addressText, type SocketAddress } from '../model/address.ts'
import type { Decision } from '../model/authorization/decision.ts'
import type { MeshError } from '../model/failure.ts'
import type { Backends } from '../model/backends.ts'
import type { RuleRef } from '../model/snapshot.ts'
import type { Endpoint, Service } from '../model/service.ts'
import type { Workload } from '../model/workload.ts'
import type { AccessLog } from './access.ts'
import { bucketOf, type Cells } from './cells.ts'
import { type Course, type Courses, SharedCourses } from './courses.ts'
import { Edges, type Pair } from './edges.ts'
import { textOf, type TextPart } from './line.ts'
import { connectionOutcome, requestOutcome } from './outcome.ts'
import { Judgements } from './judgements.ts'
import { type Asked, type ConnectionFields, type Headers, type LocalPart, NO_LOCAL } from './record.ts'
import { type HeaderSource, Recorder } from './recorder.ts'

/** Which way a connection goes, from the captured pod's view. */
export type Direction = 'outbound' | 'inbound'

/** Passes in what the mesh may not know by itself. */
export interface Clock {
  /** Milliseconds since 1970. */
  wall(): number
  /** Milliseconds of a clock that never jumps. */
  ms(): number
}

/** Where it went. */
export interface Reached {
  readonly endpoint: Endpoint
  readonly callee: Workload | null
  /** The identity that was proved to be there, as a URI; null: none was. */
  readonly principal: string | null
  /** Whether this one pass stands for both ends. */
  readonly both: boolean
}

/** The node's books: opens ledgers and holds what they write to. */
export class Account {
  readonly cells: Cells
  readonly access: AccessLog
  readonly clock: Clock
  readonly edges: Edges
  readonly recorder: Recorder
  readonly judgements = new Judgements()
  readonly courses: SharedCourses
  #wallAhead = 0
  #comparedAt = -Infinity

  constructor(cells: Cells, access: AccessLog, clock: Clock) {
    this.cells = cells
    this.access = access
    this.clock = clock
    this.edges = new Edges(cells)
    this.courses = new SharedCourses(this.edges)
    this.recorder = new Recorder(access)
  }

  open(direction: Direction): ConnectionLedger {
    this.cells.plain('weft_proxy_connections_total', direction).value++
    this.cells.plain('weft_proxy_connections_open').value++
    return new ConnectionLedger(this, direction)
  }

  failed(failure: MeshError): void {
    this.cells.plain('weft_failures_total', failure.kind.step, failure.code).value++
  }

  /** Wall time of a time of the clock that never jumps; the two are compared once a second, for asking costs. */
  wallOf(ms: number): number {
    if (ms - this.#comparedAt > COMPARE_MS) {
      this.#comparedAt = ms
      this.#wallAhead = this.clock.wall() - this.clock.ms()
    }
    return Math.round(ms + this.#wallAhead)
  }
}

const COMPARE_MS = 1000

const NO_NOTES: readonly string[] = []
/** Several flags stand in a record as in Envoy's, which has them in the order of its own list. */
const FLAG_ORDER = ['UH', 'UT', 'UF', 'UC', 'UO', 'NR', 'DI', 'FI', 'UAEX', 'DC', 'URX', 'SI', 'DPE', 'UPE', 'NC', 'DT']

/** What requests and connections have in common. */
abstract class Ledger {
  readonly account: Account
  readonly startedAt: number
  service: Service | null = null
  snapshot = 0
  failure: MeshError | null = null
  /** Response flags of what is no failure by itself: DI for a delay on purpose, URX where retries have run out. */
  #notes: readonly string[] = NO_NOTES
  /** What the callee's policies say of it, where they are judged here. */
  #decision: Decision | null = null
  reached: Reached | null = null
  /** The address that an endpoint was reached from. */
  upstreamLocal: LocalPart = NO_LOCAL
  receivedBytes = 0
  sentBytes = 0
  backends: Backends | null = null
  rule: RuleRef | null = null

  constructor(account: Account) {
    this.account = account
    this.startedAt = account.clock.ms()
  }

  /** Notes which backends were chosen, and by which rule. */
  routed(backends: Backends | null, rule: RuleRef | null): void {
    this.backends = backends
    this.rule = rule
  }

  decided(decision: Decision | null): void {
    this.#decision = decision
  }

  get decision(): Decision | null {
    return this.failure?.decision ?? this.#decision
  }

  /** The first failure stands. */
  fail(failure: MeshError): void {
    this.failure ??= failure
  }

  /** It went nowhere, for it may not go to where nothing in the mesh stands. */
  get isKept(): boolean {
    const code = this.failure?.code
    return (code === 'BLACK_HOLE' || code === 'BLACK_HOLE_FLOW') && this.reached === null
  }

  note(flag: 'DI' | 'URX' | 'UO'): void {
    this.#notes = [...this.#notes, flag]
  }

  get flags(): string {
    const flag = this.failure?.kind.flag ?? '-'
    if (this.#notes.length === 0) return flag
    const all = new Set(flag === '-' ? this.#notes : [flag, ...this.#notes])
    return [...all].sort((one, other) => FLAG_ORDER.indexOf(one) - FLAG_ORDER.indexOf(other)).join()
  }

  protected get isNoted(): boolean {
    return this.#notes.length > 0
  }
}

/** One accepted connection. Where it carried requests, they speak for it; else it writes the one line itself. */
export class ConnectionLedger extends Ledger implements Disposable, TextPart<ConnectionFields> {
  readonly direction: Direction
  /** The captured pod: the caller of an outbound connection, the callee of an inbound one. */
  pod: Workload | null = null
  caller: Workload | null = null
  /** The identity that the caller was proved to have, as a URI. */
  principal: string | null = null
  /** Whether it came by the mesh's TLS. */
  isSecured = false
  dialled: SocketAddress | null = null
  peer: SocketAddress | null = null
  /** Whom the TLS that it begins with asks for. */
  serverName: string | null = null
  /** Status of an answer to what could not be read as a request, 0 for none. */
  status = 0
  /** Dialled by the agent, to see whether capture works: no application's, and so in no record. */
  isSelfDial = false
  #courses: Courses | null = null
  #text: string | null = null
  #requests = 0
  #isFlow = false
  #settledSent = 0
  #settledReceived = 0
  #written = false

  constructor(account: Account, direction: Direction) {
    super(account)
    this.direction = direction
  }

  /** Opens the ledger of a request on this connection. */
  request(asked: Asked, head: HeaderSource | null = null): RequestLedger {
    this.#requests++
    return new RequestLedger(this, asked, head)
  }

  /** The way that a request or this connection itself went. */
  course(ledger: Ledger, protocol: Pair['protocol']): Course {
    if (this.#courses?.isOf(this) !== true) this.#courses = this.account.courses.of(this)
    return this.#courses.of(ledger, protocol)
  }

  /** The connection is carried as TCP and has reached an endpoint. */
  established(reached: Reached): void {
    this.reached = reached
    this.#isFlow = true
    for (const edge of this.course(this, 'tcp').edges) edge.flows.opened++
  }

  /** Adds what was carried since the last time to the series, so that long transfers show while they run. */
  settle(): void {
    if (!this.#isFlow) return
    const sent = this.sentBytes - this.#settledSent
    const received = this.receivedBytes - this.#settledReceived
    this.#settledSent = this.sentBytes
    this.#settledReceived = this.receivedBytes
    for (const edge of this.course(this, 'tcp').edges) {
      edge.flows.sentBytes += sent
      edge.flows.receivedBytes += received
    }
  }

  /** What every record of this connection says of it. */
  get fields(): ConnectionFields {
    return {
      downstream_local_address: addressOf(this.dialled),
      downstream_remote_address: addressOf(this.peer),
      requested_server_name: this.serverName,
      weft_direction: this.direction,
      weft_source_workload: this.caller?.owner ?? null,
    }
  }

  get text(): string {
    return (this.#text ??= textOf(this.fields))
  }

  [Symbol.dispose](): void {
    if (this.#written) return
    this.#written = true
    const { account } = this
    account.cells.plain('weft_proxy_connections_open').value--
    if (this.isSelfDial) return
    const course = this.course(this, 'tcp')
    if (this.#isFlow) {
      this.settle()
      for (const edge of course.edges) edge.flows.close(this.flags)
    }
    if (this.#requests > 0 && this.failure === null) return
    if (this.failure !== null) account.failed(this.failure)
    account.judgements.count(this)
    account.recorder.record({
      connection: this,
      course: course.fields,
      outcome: connectionOutcome(this, this.status),
      upstreamLocal: this.upstreamLocal,
      asked: null,
      startedMs: account.wallOf(this.startedAt),
      durationMs: Math.round(account.clock.ms() - this.startedAt),
      serviceMs: null,
      status: this.status,
      receivedBytes: this.receivedBytes,
      sentBytes: this.sentBytes,
      snapshot: this.snapshot,
      headers: null,
    })
  }
}

/** One request. */
export class RequestLedger extends Ledger {
  /** Status the caller got, 0 for none. */
  status = 0
  /** Envoy's word for an answer that a rule gave in place of any upstream; null: none did. */
  details: string | null = null
  /**
   * A copy of another request. Its caller asked once: it is counted for the callee's end alone, and where that is another
   * node's, by that one.
   */
  isMirror = false
  readonly #connection: ConnectionLedger
  readonly #asked: Asked
  #sentAt = NEVER
  #serviceMs: number | null = null
  #written = false
  readonly #requestHeaders: ReadonlyMap<string, string> | null
  #responseHeaders: ReadonlyMap<string, string> | null = null

  constructor(connection: ConnectionLedger, asked: Asked, head: HeaderSource | null) {
    super(connection.account)
    this.#requestHeaders = connection.account.recorder.headersOf('REQ', head) // now: a head does not outlive its bytes
    this.#connection = connection
    this.#asked = asked
    this.service = connection.service
  }

  /** The request leaves for an endpoint. */
  sent(reached: Reached): void {
    // the first time so soon behind the start that the clock need not be asked
    const isFirst = this.reached === null && !this.isNoted
    this.#sentAt = isFirst ? this.startedAt : this.account.clock.ms()
    this.reached = reached
  }

  /** The response's head has come. */
  heard(head: HeaderSource | null = null): void {
    this.#responseHeaders = this.account.recorder.headersOf('RESP', head)
    this.#serviceMs = Math.round(this.account.clock.ms() - this.#sentAt)
  }

  /** Writes it, once. Not by `using`: that is a call into the engine for each request. */
  write(): void {
    if (this.#written) return
    this.#written = true
    const { account } = this
    const connection = this.#connection
    const course = connection.course(this, 'http')
    const durationMs = account.clock.ms() - this.startedAt
    const { flags } = this
    const [duration, received, sent] = [bucketOf(durationMs), bucketOf(this.receivedBytes), bucketOf(this.sentBytes)]
    for (const edge of this.isMirror ? calleesEdges(course) : course.edges) {
      const cells = edge.requests(this.status, flags)
      cells.requests++
      cells.duration.add(duration, durationMs)
      cells.requestBytes.add(received, this.receivedBytes)
      cells.responseBytes.add(sent, this.sentBytes)
    }
    if (this.failure !== null && !this.isMirror) account.failed(this.failure)
    account.judgements.count(this)
    account.recorder.record({
      connection,
      course: course.fields,
      outcome: requestOutcome(this, this.#serviceMs !== null),
      upstreamLocal: this.upstreamLocal,
      asked: this.#asked,
      startedMs: account.wallOf(this.startedAt),
      durationMs: Math.round(durationMs),
      serviceMs: this.#serviceMs,
      status: this.status,
      receivedBytes: this.receivedBytes,
      sentBytes: this.sentBytes,
      snapshot: this.snapshot,
      headers: this.#requestHeaders === null ? null : this.#headers(this.#requestHeaders),
    })
  }

  #headers(request: ReadonlyMap<string, string>): Headers {
    return { request, response: this.#responseHeaders ?? NO_HEADERS }
  }
}

/** Those that the callee's end reports, where this pass stands for it too: they come second. */
function calleesEdges({ edges, reached }: Course): Course['edges'] {
  return reached?.both === true ? edges.slice(1) : []
}

const NO_HEADERS: ReadonlyMap<string, string> = new Map()
const NEVER = 0

function addressOf(address: SocketAddress | null): string | null {
  return address === null ? null : addressText(address)
}
