// A stored object as one served version shows it, and back. Pure; the text of an object is kept as long as the object.
// Source: CRD conversion strategy None; events.k8s.io/v1 Event as a view of the core Event.
import { copyOf } from '../object.ts'
import { groupVersion } from '../resources.ts'
import type { KubeObject, ObjectDraft } from '../object.ts'
import type { ResourceType } from '../resources.ts'

// events.k8s.io/v1 name → core v1 name.
const EVENT_FIELDS: Readonly<Record<string, string>> = {
  note: 'message',
  regarding: 'involvedObject',
  reportingController: 'reportingComponent',
  deprecatedSource: 'source',
  deprecatedFirstTimestamp: 'firstTimestamp',
  deprecatedLastTimestamp: 'lastTimestamp',
  deprecatedCount: 'count',
}
const CORE_EVENT_FIELDS = Object.fromEntries(Object.entries(EVENT_FIELDS).map(([view, core]) => [core, view]))

const texts = new WeakMap<KubeObject, Map<string, string>>()

/** The resource whose objects a type shows: itself, unless it is a view. */
export function storedAs(type: ResourceType): string {
  return type.viewOf ?? type.key
}

/** The object under `version` of `type`. The same object when it is stored that way. */
export function present(type: ResourceType, version: string, object: KubeObject): KubeObject {
  const apiVersion = groupVersion(type.group, version)
  if (object.apiVersion === apiVersion) return object
  return { ...(type.viewOf === undefined ? object : renamed(object, CORE_EVENT_FIELDS)), apiVersion }
}

/** What a client sent under a version of `type`, in the form the store keeps. */
export function stored(type: ResourceType, draft: ObjectDraft): ObjectDraft {
  if (type.viewOf === undefined) return draft
  return { ...renamed(draft, EVENT_FIELDS), metadata: copyOf(draft.metadata), apiVersion: 'v1' }
}

function renamed<T extends object>(object: T, names: Readonly<Record<string, string>>): T {
  return Object.fromEntries(Object.entries(object).map(([field, value]) => [names[field] ?? field, value])) as T
}

/** The JSON text of `present(...)`; made once for each stored object and version. */
export function textOf(type: ResourceType, version: string, object: KubeObject): string {
  let byVersion = texts.get(object)
  if (!byVersion) texts.set(object, (byVersion = new Map()))
  const key = `${type.group}/${version}`
  let text = byVersion.get(key)
  if (text === undefined) byVersion.set(key, (text = JSON.stringify(present(type, version, object))))
  return text
}
