// The ways that the requests of connections went lately: the cells they are counted in and what their records say of the way,
// worked out once a way and found again by what it is made of.

import { addressText } from '../model/address.ts'
import type { Backends } from '../model/backends.ts'
import type { RuleRef } from '../model/snapshot.ts'
import type { Endpoint, Service } from '../model/service.ts'
import type { Workload } from '../model/workload.ts'
import type { Edge } from './cells.ts'
import { BLACK_HOLE, type Edges, type Pair, PASSTHROUGH } from './edges.ts'
import type { Direction, Reached } from './ledger.ts'
import { CoursePart } from './record.ts'

/** Ways that are remembered together; the oldest goes for a new one. */
const KEPT = 16
/** Of a pod: callers and services whose connections share their ways. */
const SHARED = 64

/** What a way is made of. */
export interface Going {
  readonly reached: Reached | null
  readonly backends: Backends | null
  readonly rule: RuleRef | null
  readonly service: Service | null
  /** Went nowhere: nothing in the mesh stands there, and only what it knows is reached. */
  readonly isKept: boolean
}

export interface Course extends Going {
  readonly protocol: Pair['protocol']
  readonly edges: readonly Edge[]
  readonly fields: CoursePart
}

/** What connections have in common that share their ways. */
export interface Traveller {
  readonly direction: Direction
  readonly pod: Workload | null
  readonly caller: Workload | null
  readonly principal: string | null
  readonly isSecured: boolean
  /** The service dialled, or the one that the pod dialled stands behind. */
  readonly service: Service | null
}

/** The ways of connections that differ in nothing that their ways are made of: most of a pod's to one service. */
export class SharedCourses {
  readonly #edges: Edges
  readonly #byPod = new Map<Workload | null, Courses[]>()
  #epoch = 0

  constructor(edges: Edges) {
    this.#edges = edges
  }

  of(traveller: Traveller): Courses {
    const { direction, service, pod } = traveller
    // to what is no service there are as many ways as addresses
    if (direction === 'outbound' && service === null) return new Courses(this.#edges, traveller)
    const { epoch } = this.#edges
    if (epoch !== this.#epoch) {
      this.#epoch = epoch
      this.#byPod.clear()
    }
    let all = this.#byPod.get(pod)
    if (all === undefined) this.#byPod.set(pod, (all = []))
    const known = all.find((each) => each.isOf(traveller))
    if (known !== undefined) return known
    const courses = new Courses(this.#edges, traveller)
    if (all.length === SHARED) all.shift()
    all.push(courses)
    return courses
  }
}

export class Courses {
  readonly #edges: Edges
  readonly #traveller: Traveller
  readonly #known: Course[] = []
  #oldest = 0
  #epoch = 0

  constructor(edges: Edges, { direction, pod, caller, principal, isSecured, service }: Traveller) {
    this.#edges = edges
    this.#traveller = { direction, pod, caller, principal, isSecured, service } // as it is now
  }

  /** Whether this one's ways are these. */
  isOf({ direction, pod, caller, principal, isSecured, service }: Traveller): boolean {
    const mine = this.#traveller
    return (
      mine.direction === direction &&
      mine.pod === pod &&
      mine.caller === caller &&
      mine.principal === principal &&
      mine.isSecured === isSecured &&
      mine.service === service
    )
  }

  of(going: Going, protocol: Pair['protocol']): Course {
    const { epoch } = this.#edges
    if (epoch !== this.#epoch) {
      this.#epoch = epoch
      this.#known.length = 0 // edges and names may be others now, and what they came from is not to be kept alive
    }
    for (const course of this.#known) if (course.protocol === protocol && isSame(course, going)) return course
    const course = this.#lookUp(going, protocol)
    if (this.#known.length < KEPT) this.#known.push(course)
    else this.#known[this.#oldest++ % KEPT] = course
    return course
  }

  #lookUp(going: Going, protocol: Pair['protocol']): Course {
    const { direction, caller, principal, isSecured, pod } = this.#traveller
    const { reached, backends, rule, service, isKept } = going
    const isInbound = direction === 'inbound'
    const edges = this.#edges.of({
      caller,
      callee: reached?.callee ?? (isInbound ? pod : null),
      endpoint: reached?.endpoint ?? null,
      service,
      isKept,
      principals: { caller: principal, callee: reached?.principal ?? null },
      isSecured,
      reporters: isInbound ? 'destination' : reached?.both === true ? 'both' : 'source',
      protocol,
    })
    const fields = new CoursePart({
      upstream_host: reached === null ? null : addressText(reached.endpoint.address),
      upstream_cluster: clusterName(direction, going),
      route_name: rule === null ? unruled(direction, going, protocol) : rule.rule || rule.object.name,
      weft_destination_workload: reached?.callee?.owner ?? null,
    })
    return { reached, backends, rule, service, isKept, protocol, edges, fields }
  }
}

/** By identity where that is kept from request to request, else by what is told of it. */
function isSame(a: Going, b: Going): boolean {
  return (
    isSameReached(a.reached, b.reached) &&
    a.service === b.service &&
    a.isKept === b.isKept &&
    isSameBackends(a.backends, b.backends) &&
    isSameRule(a.rule, b.rule)
  )
}

function isSameReached(a: Reached | null, b: Reached | null): boolean {
  if (a === null || b === null) return a === b
  return (
    isSameEndpoint(a.endpoint, b.endpoint) && a.callee === b.callee && a.principal === b.principal && a.both === b.both
  )
}

/** That of an address without a service is made anew each time. */
function isSameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a === b || (a.address.port === b.address.port && a.address.ip === b.address.ip)
}

function isSameBackends(a: Backends | null, b: Backends | null): boolean {
  if (a === null || b === null || a === b) return a === b
  return a.port === b.port && a.host === b.host && a.subset === b.subset
}

function isSameRule(a: RuleRef | null, b: RuleRef | null): boolean {
  if (a === null || b === null || a === b) return a === b
  return a.object === b.object && a.rule === b.rule
}

/** Envoy's name for a set of backends as Istio sets it up, which its tools read. */
function clusterName(direction: Direction, { backends, isKept }: Going): string | null {
  if (isKept) return BLACK_HOLE
  if (backends === null) return null
  const { port, subset, host, isUnknown } = backends
  if (isUnknown && direction === 'outbound') return PASSTHROUGH
  return `${direction}|${port}|${subset ?? ''}|${direction === 'inbound' ? '' : host}`
}

/** Istio's name for what becomes of a request that no rule speaks of: of one to a service it has none. */
function unruled(direction: Direction, { backends, isKept }: Going, protocol: Pair['protocol']): string | null {
  if (protocol === 'tcp') return null
  if (isKept) return 'block_all'
  return direction === 'outbound' && backends?.isUnknown === true ? 'allow_any' : null
}
