// Who manages which fields of an object. They are followed from the first server-side apply on: what stood there before is
// `before-first-apply`'s, as Kubernetes has it for objects without managedFields. Pure.
// Source: Kubernetes documentation "Server-Side Apply: field management".
import { isRecord, sameJson } from '../object.ts'
import { fieldsIn, fromFieldsV1, toFieldsV1, valueAt } from './field-set.ts'
import type { FieldSet, FieldsV1 } from './field-set.ts'
import type { KubeObject } from '../object.ts'
import type { Shape } from './shape.ts'

/** meta/v1 ManagedFieldsEntry. */
export interface ManagedFieldsEntry {
  readonly manager: string
  readonly operation: 'Apply' | 'Update'
  readonly apiVersion: string
  readonly time: string
  readonly fieldsType: 'FieldsV1'
  readonly fieldsV1: FieldsV1
  readonly subresource?: string
}

/** One manager's fields, readable. */
export interface Managed {
  readonly manager: string
  readonly operation: 'Apply' | 'Update'
  readonly apiVersion: string
  readonly subresource: string | undefined
  readonly time: string
  readonly fields: FieldSet
}

/** Who writes, and when. */
export interface Applier {
  readonly manager: string
  readonly apiVersion: string
  readonly subresource: string | undefined
  readonly time: string
}

export const BEFORE_FIRST_APPLY = 'before-first-apply'
/** Managers that update are kept apart up to this number; the older ones become one. */
export const UPDATERS_LIMIT = 10
const ANCIENT = 'ancient-changes'

const SYSTEM_FIELDS = [
  ...['name', 'namespace', 'generateName', 'uid', 'resourceVersion', 'generation', 'creationTimestamp', 'selfLink'],
  ...['deletionTimestamp', 'deletionGracePeriodSeconds', 'managedFields'],
]

/** The part of an object that managers manage. */
export function managedPart(object: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { apiVersion: _version, kind: _kind, metadata, ...content } = object
  const kept = Object.entries(isRecord(metadata) ? metadata : {}).filter(([name]) => !SYSTEM_FIELDS.includes(name))
  return { ...content, ...(kept.length > 0 ? { metadata: Object.fromEntries(kept) } : {}) }
}

/** The managers of an object; null where they are not followed. */
export function managersOf(entries: unknown): Managed[] | null {
  if (!Array.isArray(entries) || entries.length === 0) return null
  return entries.filter(isRecord).map((entry) => ({
    manager: String(entry['manager'] ?? ''),
    operation: entry['operation'] === 'Apply' ? 'Apply' : 'Update',
    apiVersion: String(entry['apiVersion'] ?? ''),
    subresource: entry['subresource'] ? String(entry['subresource']) : undefined,
    time: String(entry['time'] ?? ''),
    fields: fromFieldsV1(entry['fieldsV1']),
  }))
}

/** The entries of managers; those who manage nothing are left out. */
export function entriesOf(managers: readonly Managed[]): ManagedFieldsEntry[] {
  return bounded(managers.filter(({ fields }) => fields.size > 0)).map((each) => ({
    manager: each.manager,
    operation: each.operation,
    apiVersion: each.apiVersion,
    time: each.time,
    fieldsType: 'FieldsV1',
    fieldsV1: toFieldsV1(each.fields),
    ...(each.subresource === undefined ? {} : { subresource: each.subresource }),
  }))
}

function bounded(managers: readonly Managed[]): readonly Managed[] {
  const updaters = managers.filter(({ operation }) => operation === 'Update')
  if (updaters.length <= UPDATERS_LIMIT) return managers
  const old = [...updaters].sort((a, b) => (a.time < b.time ? -1 : 1)).slice(0, updaters.length - UPDATERS_LIMIT + 1)
  const fields: FieldSet = new Map(old.flatMap((each) => [...each.fields]))
  const merged: Managed = { ...old[0]!, manager: ANCIENT, subresource: undefined, fields }
  return [...managers.filter((each) => !old.includes(each)), merged]
}

/** Whether an entry is that of `manager` with `operation`. */
export function isOf(each: Managed, { manager, subresource }: Applier, operation: Managed['operation']): boolean {
  return each.manager === manager && each.operation === operation && each.subresource === subresource
}

/** What stood in an object that nobody had applied, as one manager's. */
export function beforeFirstApply(object: KubeObject, shape: Shape): Managed {
  const { apiVersion, metadata } = object
  const fields = fieldsIn(managedPart(object), shape)
  const time = metadata.creationTimestamp
  return { manager: BEFORE_FIRST_APPLY, operation: 'Update', apiVersion, subresource: undefined, time, fields }
}

/** The managers after an update in place: what changed is the writer's alone, what went is nobody's. */
export function afterUpdate(
  managers: readonly Managed[],
  [before, after]: readonly [KubeObject, KubeObject],
  writer: Applier,
  shape: Shape,
): Managed[] {
  const [old, now] = [managedPart(before), managedPart(after)]
  const [oldFields, nowFields] = [fieldsIn(old, shape), fieldsIn(now, shape)]
  const changed: FieldSet = new Map()
  for (const [key, path] of nowFields) {
    const isSame = oldFields.has(key) && (isItemPath(key) || sameJson(valueAt(old, path), valueAt(now, path)))
    if (!isSame) changed.set(key, path)
  }
  const isLost = (key: string): boolean => changed.has(key) || (oldFields.has(key) && !nowFields.has(key))
  const kept = managers.map((each): Managed => ({
    ...each,
    fields: new Map([...each.fields].filter(([key]) => !isLost(key))),
  }))
  if (changed.size === 0) return kept
  const own = kept.find((each) => isOf(each, writer, 'Update'))
  const fields: FieldSet = new Map([...(own?.fields ?? []), ...changed])
  return [...kept.filter((each) => each !== own), { ...writer, operation: 'Update', fields }]
}

function isItemPath(key: string): boolean {
  return /(^|\u0000)k:[^\u0000]*$/.test(key)
}

/** The entries an updated object has: those the client sent where it set them itself, else as `afterUpdate` finds them. */
export function entriesAfterUpdate(
  sent: unknown,
  [before, after]: readonly [KubeObject, KubeObject],
  writer: Applier,
  shape: Shape,
): ManagedFieldsEntry[] | undefined {
  // the documented way to give up on following: a list with one empty entry
  if (Array.isArray(sent) && sent.length === 1 && isRecord(sent[0]) && Object.keys(sent[0]).length === 0)
    return undefined
  const own = before.metadata.managedFields
  const managers = managersOf(sent) ?? managersOf(own)
  if (managers === null || own === undefined) return undefined
  const entries = entriesOf(afterUpdate(managers, [before, after], writer, shape))
  return entries.length === 0 ? undefined : sameTimes(entries, own)
}

/** The same entries, where only times differ, keep their times: such a write is none. */
export function sameTimes(
  entries: ManagedFieldsEntry[],
  before: readonly ManagedFieldsEntry[] | undefined,
): ManagedFieldsEntry[] {
  return entries.map((entry) => before?.find((old) => sameJson({ ...entry, time: old.time }, old)) ?? entry)
}
