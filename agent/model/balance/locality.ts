// Where nodes and what runs on them are, and how near one is to another: pure.

import type { Workload } from '../workload.ts'

/** A place of the cluster, the largest part first; '' where a part is not known. */
export interface Locality {
  readonly region: string
  readonly zone: string
  readonly subzone: string
}

/** Nothing is known. */
export const NOWHERE_KNOWN: Locality = { region: '', zone: '', subzone: '' }

/** Node labels that say where a node is (Kubernetes, "Well-Known Labels"; Istio, "Locality Load Balancing"). */
export const REGION = 'topology.kubernetes.io/region'
export const ZONE = 'topology.kubernetes.io/zone'
export const SUBZONE = 'topology.istio.io/subzone'
export const HOSTNAME = 'kubernetes.io/hostname'

/** Pod labels that say where a pod is in place of its node; the first that is there counts. */
const OWN_PLACE = ['topology.istio.io/locality', 'istio-locality'] as const

/** The place that labels of a node tell, or null where they tell none. */
export function localityOfLabels(labels: Readonly<Record<string, string>>): Locality | null {
  const found = { region: labels[REGION] ?? '', zone: labels[ZONE] ?? '', subzone: labels[SUBZONE] ?? '' }
  return isKnown(found) ? found : null
}

/** The text of a pod's own label, or null where it has none. */
export function ownPlaceOf({ labels }: Pick<Workload, 'labels'>): string | null {
  for (const name of OWN_PLACE) if (labels[name] !== undefined && labels[name] !== '') return labels[name] ?? null
  return null
}

/** Where a pod is: as its own label says, else where its node is. */
export function placeOf(workload: Pick<Workload, 'labels'> | null, node: Locality | null): Locality | null {
  const own = workload === null ? null : ownPlaceOf(workload)
  return own === null ? node : parseLocality(own)
}

/** Reads `region/zone/subzone`, or as labels have it, which may hold no slash, `region.zone.subzone`. */
export function parseLocality(text: string): Locality {
  const [region = '', zone = '', subzone = ''] = text.split(text.includes('/') ? '/' : '.')
  return { region, zone, subzone }
}

/** `region/zone/subzone` less the parts at its end that are not known. */
export function localityText({ region, zone, subzone }: Locality): string {
  return `${region}/${zone}/${subzone}`.replace(/\/+$/, '')
}

/** Whether a part of it is known. */
export function isKnown({ region, zone, subzone }: Locality): boolean {
  return region !== '' || zone !== '' || subzone !== ''
}

/** Whether a place is within a pattern: `region/zone/subzone`, where `*` and what is left out stand for any. */
export function isWithin(place: Locality, pattern: string): boolean {
  const [region = '', zone = '', subzone = ''] = pattern.split('/')
  const holds = (wanted: string, part: string): boolean => wanted === '*' || wanted === part
  if (!holds(region, place.region)) return false
  return (zone === '' || holds(zone, place.zone)) && (subzone === '' || holds(subzone, place.subzone))
}

/** 0: the same subzone, 1: the same zone, 2: the same region, 3: another region. */
export function distance(one: Locality, other: Locality): 0 | 1 | 2 | 3 {
  if (one.region !== other.region) return 3
  if (one.zone !== other.zone) return 2
  return one.subzone === other.subzone ? 0 : 1
}
