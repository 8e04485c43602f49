// Requests of the mesh's own that are under way, copies or questions, by the pod that they are made for: bounded, and ended
// with their pod or the worker.

import type { MeshError } from '../../model/failure.ts'

/** Copies of one pod's requests that are under way at once through this worker. */
export const MIRRORS_PER_POD = 128

interface Stoppable {
  stop(reason: MeshError): void
}

export class SideRequests {
  readonly #most: number
  readonly #ofPods = new Map<object, Set<Stoppable>>()

  /** `most`: of one pod at once. */
  constructor(most: number) {
    this.#most = most
  }

  /** How many are under way. */
  get size(): number {
    return [...this.#ofPods.values()].reduce((sum, { size }) => sum + size, 0)
  }

  /** Takes one in, unless its pod has as many as it may. */
  enter(pod: object, request: Stoppable): boolean {
    const own = this.#ofPods.get(pod) ?? new Set()
    if (own.size >= this.#most) return false
    this.#ofPods.set(pod, own.add(request))
    return true
  }

  leave(pod: object, request: Stoppable): void {
    const own = this.#ofPods.get(pod)
    own?.delete(request)
    if (own?.size === 0) this.#ofPods.delete(pod)
  }

  /** Ends those of a pod. */
  stopPod(pod: object, reason: MeshError): void {
    for (const request of [...(this.#ofPods.get(pod) ?? [])]) request.stop(reason)
  }

  /** Ends all. */
  stop(reason: MeshError): void {
    for (const pod of [...this.#ofPods.keys()]) this.stopPod(pod, reason)
  }
}
