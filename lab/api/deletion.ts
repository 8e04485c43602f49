// What deleting means before an object is gone: grace periods of pods, finalizers, namespaces that empty first. Pure.
// Source: Kubernetes documentation "Pod Lifecycle: termination", "Finalizers", "Garbage Collection".
import { copyOf, timestamp } from './object.ts'
import type { KubeObject } from './object.ts'
import type { ResourceType } from './resources.ts'

const DEFAULT_GRACE_SECONDS = 30
const PROPAGATION_FINALIZERS = { Foreground: 'foregroundDeletion', Orphan: 'orphan', Background: null } as const

export interface DeletionOrder {
  readonly now: Date
  readonly graceSeconds: number
  readonly propagationPolicy?: keyof typeof PROPAGATION_FINALIZERS | undefined
}

/**
 * Seconds an object may still live. Only pods that a kubelet runs have any; a later, shorter period wins over an
 * earlier one, a longer one does not.
 */
export function graceOf(type: ResourceType, object: KubeObject, asked: number | undefined): number {
  if (type.key !== 'pods' || !object.spec.nodeName) return 0
  if (object.status?.phase === 'Succeeded' || object.status?.phase === 'Failed') return 0
  const wanted = Math.max(0, asked ?? object.spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS)
  return Math.min(wanted, object.metadata.deletionGracePeriodSeconds ?? Infinity)
}

/** The object with its deletion asked for. */
export function markDeleted(type: ResourceType, object: KubeObject, order: DeletionOrder): KubeObject {
  const marked = copyOf(object)
  const { metadata } = marked
  const isFirst = metadata.deletionTimestamp === undefined
  if (isFirst || metadata.deletionGracePeriodSeconds !== order.graceSeconds) {
    const since = isFirst ? order.now.getTime() : askedAt(object)
    metadata.deletionTimestamp = timestamp(new Date(since + order.graceSeconds * 1000))
    metadata.deletionGracePeriodSeconds = order.graceSeconds
    if (isFirst && metadata.generation !== undefined) metadata.generation++
  }
  const finalizer = PROPAGATION_FINALIZERS[order.propagationPolicy ?? 'Background']
  if (isFirst && finalizer !== null && !metadata.finalizers?.includes(finalizer)) {
    metadata.finalizers = [...(metadata.finalizers ?? []), finalizer]
  }
  if (type.key === 'namespaces') marked.status = { ...marked.status, phase: 'Terminating' }
  return marked
}

function askedAt({ metadata }: KubeObject): number {
  return Date.parse(metadata.deletionTimestamp ?? '') - (metadata.deletionGracePeriodSeconds ?? 0) * 1000
}

/** True when nothing holds the object back any more: its deletion was asked for, no grace and no finalizer is left. */
export function released(object: KubeObject): boolean {
  const { deletionTimestamp, deletionGracePeriodSeconds = 0, finalizers = [] } = object.metadata
  if (deletionTimestamp === undefined || deletionGracePeriodSeconds > 0 || finalizers.length > 0) return false
  return object.kind !== 'Namespace' || object.apiVersion !== 'v1' || !object.spec?.finalizers?.length
}
