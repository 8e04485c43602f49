// Kubernetes objects as the store holds them: plain JSON, deeply frozen once written.
// Source: Kubernetes API conventions, "Objects" and "Metadata".
import type { ManagedFieldsEntry } from './apply/managed.ts'

export interface OwnerReference {
  readonly apiVersion: string
  readonly kind: string
  readonly name: string
  readonly uid: string
  readonly controller?: boolean
  readonly blockOwnerDeletion?: boolean
}

export interface ObjectMeta {
  name: string
  generateName?: string
  /** Absent on cluster-scoped objects. */
  namespace?: string
  uid: string
  /** Decimal, one counter for the whole store; grows with each write. */
  resourceVersion: string
  /** Counts changes of the desired state; absent on kinds that have none. */
  generation?: number
  /** RFC 3339, whole seconds. */
  creationTimestamp: string
  deletionTimestamp?: string
  deletionGracePeriodSeconds?: number
  labels?: Record<string, string>
  annotations?: Record<string, string>
  ownerReferences?: OwnerReference[]
  finalizers?: string[]
  /** Only on objects that were applied server-side. */
  managedFields?: ManagedFieldsEntry[]
}

export interface KubeObject {
  apiVersion: string
  kind: string
  metadata: ObjectMeta
  spec?: any
  status?: any
  [field: string]: any
}

/** What a client sends: the server fills in the rest. */
export interface ObjectDraft {
  apiVersion?: string
  kind?: string
  metadata: Partial<ObjectMeta>
  spec?: any
  status?: any
  [field: string]: any
}

/** True for a JSON object: not null, not an array. */
export function isRecord(value: unknown): value is Record<string, any> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A deep, mutable copy of plain JSON. Members that are undefined are left out. */
export function copyOf<T>(value: T): T {
  if (Array.isArray(value)) return value.map(copyOf) as T
  if (!isRecord(value)) return value
  const copy: Record<string, unknown> = {}
  for (const key of Object.keys(value)) {
    if (value[key] !== undefined) setMember(copy, key, copyOf(value[key]))
  }
  return copy as T
}

/** Sets an own member, also one that is called `__proto__`: keys come from request bodies. */
export function setMember(target: Record<string, unknown>, key: string, value: unknown): void {
  if (key === '__proto__') {
    Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true })
  } else target[key] = value
}

/** Sets each member that is absent or null. */
export function fill(target: Record<string, any>, defaults: Record<string, unknown>): void {
  for (const [field, value] of Object.entries(defaults)) target[field] ??= value
}

/** Freezes a tree of plain JSON and returns it. Parts already frozen are taken as frozen all the way down. */
export function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const member of Object.values(value)) freeze(member)
  }
  return value
}

/** Deep equality of plain JSON; the order of members does not matter. */
export function sameJson(left: unknown, right: unknown): boolean {
  if (left === right) return true
  if (Array.isArray(left)) {
    return Array.isArray(right) && left.length === right.length && left.every((item, at) => sameJson(item, right[at]))
  }
  if (!isRecord(left) || !isRecord(right)) return false
  const keys = Object.keys(left).filter((key) => left[key] !== undefined)
  return (
    keys.length === Object.keys(right).filter((key) => right[key] !== undefined).length &&
    keys.every((key) => Object.hasOwn(right, key) && sameJson(left[key], right[key]))
  )
}

/** RFC 3339 with whole seconds, the form of metav1.Time. */
export function timestamp(date: Date): string {
  return date.toISOString().slice(0, 19) + 'Z'
}
