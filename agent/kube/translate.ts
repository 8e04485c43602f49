// What all translations of policies share: the result's shape, validation by schema, hosts and namespaces resolved.

import type { Problem } from '../model/policy.ts'
import type { ObjectRef } from '../model/workload.ts'
import type { KubeObject } from './object.ts'

/** A translated object, or null where it has nothing to say to the mesh; and all that is to be said of it. */
export interface Translation<T> {
  readonly value: T | null
  /** Whether the object is unsound: the last good one stays in force. */
  readonly rejected: boolean
  readonly problems: readonly Problem[]
}

/** Why an object cannot be in force: the first field that is wrong, and what is wrong with it. */
export class Rejected extends Error {
  readonly field: string
  constructor(field: string, reason: string) {
    super(reason)
    this.name = 'Rejected'
    this.field = field
  }
}

/** The annotation that has a policy judged, and told, and of no effect (Istio). */
export const DRY_RUN = 'istio.io/dry-run'

export function refOf(kind: string, object: KubeObject): ObjectRef {
  return { kind, namespace: object.metadata.namespace ?? '', name: object.metadata.name }
}

/** metadata.creationTimestamp in milliseconds since 1970. */
export function createdMs(object: KubeObject): number {
  return Date.parse(object.metadata.creationTimestamp ?? '') || 0
}

/** Runs a schema's validation and turns its first complaint into Rejected, with the path as a user writes it. */
export function demandValid(model: { validate(): void }): void {
  const fault = schemaFault(model)
  if (fault !== null) throw fault
}

/** What a schema's validation complains of first, or null. */
export function schemaFault(model: { validate(): void }): Rejected | null {
  try {
    model.validate()
    return null
  } catch (error) {
    const first = (error as { errors?: readonly { instancePath: string; message?: string }[] }).errors?.[0]
    if (first === undefined) throw error
    return new Rejected(fieldPath(first.instancePath), first.message ?? 'is not valid')
  }
}

/** The object less its fields that are null, which mean absent: schemas let them pass. A null in a list stays. */
export function withoutNulls<T>(value: T): T {
  if (Array.isArray(value)) return value.map(withoutNulls) as T
  if (typeof value !== 'object' || value === null) return value
  const given = Object.entries(value).filter(([, inner]) => inner !== null)
  return Object.fromEntries(given.map(([field, inner]) => [field, withoutNulls<unknown>(inner)])) as T
}

const NOT_ITS_AUTHORS = new Set(['apiVersion', 'kind', 'status'])

/**
 * An object less apiVersion and kind, so that a schema of one version takes those of all versions; and less its status:
 * what others say of an object must not keep it from being in force.
 */
export function asWished(object: KubeObject): Record<string, never> {
  const fields = Object.entries(object).filter(([field]) => !NOT_ITS_AUTHORS.has(field))
  return Object.fromEntries(fields) as Record<string, never> // the schema judges what it is
}

/** A JSON pointer (RFC 6901) as a field path: `/spec/http/0/route` is `spec.http[0].route`. */
export function fieldPath(pointer: string): string {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce((path, part) => (/^\d+$/.test(part) ? `${path}[${part}]` : path === '' ? part : `${path}.${part}`), '')
}

/** A host as Istio resolves it: a name without a dot is a Service of the object's own namespace. A dot at its end is none. */
export function resolveHost(host: string, namespace: string, clusterDomain: string): string {
  const lower = host.toLowerCase()
  if (lower.endsWith('.')) return lower.slice(0, -1)
  return lower.includes('.') || lower.startsWith('*') ? lower : `${lower}.${namespace}.svc.${clusterDomain}`
}

/** `exportTo` as namespaces: absent means all, `.` the object's own, `~` none. */
export function resolveExportTo(exportTo: readonly string[] | undefined, namespace: string): readonly string[] {
  if (exportTo === undefined || exportTo.length === 0) return ['*']
  return exportTo.flatMap((entry) => (entry === '~' ? [] : [entry === '.' ? namespace : entry]))
}

/**
 * Runs a translation; Rejected becomes a problem and no value. So does whatever else it throws: one object that nobody
 * foresaw must not keep all others from being read.
 */
export function attempt<T>(object: ObjectRef, work: () => Translation<T>): Translation<T> {
  try {
    return work()
  } catch (error) {
    const field = error instanceof Rejected ? error.field : ''
    const reason = error instanceof Error ? error.message : String(error)
    return { value: null, rejected: true, problems: [{ object, field, reason }] }
  }
}
