// The pods of the whole cluster that run and joined the mesh, from their metadata alone: what statuses are told by.

import { isDeepStrictEqual } from 'node:util'
import type { JoinedPod } from '../model/conflict.ts'
import { builtIn } from './kinds.ts'
import type { KubeObject, Metadata } from './object.ts'
import type { ObjectChange, ReflectorSource } from './reflector.ts'
import { meshWish, remoteWorkload } from './workload.ts'

/** Pods that run. One that waits or has ended is dialled by nobody, and its metadata does not say so. */
export const RUNNING_PODS: ReflectorSource = builtIn('running pods', '/api/v1/pods', {
  query: { fieldSelector: 'status.phase=Running' },
  metadataOnly: true,
})

/** Kept up to date pod by pod, because a pod's metadata changes with each of its statuses. */
export class JoinedPods {
  readonly #namespaces = new Map<string, Metadata>()
  /** All that run, by uid. */
  readonly #running = new Map<string, KubeObject>()
  readonly #joined = new Map<string, JoinedPod>()
  #values: readonly JoinedPod[] = []

  /** The same array as long as none of them changed. */
  get values(): readonly JoinedPod[] {
    return this.#values
  }

  /** Returns whether there is another pod, or something other of one. */
  takePods(changes: readonly ObjectChange[]): boolean {
    for (const { before, after } of changes) {
      if (before !== null) this.#running.delete(before.metadata.uid)
      if (after !== null) this.#running.set(after.metadata.uid, after)
    }
    return this.#read(changes.flatMap(({ before, after }) => (after ?? before)?.metadata.uid ?? []))
  }

  /** Returns as takePods(). */
  takeNamespaces(changes: readonly ObjectChange[]): boolean {
    const names = new Set<string>()
    for (const { before, after } of changes) {
      const name = (after ?? before)?.metadata.name ?? ''
      if (after === null) this.#namespaces.delete(name)
      else this.#namespaces.set(name, after.metadata)
      if (wishOf(before) !== wishOf(after)) names.add(name)
    }
    if (names.size === 0) return false
    const theirs = [...this.#running].filter(([, { metadata }]) => names.has(metadata.namespace ?? ''))
    return this.#read(theirs.map(([uid]) => uid))
  }

  #read(uids: readonly string[]): boolean {
    let isOther = false
    for (const uid of uids) {
      const now = this.#fresh(uid)
      if (isDeepStrictEqual(now, this.#joined.get(uid))) continue
      isOther = true
      if (now === undefined) this.#joined.delete(uid)
      else this.#joined.set(uid, now)
    }
    if (isOther) this.#values = [...this.#joined.values()]
    return isOther
  }

  /** The pod as callers see it; undefined where it did not join, or goes. */
  #fresh(uid: string): JoinedPod | undefined {
    const pod = this.#running.get(uid)
    if (pod === undefined) return undefined
    const seen = remoteWorkload(pod, this.#namespaces.get(pod.metadata.namespace ?? ''))
    const { namespace, name, labels, captured } = seen
    return seen.joined && !seen.terminating ? { namespace, name, labels, captured } : undefined
  }
}

function wishOf(namespace: KubeObject | null): string | null {
  return namespace === null ? null : meshWish(namespace.metadata)
}
