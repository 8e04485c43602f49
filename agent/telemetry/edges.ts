// Who stands at the two ends, as label values; worked out once a pair and snapshot.

import type { Endpoint, Service } from '../model/service.ts'
import { readSpiffeUri } from '../model/spiffe.ts'
import { canonicalName, canonicalRevision, type Workload } from '../model/workload.ts'
import type { Cells, Edge } from './cells.ts'

/** Istio's names for what nothing in the mesh stands for: passed through, or kept in. */
export const PASSTHROUGH = 'PassthroughCluster'
export const BLACK_HOLE = 'BlackHoleCluster'
const UNKNOWN = 'unknown'
/** Istio's name for the one cluster of a mesh. */
const CLUSTER = 'Kubernetes'
/** Pairs looked up; beyond, all are forgotten and looked up anew. */
const KNOWN_LIMIT = 20_000

/** Two ends of a request or connection. */
export interface Pair {
  readonly caller: Workload | null
  readonly callee: Workload | null
  /** The identities that were proved of the two ends, as URIs. */
  readonly principals: { readonly caller: string | null; readonly callee: string | null }
  /** Whether it came to this node by the mesh's TLS. */
  readonly isSecured: boolean
  /** What was picked, null where nothing was. */
  readonly endpoint: Endpoint | null
  readonly service: Service | null
  /** Went nowhere: nothing in the mesh stands there, and only what it knows is reached. */
  readonly isKept: boolean
  /** Who reports: the caller's end, the callee's, or both at once where both are on this node. */
  readonly reporters: 'source' | 'destination' | 'both'
  readonly protocol: 'http' | 'tcp'
}

interface Known {
  readonly pair: Pair
  readonly edges: readonly Edge[]
}

/** Finds the cells of a pair. */
export class Edges {
  readonly #cells: Cells
  #known = new Map<Workload | null, Map<Workload | Service | null, Known[]>>()
  #count = 0
  #letGo = 0
  #forgotten = 0

  constructor(cells: Cells) {
    this.#cells = cells
  }

  /** Forgets what was looked up: labels may have changed. What was counted stays. */
  forget(): void {
    this.#known = new Map()
    this.#count = 0
    this.#forgotten++
  }

  /** Changes whenever edges that were looked up are to be looked up anew. */
  get epoch(): number {
    return this.#forgotten + this.#cells.letGo
  }

  /** One edge a reporter. */
  of(pair: Pair): readonly Edge[] {
    if (this.#letGo !== this.#cells.letGo) {
      this.#letGo = this.#cells.letGo
      this.forget()
    }
    let byCaller = this.#known.get(pair.caller)
    if (byCaller === undefined) this.#known.set(pair.caller, (byCaller = new Map<Workload | Service | null, Known[]>()))
    const place = pair.callee ?? pair.service // not the endpoint: that of an address without a service is made anew each time
    let list = byCaller.get(place)
    if (list === undefined) byCaller.set(place, (list = []))
    for (const known of list) if (samePair(known.pair, pair)) return known.edges
    if (++this.#count > KNOWN_LIMIT) this.forget()
    const reporters = pair.reporters === 'both' ? (['source', 'destination'] as const) : [pair.reporters]
    const pods = { caller: pair.caller?.uid, callee: pair.callee?.uid }
    const edges = reporters.map((reporter) => this.#cells.edge(labelsOf(pair, reporter), pods))
    list.push({ pair, edges })
    return edges
  }
}

/** Whether two pairs have the same edges. */
function samePair(a: Pair, b: Pair): boolean {
  return (
    a.caller === b.caller &&
    a.service === b.service &&
    a.callee === b.callee &&
    a.principals.caller === b.principals.caller &&
    a.principals.callee === b.principals.callee &&
    a.isSecured === b.isSecured &&
    a.reporters === b.reporters &&
    a.protocol === b.protocol &&
    a.isKept === b.isKept &&
    (a.endpoint === null) === (b.endpoint === null)
  )
}

function labelsOf(pair: Pair, reporter: string): string[] {
  const { caller, callee, principals, service, protocol, isSecured } = pair
  return [
    reporter,
    ...endLabels(caller, principals.caller),
    ...endLabels(callee, principals.callee),
    service?.host ?? UNKNOWN,
    service?.name ?? nameWithoutService(pair),
    service?.namespace ?? callee?.namespace ?? UNKNOWN,
    reporter === 'source' ? UNKNOWN : isSecured ? 'mutual_tls' : 'none', // only the callee's end can say how it was reached
    protocol,
  ]
}

/** Istio names the cluster; the Host that was asked for is in the record alone: label values never come from requests. */
function nameWithoutService({ callee, endpoint, isKept }: Pair): string {
  if (isKept) return BLACK_HOLE
  if (callee !== null) return canonicalName(callee)
  return endpoint === null ? UNKNOWN : PASSTHROUGH
}

/** workload, namespace, canonical service and revision, principal, app, version, cluster. */
function endLabels(workload: Workload | null, principal: string | null): string[] {
  if (workload === null) {
    const namespace = principal === null ? undefined : readSpiffeUri(principal)?.namespace
    return [UNKNOWN, namespace ?? UNKNOWN, UNKNOWN, UNKNOWN, principal ?? UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]
  }
  return [
    workload.owner,
    workload.namespace,
    canonicalName(workload),
    canonicalRevision(workload),
    principal ?? UNKNOWN,
    workload.labels['app'] ?? UNKNOWN,
    workload.labels['version'] ?? UNKNOWN,
    CLUSTER,
  ]
}
