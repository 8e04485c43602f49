// Where pods are that the container runtime has told of (CNI) and that have no process yet, or no address in their status:
// a second source beside their cgroups, believed because only the runtime can speak there. Each holds a descriptor of the
// pod's network namespace.

import { closeSync, fstatSync, openSync } from 'node:fs'
import type { Found } from '../kernel/discover.ts'
import type { Find } from '../kernel/reconcile.ts'
import type { Workload } from '../model/workload.ts'

/** Places kept at once; the oldest goes. More pods than a node can have. */
export const PLACES_MAX = 1024

/** What the runtime tells of a pod. */
export interface Place {
  /** The sandbox. */
  readonly containerId: string
  /** The addresses that it was given, canonical. */
  readonly ips: readonly string[]
  /** fd of its network namespace; the caller's, a second one is kept. */
  readonly netns: number
}

/** Places by uid. */
export class Places {
  readonly #places = new Map<string, Place>()

  has(uid: string): boolean {
    return this.#places.has(uid)
  }

  get size(): number {
    return this.#places.size
  }

  /** The newest counts: a pod's sandbox may be made anew. Throws what fs throws. */
  put(uid: string, place: Place): void {
    const kept = { ...place, netns: reopen(place.netns) }
    this.drop(uid)
    this.#places.set(uid, kept)
    for (const oldest of this.#places.keys()) {
      if (this.#places.size <= PLACES_MAX) break
      this.drop(oldest)
    }
  }

  /** Forgets it. With a sandbox only where it is that one's: another may have come before this one's end was told. */
  drop(uid: string, containerId?: string): void {
    const place = this.#places.get(uid)
    if (place === undefined || (containerId !== undefined && place.containerId !== containerId)) return
    this.#places.delete(uid)
    closeSync(place.netns)
  }

  keepOnly(uids: ReadonlySet<string>): void {
    for (const uid of this.#places.keys()) if (!uids.has(uid)) this.drop(uid)
  }

  /** The pod, with the addresses that it was given while its status has none. */
  placed(pod: Workload): Workload {
    const place = pod.ips.length > 0 ? undefined : this.#places.get(pod.uid)
    return place === undefined ? pod : { ...pod, ips: place.ips }
  }

  /**
   * Finds pods by `find`, and those that have a place there. A place is forgotten once a process of the pod was found in
   * it, and its status has the address: from then on the cgroup says it all.
   */
  find(find: Find, isAddressed: (uid: string) => boolean): Find {
    return (uids) => {
      const found = new Map(find(uids))
      for (const uid of uids) {
        const place = this.#places.get(uid)
        if (place === undefined) continue
        const byProcess = found.get(uid)
        if (byProcess?.found && isSame(byProcess.netns, place.netns)) {
          if (isAddressed(uid)) this.drop(uid)
          continue
        }
        // what is left of a sandbox before this one
        if (byProcess?.found) closeSync(byProcess.netns)
        found.set(uid, { found: true, netns: reopen(place.netns), pid: 0 } satisfies Found)
      }
      return found
    }
  }

  close(): void {
    for (const uid of this.#places.keys()) this.drop(uid)
  }
}

const reopen = (fd: number): number => openSync(`/proc/self/fd/${fd}`, 'r')

function isSame(one: number, other: number): boolean {
  const [a, b] = [fstatSync(one), fstatSync(other)]
  return a.ino === b.ino && a.dev === b.dev
}
