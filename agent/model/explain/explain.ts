// What the mesh would do with a connection or request, and why: the decisions of the data path, each with what led to it.
// Nothing is drawn by chance: where chance decides, all that it may decide is told, with its share.

import { addressText, canonicalIp, familyOf, type SocketAddress } from '../address.ts'
import { normalizedTarget } from '../authorization/path.ts'
import type { Backends } from '../backends.ts'
import { isVisible } from '../destination.ts'
import { type FlowFacts, serverNameOf } from '../flow-match.ts'
import { firstFlow, type FlowRoute, flowTo, groundOfFlow, routeFlow } from '../flow-route.ts'
import { entriesFor } from '../host-index.ts'
import { RETRY_NEVER } from '../http/retry.ts'
import { doneTo } from '../http/actions.ts'
import { type Forward, forward, type HttpRoute, type Own } from '../http/route.ts'
import { firstMatch, forwardTo } from '../http/rules.ts'
import type { RequestFacts } from '../http/match.ts'
import type { Fault, Mirror, WeightedDestination } from '../policy.ts'
import { type Carriage, hasRules, routeHttp, virtualServiceFor } from '../route.ts'
import { type Ground, groundOf, routeAddress } from '../route-address.ts'
import { type RuleTrace, traceFlows, traceRules } from './rule-trace.ts'
import type { Service, ServicePort } from '../service.ts'
import {
  type CompiledVirtualService,
  resolve,
  type Snapshot,
  type Target,
  type Vantage,
  workloadAt,
} from '../snapshot.ts'
import type { ObjectRef, Workload } from '../workload.ts'

/** What is asked: who calls, whom, and with what. */
export interface Question {
  readonly namespace: string
  readonly pod: string
  /** A name as the pod would write it, or an IP. */
  readonly host: string
  readonly port: number | null
  readonly method: string
  /** Path and query. */
  readonly target: string
  /** Names in lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** Whom its TLS asks for where it is a connection that begins with TLS, or null. */
  readonly serverName: string | null
  /** What is carried: null as the port declares, and what declares nothing is taken for HTTP. */
  readonly carriage: Carriage | null
}

/** A destination that chance may choose, or the only one. */
export interface Share {
  /** Of the requests that come here, 0..100. */
  readonly percent: number
  readonly host: string
  readonly subset: string | null
  readonly port: number | null
  /** Null where it is not known: the request is then answered 503. */
  readonly forward: Forward | null
}

export interface Dialled {
  readonly address: SocketAddress | null
  readonly target: Target
  readonly service: Service | null
  readonly port: ServicePort | null
}

export interface Explained {
  readonly caller: Workload
  readonly dialled: Dialled
  readonly request: RequestFacts
  readonly carriage: Carriage
  /** Whom the connection's TLS asks for, as policies see it; null: nobody. */
  readonly serverName: string | null
  /** The VirtualService in force, and those that speak of the host beside it, each with why it does not count. */
  readonly inForce: ObjectRef | null
  readonly others: readonly { readonly object: ObjectRef; readonly why: string }[]
  readonly rules: readonly RuleTrace[]
  readonly outcome: Outcome
}

export type Outcome =
  | ({ readonly kind: 'forward'; readonly shares: readonly Share[]; readonly mirrors: readonly Mirror[] } & Fault)
  | ({
      readonly kind: 'answer'
      readonly how: string
      readonly status: number
      readonly fields: readonly (readonly [string, string])[]
    } & Fault)
  | { readonly kind: 'none'; readonly code: string; readonly why: string }

/** A question that names what the mesh does not know. */
export class Unanswerable extends Error {}

/** Explains. Throws Unanswerable, with one sentence, where the question names what the mesh does not know. */
export function explain(snapshot: Snapshot, question: Question): Explained {
  const caller = podOf(snapshot, question)
  const dialled = dial(snapshot, question, caller)
  const request = requestOf(snapshot, question, dialled)
  const serverName = serverNameOf(question.serverName)
  const none = { caller, dialled, request, serverName, carriage: carriageOf(question, dialled) }
  return none.carriage === 'flows' ? explainFlow(snapshot, none) : explainRequest(snapshot, none)
}

type Unruled = Pick<Explained, 'caller' | 'dialled' | 'request' | 'serverName' | 'carriage'>

/** What may have a say in what was dialled: the rules in force, who is passed over, and how destinations are looked at. */
interface Standing {
  readonly inForce: CompiledVirtualService | null
  readonly others: Explained['others']
  readonly at: Vantage
  /** What was dialled, where a destination that names it means that very endpoint. */
  readonly own: Own | null
}

/** As routing has it; `ground` is what it knows of an address that is no Service's own. */
function standingOf(
  snapshot: Snapshot,
  { caller, dialled: { target }, carriage }: Unruled,
  ground: Ground | null,
): Standing {
  const from = { consumer: caller.namespace, caller }
  if (target.kind !== 'service') {
    const { address: dialled } = target
    const at = { ...from, dialledPort: dialled.port, family: familyOf(dialled.ip), external: false, dialled }
    if (ground === null) return { inForce: null, others: [], at, own: null }
    const { rules: inForce, own, kept } = ground
    const others = othersOf(snapshot, own.hosts, { consumer: from.consumer, of: carriage, inForce })
    return { inForce, others, at: ground.at, own: kept === null ? own : null }
  }
  const { service, port, family, external, address: dialled } = target
  const inForce = virtualServiceFor(snapshot, { service }, from.consumer, carriage)
  const others = othersOf(snapshot, [service.host], { consumer: from.consumer, of: carriage, inForce })
  return { inForce, others, at: { ...from, dialledPort: port.port, family, external, dialled }, own: null }
}

/** Of what no rule decides nothing is left to chance. */
const NO_CHANCE = (): number => 0

/** A request of HTTP. */
function explainRequest(snapshot: Snapshot, none: Unruled): Explained {
  const { caller, request } = none
  const { target } = none.dialled
  const asked = { request, caller }
  const ground = target.kind === 'service' ? null : groundOf(snapshot, target, asked)
  const standing = standingOf(snapshot, none, ground)
  const { inForce, others } = standing
  if (inForce === null) {
    const route =
      target.kind === 'service'
        ? routeHttp(snapshot, target, asked, NO_CHANCE)
        : routeAddress(snapshot, target, asked, NO_CHANCE)
    return { ...none, inForce: null, others, rules: [], outcome: plainly(route, (backends) => forward(backends, null)) }
  }
  const rules = traceRules(snapshot, inForce, asked)
  return { ...none, others, rules, inForce: inForce.source.ref, outcome: outcomeOf(snapshot, inForce, asked, standing) }
}

/** Where nobody says where a connection comes from: an address that no rule names (RFC 5737). */
const PEER: SocketAddress = { ip: '192.0.2.2', port: 0 }

/** A connection that is carried as bytes. */
function explainFlow(snapshot: Snapshot, none: Unruled): Explained {
  const { caller, serverName } = none
  const { target } = none.dialled
  const [ip] = caller.ips
  const flow: FlowFacts = {
    caller,
    dialled: target.address,
    peer: ip === undefined ? PEER : { ip, port: PEER.port },
    serverName,
  }
  const ground = target.kind === 'service' ? null : groundOfFlow(snapshot, target, flow)
  const { inForce, others, at, own } = standingOf(snapshot, none, ground)
  const rules = inForce === null ? [] : traceFlows(inForce, flow)
  const told = { ...none, others, rules, inForce: inForce?.source.ref ?? null }
  const found = inForce === null ? null : firstFlow(inForce, flow)
  if (found === null) return { ...told, outcome: plainly(routeFlow(snapshot, target, flow, NO_CHANCE), bytesTo) }
  const shares = sharesOf(found.rule.destinations, (destination) => {
    const backends = flowTo(snapshot, destination, { at, own })
    return backends === null ? null : bytesTo(backends)
  })
  return { ...told, outcome: forwarding(shares) }
}

/** What becomes of what no rule decides. */
function plainly(route: HttpRoute | FlowRoute, as: (backends: Backends) => Forward): Outcome {
  switch (route.kind) {
    case 'forward':
      return forwarding([shareOf(as(route.backends))])
    case 'none':
      return { kind: 'none', code: route.code, why: route.why }
    case 'answer':
    case 'abort':
      throw new Error('a rule alone answers')
  }
}

/** Bytes are sent once, to an endpoint that was connected. */
function bytesTo(backends: Backends): Forward {
  return { ...forward(backends, null), retries: RETRY_NEVER }
}

function carriageOf({ carriage, serverName }: Question, { port }: Dialled): Carriage {
  if (carriage !== null) return carriage
  return serverName !== null || port?.protocol === 'opaque' ? 'flows' : 'http'
}

function outcomeOf(
  snapshot: Snapshot,
  inForce: CompiledVirtualService,
  asked: { readonly request: RequestFacts; readonly caller: Workload },
  { at, own }: Standing,
): Outcome {
  const matched = firstMatch(snapshot, inForce, asked)
  if (matched === null) return { kind: 'none', code: 'NO_ROUTE', why: 'no rule matches: the answer is 404' }
  const { rule } = matched
  const done = doneTo(asked.request, matched, at)
  const { delay, abort } = rule.fault ?? NO_FAULT
  if (done.answer !== null) {
    const { how, status, fields } = done.answer
    const faults = how === 'preflight' ? NO_FAULT : { delay, abort } // it is answered before anything is injected
    return { kind: 'answer', how, status, fields, ...faults }
  }
  const drawn = { at, own, delayMs: 0, mirrors: [] }
  const shares = sharesOf(rule.destinations, (destination) => {
    return forwardTo(snapshot, destination, { target: asked.request.target, matched, done }, drawn)
  })
  return { kind: 'forward', shares, mirrors: rule.mirrors, delay, abort }
}

const NO_FAULT: Fault = { delay: null, abort: null }

function sharesOf(
  destinations: readonly WeightedDestination[],
  to: (destination: WeightedDestination) => Forward | null,
): readonly Share[] {
  const total = destinations.reduce((sum, { weight }) => sum + weight, 0)
  return destinations.map((destination): Share => {
    const { host, subset, port, weight } = destination
    const percent = destinations.length === 1 ? 100 : (100 * weight) / total
    return { percent, host, subset, port, forward: to(destination) }
  })
}

function forwarding(shares: readonly Share[]): Outcome {
  return { kind: 'forward', shares, mirrors: [], delay: null, abort: null }
}

function shareOf(found: Forward): Share {
  const { host, subset, port }: Backends = found.backends
  return { percent: 100, host, subset, port, forward: found }
}

/** A pod by its name. Throws Unanswerable where none is known. */
export function podOf(snapshot: Snapshot, { namespace, pod }: Pick<Question, 'namespace' | 'pod'>): Workload {
  for (const workload of snapshot.workloadByUid.values()) {
    if (workload.namespace === namespace && workload.name === pod) return workload
  }
  throw new Unanswerable(`this node knows no pod ${namespace}/${pod}`)
}

/** What the pod reaches by a name, as its resolver would have it: `web`, `web.shop`, `web.shop.svc`, or all of it. */
function dial(snapshot: Snapshot, { host, port }: Question, caller: Workload): Dialled {
  const ip = canonicalIp(host)
  if (ip !== null) return at(snapshot, { ip, port: port ?? DEFAULT_PORT })
  const name = host.toLowerCase().replace(/\.$/, '')
  const service = serviceNamed(snapshot, name, caller.namespace)
  if (service === null) return podNamed(snapshot, name, { port, caller }) ?? outside(port)
  const [only] = service.ports
  const wanted = port ?? (service.ports.length === 1 ? only?.port : undefined) ?? DEFAULT_PORT
  const found = service.ports.find((candidate) => candidate.port === wanted)
  if (found === undefined) throw new Unanswerable(`${service.host} has no port ${wanted}: ${portsText(service)}`)
  const [clusterIp] = service.addresses
  const own = clusterIp ?? found.endpoints[0]?.address.ip
  if (own === undefined) throw new Unanswerable(`${service.host} has no address and no endpoint that could be dialled`)
  return at(snapshot, {
    ip: own,
    port: clusterIp === undefined ? (found.endpoints[0]?.address.port ?? wanted) : wanted,
  })
}

/** Whatever address DNS will give for a name that the mesh does not know. */
function outside(port: number | null): Dialled {
  const address = { ip: NOWHERE_IP, port: port ?? DEFAULT_PORT }
  return { address: null, target: { kind: 'unknown', address, behind: null }, service: null, port: null }
}

/** A pod of a headless Service by its own name, as in `web-0.web.shop`; null where the name is none of these. */
function podNamed(
  snapshot: Snapshot,
  name: string,
  { port, caller }: { readonly port: number | null; readonly caller: Workload },
): Dialled | null {
  const [pod = '', ...rest] = name.split('.')
  const service = rest.length === 0 ? null : serviceNamed(snapshot, rest.join('.'), caller.namespace)
  if (service === null || !service.headless) return null
  const all = service.ports.flatMap(({ endpoints }) => endpoints)
  const own = all.filter((endpoint) => workloadAt(snapshot, endpoint)?.name === pod)
  const found = own.find(({ address }) => address.port === port) ?? own[0]
  return found === undefined ? null : at(snapshot, { ip: found.address.ip, port: port ?? found.address.port })
}

function at(snapshot: Snapshot, address: SocketAddress): Dialled {
  const target = resolve(snapshot, address)
  const place = target.kind === 'service' ? target : target.behind
  return { address, target, service: place?.service ?? null, port: place?.port ?? null }
}

/** What is dialled where nobody says. */
const DEFAULT_PORT = 80
/** Stands for the address that DNS will give for a name that the mesh does not know (RFC 5737). */
const NOWHERE_IP = '192.0.2.1'

/** The Service that a name reaches. One that is but a name for another (ExternalName) is that one; null: beyond the cluster. */
function serviceNamed(snapshot: Snapshot, name: string, namespace: string): Service | null {
  let service = serviceAs(snapshot, name, namespace)
  for (let step = 0; step < ALIASES_MAX && service !== null && service.externalName !== null; step++) {
    service = snapshot.serviceByHost.get(service.externalName) ?? null
  }
  return service?.externalName === null ? service : null
}

/** Aliases that are followed from one to the next. */
const ALIASES_MAX = 4

function serviceAs(snapshot: Snapshot, name: string, namespace: string): Service | null {
  const own = snapshot.serviceByHost.get(name)
  if (own !== undefined) return own
  for (const service of snapshot.serviceByHost.values()) {
    const names = [`${service.name}.${service.namespace}`, `${service.name}.${service.namespace}.svc`]
    if (names.includes(name) || (service.name === name && service.namespace === namespace)) return service
  }
  return null
}

function portsText({ ports }: Service): string {
  return ports.length === 0 ? 'it has none' : `it has ${ports.map(({ port }) => port).join(', ')}`
}

/** As it is read: with the path made plain, as the mesh's settings say. Throws Unanswerable where that cannot be meant. */
function requestOf({ settings }: Snapshot, question: Question, dialled: Dialled): RequestFacts {
  const { host, method, headers } = question
  const target = normalizedTarget(question.target, settings.mesh.pathNormalization)
  if (target === null) throw new Unanswerable('the path cannot be meant: the answer is 400')
  const linesOf = (name: string): readonly string[] => headers.filter(([own]) => own === name).map(([, value]) => value)
  const { port } = dialled.target.address
  const named = host.includes(':') ? `[${host}]` : host
  const authority = linesOf('host')[0] ?? (port === DEFAULT_PORT ? named : `${named}:${port}`)
  const header = (name: string): string | undefined => {
    const lines = name === 'host' ? [authority] : linesOf(name)
    return lines.length === 0 ? undefined : lines.join()
  }
  return { method, target, authority, scheme: 'http', port, header }
}

const OUTDONE = 'another one comes before it'
const ELSEWHERE = 'it is not for the address that is dialled'

/** The VirtualServices that speak of a host beside the one in force, and why each does not count for this consumer. */
function othersOf(
  snapshot: Snapshot,
  hosts: readonly string[],
  asked: { readonly consumer: string; readonly of: Carriage; readonly inForce: CompiledVirtualService | null },
): Explained['others'] {
  const { consumer, of, inForce } = asked
  const all = new Set(hosts.flatMap((host) => entriesFor(snapshot.virtualServices, host).flat()))
  return [...all]
    .filter((one) => one !== inForce)
    .map(({ source }) => {
      const isSeen = isVisible(source.exportTo, consumer)
      const hasNone = `it has no rules for ${of === 'http' ? 'requests' : 'connections'}`
      const outdone = inForce === null ? ELSEWHERE : OUTDONE
      const why = !isSeen ? `it is not exported to ${consumer}` : !hasRules(source, of) ? hasNone : outdone
      return { object: source.ref, why }
    })
}

/** An address as a text for people, or that it is whatever DNS says. */
export function dialledText({ address }: Dialled): string {
  return address === null ? 'whatever address its name has' : addressText(address)
}
