// What is known of one connection or request, gathered along the corridor and written exactly once: metrics and access
// record together, however it ended.

import type { SocketAddress } from '../model/address.ts'
import type { MeshError } from '../model/failure.ts'
import type { Backends } from '../model/route.ts'
import type { RuleRef } from '../model/snapshot.ts'
import type { Endpoint, Service } from '../model/service.ts'
import type { Workload } from '../model/workload.ts'
import type { AccessLog } from './access.ts'
import type { Cells, Edge } from './cells.ts'
import { Edges, type Pair, samePair } from './edges.ts'
import {
  type Asked,
  askedPart,
  BLACK_HOLE_PART,
  backendsPart,
  connectionPart,
  type Direction,
  reachedPart,
  recordLine,
} from './record.ts'

export type { Asked, Direction } from './record.ts'

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
  /** Whether this one pass stands for both ends. */
  readonly both: boolean
}

/** The node's books: opens ledgers and holds what they write to. */
export class Account {
  readonly cells: Cells
  readonly access: AccessLog
  readonly clock: Clock
  readonly edges: Edges
  /** Whether requests and connections are written to the access log. */
  isRecording = true

  constructor(cells: Cells, access: AccessLog, clock: Clock) {
    this.cells = cells
    this.access = access
    this.clock = clock
    this.edges = new Edges(cells)
  }

  open(direction: Direction): ConnectionLedger {
    this.cells.plain('weft_proxy_connections_total', direction).value++
    this.cells.plain('weft_proxy_connections_open').value++
    return new ConnectionLedger(this, direction)
  }

  failed(failure: MeshError): void {
    this.cells.plain('weft_failures_total', failure.kind.step, failure.code).value++
  }
}

/** Istio's routes for what nothing in the mesh stands for, as outboundTrafficPolicy has it. */
const BLOCK_ALL = 'block_all'
const ALLOW_ANY = 'allow_any'

/** What requests and connections have in common. */
class Ledger {
  readonly account: Account
  readonly startedMs: number
  readonly startedAt: number
  service: Service | null = null
  snapshot = 0
  failure: MeshError | null = null
  /** Response flag where something was done on purpose (DI), else null. */
  flag: string | null = null
  reached: Reached | null = null
  upstreamLocal: SocketAddress | null = null
  receivedBytes = 0
  sentBytes = 0
  protected backends: Backends | null = null
  protected rule: RuleRef | null = null

  constructor(account: Account) {
    this.account = account
    this.startedMs = account.clock.wall()
    this.startedAt = account.clock.ms()
  }

  /** Notes which backends were chosen, and by which rule. */
  routed(backends: Backends | null, rule: RuleRef | null): void {
    this.backends = backends
    this.rule = rule
  }

  /** The first failure stands. */
  fail(failure: MeshError): void {
    this.failure ??= failure
  }

  protected get flags(): string {
    const flag = this.failure?.kind.flag
    if (flag === undefined || flag === '-') return this.flag ?? '-'
    return this.flag === null ? flag : `${this.flag},${flag}`
  }

  /** It went nowhere, for it may not go to where nothing in the mesh stands. */
  protected get isKept(): boolean {
    const code = this.failure?.code
    return (code === 'BLACK_HOLE' || code === 'BLACK_HOLE_FLOW') && this.reached === null
  }

  /** Istio's name for what becomes of a request that no rule speaks of: of one to a service it has none. */
  #unruled({ direction }: ConnectionLedger): string | null {
    if (this.isKept) return BLOCK_ALL
    return direction === 'outbound' && this.backends?.isUnknown === true ? ALLOW_ANY : null
  }

  protected pair(connection: ConnectionLedger, protocol: Pair['protocol']): Pair {
    const { reached, service } = this
    const inbound = connection.direction === 'inbound'
    return {
      caller: connection.caller,
      callee: reached?.callee ?? (inbound ? connection.pod : null),
      endpoint: reached?.endpoint ?? null,
      service,
      isKept: this.isKept,
      reporters: inbound ? 'destination' : reached?.both === true ? 'both' : 'source',
      protocol,
    }
  }

  /** Writes the record of it. */
  protected record(connection: ConnectionLedger, asked: Asked | null, outcome: RecordOutcome): void {
    if (!this.account.isRecording) return
    const { reached, backends, rule, failure } = this
    const parts = {
      connection: connection.part,
      asked: askedPart(asked),
      reached: reachedPart(reached?.endpoint ?? null, reached?.callee ?? null, this.upstreamLocal),
      backends: this.isKept ? BLACK_HOLE_PART : backendsPart(connection.direction, backends),
    }
    const line = recordLine(parts, {
      startedMs: this.startedMs,
      status: outcome.status,
      flags: this.flags,
      details: failure?.kind.details ?? (outcome.status === 0 || asked === null ? null : 'via_upstream'),
      receivedBytes: this.receivedBytes,
      sentBytes: this.sentBytes,
      durationMs: outcome.durationMs,
      serviceMs: outcome.serviceMs,
      route: rule !== null ? rule.rule || rule.object.name : asked === null ? null : this.#unruled(connection),
      snapshot: this.snapshot,
      failure,
      isConnection: asked === null,
    })
    this.account.access.write(line)
  }
}

/** What a record tells that only one of the two kinds of ledgers knows. */
interface RecordOutcome {
  readonly status: number
  readonly durationMs: number
  readonly serviceMs: number | null
}

/** One accepted connection. Where it carried requests, they speak for it; else it writes the one line itself. */
export class ConnectionLedger extends Ledger implements Disposable {
  readonly direction: Direction
  /** The captured pod: the caller of an outbound connection, the callee of an inbound one. */
  pod: Workload | null = null
  caller: Workload | null = null
  dialled: SocketAddress | null = null
  peer: SocketAddress | null = null
  /** Status of an answer to what could not be read as a request, 0 for none. */
  status = 0
  /** Dialled by the agent, to see whether capture works: no application's, and so in no record. */
  isSelfDial = false
  #requests = 0
  #flows: Pair | null = null
  #part: string | null = null
  /** Of the last request: the next one most often has the same two ends. */
  #pair: Pair | null = null
  #edges: readonly Edge[] = []
  #edgesAt = -1
  #settledSent = 0
  #settledReceived = 0
  #written = false

  constructor(account: Account, direction: Direction) {
    super(account)
    this.direction = direction
  }

  /** What each record on this connection tells of it. Asked for first once its ends are known. */
  get part(): string {
    return (this.#part ??= connectionPart(this.direction, this, this.caller))
  }

  /** The edges of a request's two ends. */
  edges(pair: Pair): readonly Edge[] {
    const { edges } = this.account
    if (this.#pair === null || !edges.isCurrent(this.#edgesAt) || !samePair(this.#pair, pair)) {
      this.#edges = edges.of(pair)
      this.#pair = pair
      this.#edgesAt = edges.age
    }
    return this.#edges
  }

  /** Opens the ledger of a request on this connection. */
  request(asked: Asked): RequestLedger {
    this.#requests++
    return new RequestLedger(this, asked)
  }

  /** The connection is carried as TCP and has reached an endpoint. */
  established(reached: Reached): void {
    this.reached = reached
    this.#flows = this.pair(this, 'tcp')
    for (const edge of this.account.edges.of(this.#flows)) edge.flows.opened++
  }

  /** Adds what was carried since the last time to the series, so that long transfers show while they run. */
  settle(): void {
    if (this.#flows === null) return
    const sent = this.sentBytes - this.#settledSent
    const received = this.receivedBytes - this.#settledReceived
    this.#settledSent = this.sentBytes
    this.#settledReceived = this.receivedBytes
    for (const edge of this.account.edges.of(this.#flows)) {
      edge.flows.sentBytes += sent
      edge.flows.receivedBytes += received
    }
  }

  [Symbol.dispose](): void {
    if (this.#written) return
    this.#written = true
    this.account.cells.plain('weft_proxy_connections_open').value--
    if (this.isSelfDial) return
    if (this.#flows !== null) {
      this.settle()
      for (const edge of this.account.edges.of(this.#flows)) edge.flows.close(this.flags)
    }
    if (this.#requests > 0 && this.failure === null) return
    if (this.failure !== null) this.account.failed(this.failure)
    const durationMs = this.account.clock.ms() - this.startedAt
    this.record(this, null, { status: this.status, durationMs, serviceMs: null })
  }
}

/** One request. */
export class RequestLedger extends Ledger {
  /** Status the caller got, 0 for none. */
  status = 0
  readonly #connection: ConnectionLedger
  readonly #asked: Asked
  #sentAt: number | null = null
  #serviceMs: number | null = null
  #written = false

  constructor(connection: ConnectionLedger, asked: Asked) {
    super(connection.account)
    this.#connection = connection
    this.#asked = asked
    this.service = connection.service
  }

  /** The request leaves for an endpoint. */
  sent(reached: Reached): void {
    this.reached = reached
    this.#sentAt = this.account.clock.ms()
  }

  /** The response's head has come. */
  heard(): void {
    if (this.#sentAt !== null) this.#serviceMs = this.account.clock.ms() - this.#sentAt
  }

  /** Writes it, once. Not by `using`: that is a call into the engine for each request. */
  write(): void {
    if (this.#written) return
    this.#written = true
    const { account } = this
    const durationMs = account.clock.ms() - this.startedAt
    for (const edge of this.#connection.edges(this.pair(this.#connection, 'http'))) {
      const cells = edge.requests(this.status, this.flags)
      cells.requests++
      cells.duration.observe(durationMs)
      cells.requestBytes.observe(this.receivedBytes)
      cells.responseBytes.observe(this.sentBytes)
    }
    if (this.failure !== null) account.failed(this.failure)
    this.record(this.#connection, this.#asked, { status: this.status, durationMs, serviceMs: this.#serviceMs })
  }
}
