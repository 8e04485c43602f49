// Which endpoints come first by where they are: pure, worked out once for each set of endpoints of a snapshot.
//
// As Istio has it: shares by locality (`distribute`) hold always; an order (`failover`, `failoverPriority`, and without
// any word the nearest first) holds where outliers are detected, for else nobody would ever learn that the next are to be
// asked. A Service's own `trafficDistribution` is an order too, where no DestinationRule speaks of localities.

import type { HostPolicy } from '../destination.ts'
import {
  distance,
  HOSTNAME,
  isKnown,
  isWithin,
  type Locality,
  localityText,
  NOWHERE_KNOWN,
  placeOf,
  REGION,
  SUBZONE,
  ZONE,
} from './locality.ts'
import type { Endpoint, Service } from '../service.ts'
import type { LocalityPreference } from '../traffic-policy.ts'
import type { Workload } from '../workload.ts'

/** Endpoints that are alike to a caller. */
export interface Group {
  /** 0: asked first. No number between is left out. */
  readonly priority: number
  /** Where they are: the pattern of a rule, or their localities; '' where that is not known. */
  readonly locality: string
  /** Its share beside the groups of the same priority. */
  readonly weight: number
  /** At least one. */
  readonly endpoints: readonly Endpoint[]
}

/** Who asks, and who runs at an endpoint. */
export interface Ground {
  readonly caller: Workload | null
  /** The node the caller is on. */
  readonly node: string
  /** Where that is. */
  readonly locality: Locality
  readonly workloadOf: (endpoint: Endpoint) => Workload | null
}

/** What is looked at of an end: where it is, and its labels with those of its place. */
interface Seen {
  /** Null where it is not known. */
  readonly locality: Locality | null
  readonly label: (name: string) => string
}

/**
 * The endpoints in groups, or null where all of them are alike. Those that get no share are left out: an empty list where
 * that is all of them.
 */
export function groupsOf(
  endpoints: readonly Endpoint[],
  service: Pick<Service, 'distribution'>,
  policy: Pick<HostPolicy, 'balancing' | 'outliers'>,
  ground: Ground,
): readonly Group[] | null {
  const said = policy.balancing.locality
  if (said !== null && (!said.enabled || (said.distribute.length === 0 && policy.outliers === null))) return null
  if (said === null && service.distribution === null && policy.outliers === null) return null
  const caller = callerSeen(ground)
  const seen = new Map(endpoints.map((endpoint) => [endpoint, endpointSeen(endpoint, ground)]))
  const placeAt = (endpoint: Endpoint): Locality | null => seen.get(endpoint)?.locality ?? null
  if (said !== null && said.distribute.length > 0) return distributed(endpoints, said, caller, placeAt)
  const rankOf = said === null && service.distribution !== null ? nearest(service.distribution) : ordered(said)
  return inOrder(endpoints, (endpoint) => rankOf(caller, seen.get(endpoint) as Seen), placeAt)
}

type Rank = (caller: Seen, endpoint: Seen) => number

/** Ranks of one label or locality that are told apart: one more than the greatest. */
const RANKS = 5

/** By the labels that the rule names, and among those that agree alike by its regions. */
function ordered(said: LocalityPreference | null): Rank {
  const { failoverPriority: labels = [], failover = [] } = said ?? {}
  if (labels.length === 0) return byDistance(failover)
  const byLabels = agreeing(labels)
  if (failover.length === 0) return byLabels
  const within = byDistance(failover)
  return (caller, endpoint) => byLabels(caller, endpoint) * RANKS + within(caller, endpoint)
}

/** The nearest first. Of other regions the one comes first that the caller's is to fail over to. Unknown places are last. */
function byDistance(failover: LocalityPreference['failover']): Rank {
  return (caller, { locality }) => {
    if (caller.locality === null) return 0
    if (locality === null) return RANKS - 1
    const far = distance(caller.locality, locality)
    const to = far < 3 ? undefined : failover.find(({ from }) => from === caller.locality?.region)?.to
    return to === undefined || to === locality.region ? far : RANKS - 1
  }
}

const PLACES: ReadonlySet<string> = new Set([REGION, ZONE, SUBZONE])

/**
 * The more labels in a row, from the first on, agree with the caller's, the sooner. `name=value` stands for a caller that has
 * this value. A label of places that is not known of the caller says nothing.
 */
function agreeing(labels: readonly string[]): Rank {
  return (caller, endpoint) => {
    for (let at = 0; at < labels.length; at++) {
      const [name = '', value] = (labels[at] as string).split('=', 2)
      const wanted = value ?? caller.label(name)
      if (wanted === '' && PLACES.has(name)) continue
      if (wanted !== endpoint.label(name)) return labels.length - at
    }
    return 0
  }
}

/** Istio words a Service's trafficDistribution so. */
function nearest(distribution: NonNullable<Service['distribution']>): Rank {
  return agreeing(distribution === 'zone' ? [REGION, ZONE] : [REGION, ZONE, SUBZONE, HOSTNAME])
}

function inOrder(
  endpoints: readonly Endpoint[],
  rankOf: (endpoint: Endpoint) => number,
  placeAt: (endpoint: Endpoint) => Locality | null,
): readonly Group[] | null {
  const byRank = Map.groupBy(endpoints, rankOf)
  if (byRank.size < 2) return null
  const ranks = [...byRank.keys()].sort((a, b) => a - b)
  return ranks.map((rank, priority): Group => {
    const own = byRank.get(rank) as readonly Endpoint[]
    const places = new Set(own.map((endpoint) => localityText(placeAt(endpoint) ?? NOWHERE_KNOWN)))
    return { priority, locality: [...places].sort().join(), weight: 1, endpoints: own }
  })
}

/** Each locality has the share that the first entry gives which is for the caller's. Where none is, all are alike. */
function distributed(
  endpoints: readonly Endpoint[],
  { distribute }: LocalityPreference,
  { locality: from }: Seen,
  placeAt: (endpoint: Endpoint) => Locality | null,
): readonly Group[] | null {
  const rule = distribute.find((entry) => isWithin(from ?? NOWHERE_KNOWN, entry.from))
  if (rule === undefined) return null
  const left = new Set(endpoints)
  return rule.to.flatMap(({ locality, weight }): Group[] => {
    const own = [...left].filter((endpoint) => isWithin(placeAt(endpoint) ?? NOWHERE_KNOWN, locality))
    for (const endpoint of own) left.delete(endpoint)
    return own.length === 0 || weight <= 0 ? [] : [{ priority: 0, locality, weight, endpoints: own }]
  })
}

function callerSeen({ caller, locality: own, node }: Ground): Seen {
  const place = placeOf(caller, isKnown(own) ? own : null)
  return seenAt(place, node, caller?.labels ?? {})
}

function endpointSeen(endpoint: Endpoint, { workloadOf }: Ground): Seen {
  const workload = workloadOf(endpoint)
  return seenAt(placeOf(workload, endpoint.locality), endpoint.node ?? '', workload?.labels ?? {})
}

/** Istio adds the labels of a place, and the node's name, to a pod's own. */
function seenAt(locality: Locality | null, node: string, labels: Readonly<Record<string, string>>): Seen {
  const { region, zone, subzone } = locality ?? NOWHERE_KNOWN
  const placed: Readonly<Record<string, string>> = { [REGION]: region, [ZONE]: zone, [SUBZONE]: subzone }
  const label = (name: string): string => {
    if (name === HOSTNAME) return node
    return placed[name] || (labels[name] ?? '')
  }
  return { locality, label }
}
