// Server-side apply: what an object becomes when a manager applies its configuration. Pure.
// Source: Kubernetes documentation "Server-Side Apply: conflicts, merge strategy".
import { copyOf, isRecord, sameJson, setMember } from '../object.ts'
import { ApiError } from '../status.ts'
import { fieldsIn, isItem, isWithin, namesOf, segmentsOf, shownPath, valueAt } from './field-set.ts'
import { beforeFirstApply, entriesOf, isOf, managedPart, managersOf, sameTimes } from './managed.ts'
import type { FieldPath, FieldSet } from './field-set.ts'
import type { Managed, ManagedFieldsEntry, Applier } from './managed.ts'
import type { KubeObject } from '../object.ts'
import type { Shape } from './shape.ts'

export interface Applied {
  readonly object: KubeObject
  readonly managedFields: ManagedFieldsEntry[]
}

export interface Application {
  /** What the manager wants: its whole opinion, without members that are null. */
  readonly configuration: Readonly<Record<string, unknown>>
  readonly manager: Applier
  /** Take fields of other managers. */
  readonly force: boolean
}

/** The entries of an object that is created by being applied. */
export function managedWhenCreated({ configuration, manager }: Application, shape: Shape): ManagedFieldsEntry[] {
  return entriesOf([{ ...manager, operation: 'Apply', fields: fieldsIn(managedPart(configuration), shape) }])
}

/** The object after the application. Throws 409 with a cause for each field that another manager has otherwise. */
export function applied(live: KubeObject, application: Application, shape: Shape): Applied {
  const { manager, force } = application
  const wanted = managedPart(application.configuration)
  const fields = fieldsIn(wanted, shape)
  const all = managersOf(live.metadata.managedFields) ?? [beforeFirstApply(live, shape)]
  const own = all.find((each) => isOf(each, manager, 'Apply'))
  let others = all.filter((each) => each !== own)
  const conflicts = conflictsOf(live, wanted, fields, others)
  if (conflicts.length > 0 && !force) throw applyConflict(conflicts)
  const taken = new Set(conflicts.map(({ key }) => key))
  others = others.map((each): Managed => ({
    ...each,
    fields: new Map([...each.fields].filter(([key]) => !taken.has(key))),
  }))
  const object = merged(copyOf(live), wanted, [], shape) as KubeObject
  for (const path of abandoned(own?.fields, fields, others)) removeAt(object, path)
  const entries = entriesOf([...others, { ...manager, operation: 'Apply', fields }])
  return { object, managedFields: sameTimes(entries, live.metadata.managedFields) }
}

interface Conflict {
  readonly key: string
  readonly path: FieldPath
  readonly with: Managed
}

function conflictsOf(
  live: KubeObject,
  wanted: Record<string, unknown>,
  fields: FieldSet,
  others: readonly Managed[],
): Conflict[] {
  const found: Conflict[] = []
  for (const [key, path] of fields) {
    if (path.at(-1)?.startsWith('f:') === false) continue
    if (sameJson(valueAt(live, path), valueAt(wanted, path))) continue
    for (const other of others) if (other.fields.has(key)) found.push({ key, path, with: other })
  }
  return found
}

function applyConflict(conflicts: readonly Conflict[]): ApiError {
  const nameOf = ({ manager, operation, subresource, apiVersion }: Managed): string =>
    `"${manager}"${subresource === undefined ? '' : ` with subresource "${subresource}"`}${operation === 'Update' ? ` using ${apiVersion}` : ''}`
  const causes = conflicts.map((each) => ({
    reason: 'FieldManagerConflict',
    message: `conflict with ${nameOf(each.with)}`,
    field: shownPath(each.path),
  }))
  const count = `${conflicts.length} conflict${conflicts.length === 1 ? '' : 's'}`
  const list = causes.map(({ message, field }) => `${message}: ${field}`)
  const text = list.length === 1 ? list[0]! : `conflicts:\n- ${list.join('\n- ')}`
  return new ApiError(409, 'Conflict', `Apply failed with ${count}: ${text}`, { causes })
}

/** What the manager named the last time and no longer does, and nobody else has. Items of lists come before what is in them. */
function abandoned(old: FieldSet | undefined, now: FieldSet, others: readonly Managed[]): FieldPath[] {
  const isIn = (set: FieldSet, path: FieldPath): boolean => [...set.values()].some((each) => isWithin(each, path))
  return [...(old ?? [])]
    .filter(([key, path]) => !now.has(key) && !isIn(now, path) && !others.some(({ fields }) => isIn(fields, path)))
    .map(([, path]) => path)
    .sort((a, b) => a.length - b.length)
}

function merged(target: unknown, wanted: unknown, path: FieldPath, shape: Shape): unknown {
  if (isRecord(wanted)) {
    if (!isRecord(target) || (path.length > 0 && shape.isAtomicMap(namesOf(path)))) return copyOf(wanted)
    for (const [name, value] of Object.entries(wanted)) {
      const old = Object.hasOwn(target, name) ? target[name] : undefined
      setMember(target, name, merged(old, value, [...path, `f:${name}`], shape))
    }
    return target
  }
  if (Array.isArray(wanted) && Array.isArray(target)) return mergedList(target, wanted, path, shape)
  return copyOf(wanted)
}

/** Items that are named come in the order in which they are named, in the places they had; new ones follow. */
function mergedList(target: unknown[], wanted: unknown[], path: FieldPath, shape: Shape): unknown[] {
  const segments = segmentsOf(wanted, path, shape)
  if (
    segments === undefined ||
    (wanted.length > 0 && segmentsOf(target, path, shape) === undefined && target.length > 0)
  ) {
    return copyOf(wanted)
  }
  const items = wanted.map((item, at) => {
    const old = target.find((each) => isItem(each, segments[at]!))
    return old === undefined ? copyOf(item) : merged(old, item, [...path, segments[at]!], shape)
  })
  const isNamed = (item: unknown): boolean => segments.some((segment) => isItem(item, segment))
  let next = 0
  const placed = target.map((item) => (isNamed(item) ? items[next++]! : item))
  return [...placed, ...items.slice(next)]
}

/** Removes what a path names, and the maps and lists that are empty after it. */
function removeAt(object: unknown, path: FieldPath): void {
  const [segment = '', ...rest] = path
  if (segment.startsWith('f:')) {
    const name = segment.slice(2)
    if (!isRecord(object) || !Object.hasOwn(object, name)) return
    const inner: unknown = object[name]
    if (rest.length > 0) removeAt(inner, rest)
    if (rest.length === 0 || isEmpty(inner)) delete object[name]
    return
  }
  if (!Array.isArray(object)) return
  const at = object.findIndex((item) => isItem(item, segment))
  if (at < 0) return
  if (rest.length === 0) object.splice(at, 1)
  else removeAt(object[at], rest)
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0
}
