// Where the nodes of the cluster are, by their labels.

import {
  HOSTNAME,
  isKnown,
  type Locality,
  localityOfLabels,
  NOWHERE_KNOWN,
  REGION,
  SUBZONE,
  ZONE,
} from '../model/balance/locality.ts'
import type { KubeObject } from './object.ts'
import type { ObjectChange } from './reflector.ts'

/** The labels that are looked at. */
const LABELS = [REGION, ZONE, SUBZONE, HOSTNAME] as const

/** What is kept of a Node: a large cluster has thousands, and each is told of every few minutes. */
export function bareNode({ metadata }: KubeObject): KubeObject {
  const { uid, name, resourceVersion, labels = {} } = metadata
  const own = LABELS.flatMap((label) => (labels[label] === undefined ? [] : [[label, labels[label]] as const]))
  return { metadata: { uid, name, resourceVersion, labels: Object.fromEntries(own) } }
}

export class NodeList {
  readonly #places = new Map<string, Locality>()

  /** Returns the names of the nodes that are elsewhere now. */
  take(changes: readonly ObjectChange[]): ReadonlySet<string> {
    const moved = new Set<string>()
    for (const { before, after } of changes) {
      const name = (after ?? before)?.metadata.name ?? ''
      const was = this.#places.get(name)
      const is = after === null ? null : localityOfLabels(after.metadata.labels ?? {})
      if (is === null) this.#places.delete(name)
      else this.#places.set(name, is)
      if (textOf(was ?? null) !== textOf(is)) moved.add(name)
    }
    return moved
  }

  /** Where a node is. Where nothing is known of it, what its endpoints say of their zone; null where that is nothing too. */
  localityOf(node: string | null, zone: string): Locality | null {
    const place = node === null ? undefined : this.#places.get(node)
    if (place !== undefined) return place
    return zone === '' ? null : { ...NOWHERE_KNOWN, zone }
  }
}

function textOf(place: Locality | null): string {
  return place === null || !isKnown(place) ? '' : JSON.stringify([place.region, place.zone, place.subzone])
}
