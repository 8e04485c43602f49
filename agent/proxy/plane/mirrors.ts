// Copies of requests now under way, by the pod whose requests they are: bounded, and ended with their pod or the worker.

import type { MeshError } from '../../model/failure.ts'

/** Copies of one pod's requests under way at once through this worker. */
export const MIRRORS_PER_POD = 128

interface Stoppable {
  stop(reason: MeshError): void
}

export class Mirrors {
  readonly #ofPods = new Map<object, Set<Stoppable>>()

  /** Takes one in, unless its pod has as many as it may. */
  enter(pod: object, mirror: Stoppable): boolean {
    let own = this.#ofPods.get(pod)
    if (own === undefined) this.#ofPods.set(pod, (own = new Set()))
    if (own.size >= MIRRORS_PER_POD) return false
    own.add(mirror)
    return true
  }

  leave(pod: object, mirror: Stoppable): void {
    const own = this.#ofPods.get(pod)
    own?.delete(mirror)
    if (own?.size === 0) this.#ofPods.delete(pod)
  }

  /** Ends those of a pod. */
  stopPod(pod: object, reason: MeshError): void {
    for (const mirror of [...(this.#ofPods.get(pod) ?? [])]) mirror.stop(reason)
  }

  /** Ends all. */
  stop(reason: MeshError): void {
    for (const pod of [...this.#ofPods.keys()]) this.stopPod(pod, reason)
  }
}
