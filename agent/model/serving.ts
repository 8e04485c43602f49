// Which endpoints serve: as kube-proxy chooses them, and whether one of them has left since.

import { familyOf, ipIn, type IpFamily } from './address.ts'
import { type Endpoint, nameOf, type Service, type ServicePort } from './service.ts'
import type { Snapshot } from './snapshot.ts'

/** Which of a port's endpoints are asked for. */
export interface Wanted {
  readonly family: IpFamily
  /** Only endpoints of this Kubernetes node count; null for those of every node. */
  readonly onlyNode: string | null
}

/** The endpoints of a service's port that serve: of one family, and of one node where only that is wanted. */
export function serving(service: Service, port: ServicePort, { family, onlyNode }: Wanted): readonly Endpoint[] {
  return usable(
    port.endpoints.filter(
      ({ address, node }) => familyOf(address.ip) === family && (onlyNode === null || node === onlyNode),
    ),
    service.publishNotReady,
  )
}

/** The endpoint of a port at an address (`ip:port`), whatever its state. */
export function endpointAt(port: ServicePort, address: string): Endpoint | undefined {
  return booksOf(port).all.get(address)
}

/**
 * Whether no idle connection is to be kept to an endpoint (`ip:port`) that was gone to by one snapshot, as a later one has
 * it: it ends, is not ready, or is no endpoint any more. One that ends and is the last to serve is still gone to, but waits
 * for its connections to end. What never stood behind a service leaves with its pod alone.
 */
export function hasLeft(before: Snapshot, after: Snapshot, endpoint: string): boolean {
  if (after.workloadByIp.get(ipIn(endpoint))?.terminating === true) return true
  const serves = serveState(after, endpoint)
  return serves === 'no' || (serves === 'unknown' && serveState(before, endpoint) !== 'unknown')
}

function serveState(snapshot: Snapshot, endpoint: string): 'yes' | 'no' | 'unknown' {
  const places = snapshot.servicesByEndpoint.get(endpoint)
  if (places === undefined) return 'unknown'
  if (places.some(({ port }) => endpointAt(port, endpoint)?.terminating === true)) return 'no'
  return places.some(({ service, port }) => servingNames(service, port).has(endpoint)) ? 'yes' : 'no'
}

/** What is worked out once of a port, which is never changed: its endpoints by `ip:port`, and which of them serve. */
interface Books {
  readonly all: ReadonlyMap<string, Endpoint>
  serving: ReadonlySet<string> | null
}

const BOOKS = new WeakMap<ServicePort, Books>()

function booksOf(port: ServicePort): Books {
  let books = BOOKS.get(port)
  if (books === undefined) {
    books = { all: new Map(port.endpoints.map((endpoint) => [nameOf(endpoint), endpoint])), serving: null }
    BOOKS.set(port, books)
  }
  return books
}

function servingNames(service: Service, port: ServicePort): ReadonlySet<string> {
  const books = booksOf(port)
  if (books.serving === null) {
    const endpoints = ([4, 6] as const).flatMap((family) => serving(service, port, { family, onlyNode: null }))
    books.serving = new Set(endpoints.map(nameOf))
  }
  return books.serving
}

/** Ready endpoints; where none is, those that terminate but still serve (as kube-proxy does, for each family by itself). */
function usable(endpoints: readonly Endpoint[], publishNotReady: boolean): readonly Endpoint[] {
  if (publishNotReady) return endpoints
  const ready = endpoints.filter((endpoint) => endpoint.ready)
  return ready.length > 0 ? ready : endpoints.filter((endpoint) => endpoint.serving && endpoint.terminating)
}
