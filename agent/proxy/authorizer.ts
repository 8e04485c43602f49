// Asks an authorizer about a request (CUSTOM policies), by HTTP, on behalf of the pod that is called: from its network
// namespace, by its identity, through the rest of the corridor like any request of that pod.

import { familyOf } from '../model/address.ts'
import {
  type Answer,
  type AuthorizerAnswer,
  meaningOf,
  questionOf,
  type QuestionHead,
} from '../model/authorization/ext-authz.ts'
import type { HttpAuthorizer } from '../model/authorization/provider.ts'
import type { MeshError } from '../model/failure.ts'
import { fieldLine } from '../model/http/header-changes.ts'
import { forward } from '../model/http/route.ts'
import { type Caller, identityOf } from '../model/identity.ts'
import type { Field } from '../model/policy.ts'
import { routeTcp } from '../model/route.ts'
import type { Snapshot, Target } from '../model/snapshot.ts'
import type { Workload } from '../model/workload.ts'
import { ConnectionLedger } from '../telemetry/ledger.ts'
import type { ArrivingRequest } from './arriving.ts'
import type { Call } from './classify.ts'
import { tryDuring } from './deadline.ts'
import type { Exchange } from './exchange.ts'
import { Head } from './http1/head.ts'
import { LARGEST_HEAD } from './http1/scan.ts'
import { ENDLESS } from './plane/identities.ts'
import type { JoinedPod, MeshNode } from './plane/node.ts'
import { SideRequests } from './plane/side-requests.ts'
import { type SideBody, SideRequest, type SideTrip } from './side-request.ts'

/** Longest body of a denial that is passed on; what is longer is left out. */
export const DENIAL_BODY_LIMIT = 64 * 1024

/** A request about which somebody is asked. */
export interface Question {
  readonly arriving: ArrivingRequest
  readonly exchange: Pick<Exchange, 'readAhead' | 'during' | 'requestId'>
  /** The pod that is called: captured on this node. */
  readonly callee: Workload
  /** How the request came. */
  readonly call: Call
  readonly node: MeshNode
  readonly world: Snapshot
  /** Authorizers that are not asked about the question itself, besides the one that it is put to: else two might ask for ever. */
  readonly consented: ReadonlySet<string>
}

/** Who asks, one a worker: so many questions are under way for one pod at once, and no more. */
export class Authorizers {
  readonly #underWay: SideRequests

  constructor(mostOfPod: number) {
    this.#underWay = new SideRequests(mostOfPod)
  }

  /** Questions under way. */
  get size(): number {
    return this.#underWay.size
  }

  /** Asks. Rejects with the MeshError alone that the request was stopped for meanwhile; nothing is left of the asking then. */
  async ask(authorizer: HttpAuthorizer, question: Question): Promise<Answer> {
    const answer = await this.#asked(authorizer, question)
    const { cells } = question.node.account
    const result = answer.kind === 'unaskable' ? 'failed' : answer.kind.replace('-', '_')
    cells.plain('weft_ext_authz_total', authorizer.name, result).value++
    return answer
  }

  /** Ends the questions about requests to a pod. */
  stopPod(pod: JoinedPod, reason: MeshError): void {
    this.#underWay.stopPod(pod, reason)
  }

  /** Ends all. */
  stop(reason: MeshError): void {
    this.#underWay.stop(reason)
  }

  async #asked(authorizer: HttpAuthorizer, question: Question): Promise<Answer> {
    const { arriving, exchange, call } = question
    // what it answers would be taken for the tunnel itself
    if (arriving.method === 'CONNECT') return { kind: 'unaskable', why: 'nobody can be asked about CONNECT' }
    const body = authorizer.body === null ? NO_BODY : await bodyOf(exchange, authorizer.body.maxBytes)
    if (!body.isWhole && authorizer.body?.allowPartial !== true) return { kind: 'too-large' }
    const { budget } = call.channel
    budget.held += body.bytes.length
    try {
      return await this.#askAbout(body, authorizer, question)
    } finally {
      budget.held -= body.bytes.length
    }
  }

  #askAbout(body: BodyAhead, authorizer: HttpAuthorizer, question: Question): Answer | Promise<Answer> {
    const { arriving, callee, node } = question
    const pod = node.pods.get(callee.uid)
    const target = targetOf(authorizer, question)
    if (typeof target === 'string') return { kind: 'failed', why: target }
    if (pod === undefined) return { kind: 'failed', why: 'the pod that is called is not captured any more' }
    const { length } = body.bytes
    const asks = questionOf(authorizer, arriving, {
      names: arriving.names(),
      body: length === 0 ? null : { length, isPartial: !body.isWhole },
      asker: askerOf(callee, target),
    })
    const head = headOf(asks)
    if (head === null) return { kind: 'unaskable', why: 'the question has a head that no server takes' }
    return this.#send({ authorizer, question, pod, target, body: body.bytes }, asks, head)
  }

  #send(side: Side, asks: QuestionHead, head: Head): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const { pod, question } = side
    const request = new AuthorizerRequest(head, asks, side, {
      resolve: (answer) => {
        this.#underWay.leave(pod, request)
        resolve(answer)
      },
      reject: (reason) => {
        this.#underWay.leave(pod, request)
        reject(reason)
      },
    })
    if (!tryDuring(question.exchange, (reason) => request.giveUp(reason), null)) return promise
    if (this.#underWay.enter(pod, request)) request.begin()
    else resolve({ kind: 'failed', why: 'as many questions are under way for the pod as may be' })
    return promise
  }
}

/** What of a body is asked about. */
interface BodyAhead {
  readonly bytes: Buffer
  readonly isWhole: boolean
}

const NO_BODY: BodyAhead = { bytes: Buffer.alloc(0), isWhole: true }

function bodyOf(exchange: Question['exchange'], most: number): Promise<BodyAhead> {
  return new Promise((resolve, reject) => {
    if (!tryDuring(exchange, reject, null)) return
    exchange.readAhead(most, (body, isWhole) => {
      exchange.during(null, null)
      resolve({ bytes: Buffer.from(body), isWhole })
    })
  })
}

/** The authorizer's service, as the pod that is called sees it; or why there is none. */
function targetOf(
  { host, port }: HttpAuthorizer,
  { world, callee }: Question,
): (Target & { readonly kind: 'service' }) | string {
  const service = world.serviceByHost.get(host)
  const at = service?.ports.find((one) => one.port === port)
  if (service === undefined || at === undefined) return `nobody knows ${host}:${port}`
  const ip = service.addresses[0] ?? callee.ips[0]
  if (ip === undefined) return `the pod that is called has no address`
  return { kind: 'service', service, port: at, address: { ip, port }, external: false, family: familyOf(ip) }
}

/** The address that the pod called asks from, or null. */
function askerOf({ ips }: Workload, { family }: Target & { readonly kind: 'service' }): string | null {
  return ips.find((one) => familyOf(one) === family) ?? ips[0] ?? null
}

/** A head of its own, as it would have come; null where it is larger than any may be. */
function headOf({ method, target, authority, fields }: QuestionHead): Head | null {
  const lines = fields.map(([name, value]) =>
    name === 'content-length' ? `${name}: ${value}\r\n` : fieldLine(name, value),
  )
  const bytes = Buffer.from(`${method} ${target} HTTP/1.1\r\nhost: ${authority}\r\n${lines.join('')}\r\n`, 'latin1')
  const head = new Head('request', { headBytes: LARGEST_HEAD, headFields: fields.length + 1 })
  return head.parse(bytes, 0, bytes.length) === 'done' ? head : null
}

interface Side {
  readonly authorizer: HttpAuthorizer
  readonly question: Question
  readonly pod: JoinedPod
  readonly target: Target & { readonly kind: 'service' }
  readonly body: Buffer
}

interface Settle {
  readonly resolve: (answer: Answer) => void
  readonly reject: (reason: MeshError) => void
}

/** One question on its way. */
class AuthorizerRequest extends SideRequest {
  readonly #side: Side
  readonly #settle: Settle
  #fields: readonly Field[] = []
  #chunks: Buffer[] = []
  #length = 0
  #reason: MeshError | null = null

  constructor(head: Head, { method, target, authority }: QuestionHead, side: Side, settle: Settle) {
    const newId = head.header('x-request-id') === undefined
    super({ method, target, authority, requestId: side.question.exchange.requestId, newId, head })
    this.#side = side
    this.#settle = settle
  }

  /** The request that it is about was stopped. */
  giveUp(reason: MeshError): void {
    this.#reason = reason
    this.stop(reason)
  }

  /** To ask is to do nothing, whatever the method. */
  protected get isRepeatable(): boolean {
    return true
  }

  protected get body(): SideBody {
    const { body } = this.#side
    return { bytes: body, from: 0, to: body.length, trailers: null }
  }

  protected open(): SideTrip {
    const { question, target, authorizer } = this.#side
    const { node, world, callee } = question
    const caller: Caller = { kind: 'workload', workload: callee, proof: 'netns' }
    const call = callOf(this.#side, caller)
    const backends = routeTcp(world, target, { consumer: callee.namespace, caller: callee })
    const connection = new ConnectionLedger(node.account, 'outbound')
    connection.pod = connection.caller = callee
    connection.principal = identityOf(callee, world.settings.mesh)
    connection.dialled = call.dialled
    connection.peer = call.peer
    const { method, requestId, authority } = this
    const asked = { method, target: this.target, authority, requestId, minor: 1, userAgent: null, forwardedFor: null }
    const ledger = connection.request(asked, this.head)
    const facts = { ...asked, scheme: 'http', port: target.port.port, header: (name: string) => this.head.header(name) }
    const consented = new Set([...question.consented, authorizer.name])
    const { timeoutMs } = authorizer
    const route = forward(backends, null)
    return { node, call, caller, world, consented, ledger, backends, route, facts, fromMs: ledger.startedAt, timeoutMs }
  }

  override respond(head: Head): void {
    super.respond(head)
    const names = head.names().filter((name) => head.passed(name) !== undefined)
    this.#fields = names.flatMap((name) => head.values(name).map((value): Field => [name, value]))
  }

  protected heardBody(bytes: Buffer, from: number, to: number): void {
    this.#length += to - from
    if (this.#length <= DENIAL_BODY_LIMIT) this.#chunks.push(Buffer.from(bytes.subarray(from, to)))
    else this.#chunks = []
  }

  protected over(failure: MeshError | null): void {
    const { question, authorizer } = this.#side
    if (this.#reason !== null) {
      this.#settle.reject(this.#reason)
      return
    }
    question.exchange.during(null, null)
    const body = this.#length <= DENIAL_BODY_LIMIT ? Buffer.concat(this.#chunks) : null
    const answer: AuthorizerAnswer = { status: this.status, fields: this.#fields, body }
    this.#settle.resolve(failure === null ? meaningOf(authorizer, answer) : { kind: 'failed', why: failure.message })
  }
}

/** The connection that a question stands for: one that the pod called would have made. */
function callOf({ question, pod, target }: Side, caller: Caller): Call {
  const { callee, call } = question
  const ip = askerOf(callee, target) ?? call.peer.ip
  return {
    ...{ fd: -1, channel: call.channel, direction: 'outbound', pod, dialled: target.address, peer: { ip, port: 0 } },
    ...{ caller, told: null, first: null, ended: false, silent: false, term: ENDLESS },
    ...{ target, service: target, protocol: 'http', serverName: null },
  }
}
