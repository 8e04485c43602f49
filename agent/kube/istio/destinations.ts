// Where a rule sends, and for which gateways it is: what rules of HTTP, TLS and TCP share.

import type { Destination, WeightedDestination } from '../../model/policy.ts'
import type { GivenDestination, GivenRoute } from '../istio.ts'
import { Rejected } from '../translate.ts'
import { demandDomain, dnsLabel, optional, port, type Reading } from './checked.ts'
import { headerRules } from './headers.ts'

/** The gateway name that stands for traffic between workloads. */
export const MESH_GATEWAY = 'mesh'

/** The entries of a rule's `match` that are for the mesh, with their paths; null where all are for other gateways. */
export function entriesForMesh<T extends { readonly gateways?: readonly string[] }>(
  match: readonly T[] | undefined,
  path: string,
): readonly { readonly match: T; readonly path: string }[] | null {
  const entries = (match ?? []).map((one, index) => ({ match: one, path: `${path}.match[${index}]` }))
  const forMesh = entries.filter(({ match: { gateways } }) => !gateways?.length || gateways.includes(MESH_GATEWAY))
  return entries.length > 0 && forMesh.length === 0 ? null : forMesh
}

export function destination(given: GivenDestination, path: string, { resolve }: Reading): Destination {
  if (given.host === '*') throw new Rejected(`${path}.host`, 'must name a host')
  demandDomain(given.host, `${path}.host`)
  if (given.port !== undefined && given.port.number === undefined) {
    throw new Rejected(`${path}.port.number`, 'is required')
  }
  return {
    host: resolve(given.host),
    subset: given.subset ? dnsLabel(given.subset, `${path}.subset`) : null,
    port: optional(given.port?.number, `${path}.port.number`, port),
  }
}

/** Weights that are not given are 0; several destinations need one that is not, or nothing could be sent (as Istio). */
export function destinations(
  route: readonly GivenRoute[] | undefined,
  path: string,
  reading: Reading,
): WeightedDestination[] {
  const given = route ?? []
  if (given.length === 0) throw new Rejected(path, 'a rule needs a route')
  const negative = given.findIndex(({ weight = 0 }) => weight < 0)
  if (negative >= 0) throw new Rejected(`${path}[${negative}].weight`, 'must not be negative')
  const isNone = given.every(({ weight = 0 }) => weight === 0)
  if (given.length > 1 && isNone) throw new Rejected(path, 'the weights of several destinations are all 0')
  return given.map(({ destination: to, weight, headers }, index) => ({
    ...destination(to, `${path}[${index}].destination`, reading),
    weight: weight ?? 0,
    headers: optional(headers, `${path}[${index}].headers`, headerRules),
  }))
}
