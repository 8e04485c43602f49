// Sets of fields, as managedFields has them: paths into an object, and their FieldsV1 form. Pure.
// Source: Kubernetes API reference meta/v1 ManagedFieldsEntry, FieldsV1: `f:NAME` a member, `k:{…}` a list item by its key,
// `v:VALUE` a value of a set, `.` the field itself where fields inside it are named as well.
import { isRecord, sameJson } from '../object.ts'
import { KEY_DEFAULTS } from './shape.ts'
import type { Shape } from './shape.ts'

/** Segments as FieldsV1 spells them: `f:spec`, `k:{"name":"web"}`. */
export type FieldPath = readonly string[]
/** Paths by their text, so that a path is there once. */
export type FieldSet = Map<string, FieldPath>
export interface FieldsV1 {
  [segment: string]: FieldsV1
}

const SEPARATOR = '\u0000'

export function keyOfPath(path: FieldPath): string {
  return path.join(SEPARATOR)
}

/** Names of the members on a path: what a shape is asked by. */
export function namesOf(path: FieldPath): string[] {
  return path.filter((segment) => segment.startsWith('f:')).map((segment) => segment.slice(2))
}

/** Every field that `object` has: leaves, values that are atomic, and items of keyed lists as such. */
export function fieldsIn(object: Readonly<Record<string, unknown>>, shape: Shape): FieldSet {
  const found: FieldSet = new Map()
  const add = (path: FieldPath): void => void found.set(keyOfPath(path), path)
  const walk = (value: unknown, path: FieldPath): void => {
    if (Array.isArray(value) && value.length > 0) {
      const segments = segmentsOf(value, path, shape)
      if (segments === undefined) return add(path)
      for (const [at, segment] of segments.entries()) {
        add([...path, segment])
        const item: unknown = value[at]
        if (segment.startsWith('k:') && isRecord(item)) members(item, [...path, segment])
      }
    } else if (isRecord(value) && Object.keys(value).length > 0 && !shape.isAtomicMap(namesOf(path)))
      members(value, path)
    else add(path)
  }
  const members = (record: Record<string, unknown>, path: FieldPath): void => {
    for (const [name, value] of Object.entries(record)) if (value !== undefined) walk(value, [...path, `f:${name}`])
  }
  members(object, [])
  return found
}

/** The segment of each item of a list; undefined where the list is one value. */
export function segmentsOf(list: readonly unknown[], path: FieldPath, shape: Shape): string[] | undefined {
  const form = shape.list(namesOf(path))
  if (form === 'atomic') return undefined
  if (form === 'set') return list.map((value) => `v:${JSON.stringify(value)}`)
  const segments = list.map((item) => itemSegment(item, form.by))
  // items that cannot be told apart are no list of keyed items
  return segments.some((each) => each === undefined) || new Set(segments).size < segments.length
    ? undefined
    : (segments as string[])
}

function itemSegment(item: unknown, by: readonly string[]): string | undefined {
  if (!isRecord(item)) return undefined
  const values = [...by].sort().map((name) => [name, item[name] ?? KEY_DEFAULTS[name]] as const)
  if (values.some(([, value]) => value === undefined)) return undefined
  return `k:${JSON.stringify(Object.fromEntries(values))}`
}

/** The value at a path; undefined when there is none. */
export function valueAt(object: unknown, path: FieldPath): unknown {
  let at: unknown = object
  for (const segment of path) {
    if (segment.startsWith('f:')) {
      const name = segment.slice(2)
      at = isRecord(at) && Object.hasOwn(at, name) ? at[name] : undefined
    } else at = Array.isArray(at) ? (at as unknown[]).find((item) => isItem(item, segment)) : undefined
  }
  return at
}

/** Whether a list item is the one that `k:…` or `v:…` names. */
export function isItem(item: unknown, segment: string): boolean {
  const wanted: unknown = JSON.parse(segment.slice(2))
  if (segment.startsWith('v:')) return sameJson(item, wanted)
  if (!isRecord(item) || !isRecord(wanted)) return false
  return Object.entries(wanted).every(([name, value]) => sameJson(item[name] ?? KEY_DEFAULTS[name], value))
}

/** True when `path` lies inside `outer` or is it. */
export function isWithin(path: FieldPath, outer: FieldPath): boolean {
  return outer.every((segment, at) => path[at] === segment)
}

export function toFieldsV1(set: FieldSet): FieldsV1 {
  const root: FieldsV1 = {}
  for (const path of set.values()) {
    let at = root
    for (const segment of path) at = at[segment] ??= {}
    at['.'] = {}
  }
  return withoutNeedlessDots(root)
}

function withoutNeedlessDots(node: FieldsV1): FieldsV1 {
  const entries = Object.entries(node).sort(([one], [other]) => (one < other ? -1 : 1))
  if (entries.length === 1 && entries[0]![0] === '.') return {}
  return Object.fromEntries(entries.map(([segment, inner]) => [segment, withoutNeedlessDots(inner)]))
}

/** Reads FieldsV1 of a client; what is not of its form is left out. */
export function fromFieldsV1(fields: unknown): FieldSet {
  const set: FieldSet = new Map()
  const walk = (node: Record<string, unknown>, path: FieldPath): void => {
    const inner = Object.entries(node).filter(([segment]) => segment !== '.')
    if (path.length > 0 && (inner.length === 0 || Object.hasOwn(node, '.'))) set.set(keyOfPath(path), path)
    for (const [segment, value] of inner) if (isSegment(segment) && isRecord(value)) walk(value, [...path, segment])
  }
  if (isRecord(fields)) walk(fields, [])
  return set
}

function isSegment(segment: string): boolean {
  if (segment.startsWith('f:')) return true
  if (!segment.startsWith('k:') && !segment.startsWith('v:')) return false
  try {
    JSON.parse(segment.slice(2))
    return true
  } catch {
    return false
  }
}

/** A path as messages show it: `.spec.containers[name="web"].image`. */
export function shownPath(path: FieldPath): string {
  const parts = path.map((segment) => {
    if (segment.startsWith('f:')) return `.${segment.slice(2)}`
    const value: unknown = JSON.parse(segment.slice(2))
    if (segment.startsWith('v:') || !isRecord(value)) return `[=${JSON.stringify(value)}]`
    return `[${Object.entries(value)
      .map(([name, each]) => `${name}=${JSON.stringify(each)}`)
      .join(',')}]`
  })
  return parts.join('')
}
