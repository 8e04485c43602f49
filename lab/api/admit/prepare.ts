// What the server makes of a written object before it keeps it: metadata it owns, defaults, validation.
import { randomInt } from 'node:crypto'
import { applyDefaults, initialStatus } from './defaults.ts'
import { copyOf, isRecord, sameJson, timestamp } from '../object.ts'
import { groupVersion } from '../resources.ts'
import { alreadyExists, badRequest, conflict, invalid } from '../status.ts'
import { fillDefaults, prune, schemaFaults } from './schema.ts'
import { faultsOf } from './validate.ts'
import type { KubeObject, ObjectDraft, ObjectMeta } from '../object.ts'
import type { ResourceType } from '../resources.ts'

export interface Preconditions {
  readonly uid?: string | undefined
  readonly resourceVersion?: string | undefined
}

export interface Birth {
  readonly now: Date
  readonly uid: string
  readonly isTaken: (namespace: string | undefined, name: string) => boolean
}

// No vowels and no look-alikes, so that generated names spell nothing.
const SUFFIX_LETTERS = 'bcdfghjklmnpqrstvwxz2456789'
const SUFFIX_LENGTH = 5
const GENERATED_NAME_LIMIT = 63
const GENERATE_TRIES = 8
// Given by the server.
const SERVER_FIELDS = ['managedFields', 'selfLink', 'deletionTimestamp', 'deletionGracePeriodSeconds', 'generation']

/** The object as it will be stored. Throws 400 and 422. */
export function prepareCreate(type: ResourceType, draft: ObjectDraft, birth: Birth): KubeObject {
  const sent = metadataOf(draft)
  if (sent.resourceVersion) throw badRequest('resourceVersion should not be set on objects to be created')
  const metadata = withoutServerFields(sent)
  placeIn(type, metadata)
  metadata.name = metadata.name || generateName(type, metadata, birth)
  metadata.uid = birth.uid
  metadata.resourceVersion = ''
  metadata.creationTimestamp = timestamp(birth.now)
  if (type.generation) metadata.generation = 1
  const object = assemble(type, draft, metadata as ObjectMeta)
  const status = initialStatus(type, object, timestamp(birth.now))
  if (type.status && type.key !== 'nodes') delete object.status
  if (status !== undefined && object.status === undefined) object.status = status
  applyDefaults(type.key, object)
  conform(type, draft.apiVersion, object)
  check(type, object, null)
  return object
}

/** The object as it will be stored in place of `current`. Throws 400 and 422. */
export function prepareUpdate(
  type: ResourceType,
  current: KubeObject,
  draft: ObjectDraft,
  subresource: 'status' | undefined,
): KubeObject {
  const { uid, resourceVersion, creationTimestamp, namespace, ...rest } = current.metadata
  const metadata: ObjectMeta = {
    ...(withoutServerFields(subresource ? copyOf(current.metadata) : metadataOf(draft)) as ObjectMeta),
    ...(namespace === undefined ? {} : { namespace }),
    uid,
    resourceVersion,
    creationTimestamp,
  }
  for (const field of ['deletionTimestamp', 'deletionGracePeriodSeconds', 'generation', 'generateName'] as const) {
    if (rest[field] !== undefined) Object.assign(metadata, { [field]: rest[field] })
  }
  const object =
    subresource === 'status'
      ? assemble(type, { ...copyOf(current), status: copyOf(draft.status) }, metadata)
      : assemble(type, draft, metadata)
  if (type.status && subresource === undefined) restore(object, current)
  applyDefaults(type.key, object, current)
  conform(type, draft.apiVersion, object)
  if (type.generation && subresource === undefined && !sameDesire(type, object, current)) {
    metadata.generation = (current.metadata.generation ?? 0) + 1
  }
  check(type, object, current)
  return object
}

/** Throws 409 when `wanted` names another uid or resourceVersion than the object has. */
export function checkPreconditions(
  type: ResourceType,
  { metadata }: KubeObject,
  wanted: Preconditions,
  prefix?: string,
): void {
  const { name, uid, resourceVersion } = metadata
  if (wanted.uid && wanted.uid !== uid) {
    const why = `Precondition failed: UID in precondition: ${wanted.uid}, UID in object meta: ${uid}`
    throw conflict(type, name, why)
  }
  if (!wanted.resourceVersion || wanted.resourceVersion === resourceVersion) return
  const versions = `${wanted.resourceVersion}, ResourceVersion in object meta: ${resourceVersion}`
  throw conflict(type, name, prefix && `${prefix}: ResourceVersion in precondition: ${versions}`)
}

function metadataOf(draft: ObjectDraft): Partial<ObjectMeta> {
  if (!isRecord(draft.metadata)) throw badRequest('metadata is required and must be an object')
  return copyOf(draft.metadata)
}

function withoutServerFields(metadata: Partial<ObjectMeta>): Partial<ObjectMeta> {
  const kept: Record<string, unknown> = { ...metadata }
  for (const field of SERVER_FIELDS) delete kept[field]
  for (const [field, value] of Object.entries(kept)) {
    const isEmpty = value === null || (typeof value === 'object' && Object.keys(value).length === 0)
    if (isEmpty) delete kept[field]
  }
  return kept
}

function placeIn(type: ResourceType, metadata: Partial<ObjectMeta>): void {
  if (!type.namespaced) delete metadata.namespace
  else if (!metadata.namespace) throw badRequest(`a namespace is required for ${type.plural}`)
}

/** Letters as generated names end in. */
export function nameSuffix(): string {
  return Array.from({ length: SUFFIX_LENGTH }, () => SUFFIX_LETTERS[randomInt(SUFFIX_LETTERS.length)]).join('')
}

function generateName(
  type: ResourceType,
  { generateName: prefix, namespace }: Partial<ObjectMeta>,
  birth: Birth,
): string {
  if (!prefix) {
    const text = 'name or generateName is required'
    throw invalid(type, '', [{ kind: 'required', field: 'metadata.name', text }])
  }
  const stem = prefix.slice(0, GENERATED_NAME_LIMIT - SUFFIX_LENGTH)
  for (let tries = 0; tries < GENERATE_TRIES; tries++) {
    const suffix = nameSuffix()
    if (!birth.isTaken(namespace, stem + suffix)) return stem + suffix
  }
  throw alreadyExists(type, prefix)
}

function assemble(type: ResourceType, draft: ObjectDraft, metadata: ObjectMeta): KubeObject {
  if (draft.kind !== undefined && draft.kind !== '' && draft.kind !== type.kind) {
    throw badRequest(`the object is a ${draft.kind}, and ${type.plural} are of kind ${type.kind}`)
  }
  const { apiVersion: _version, kind: _kind, metadata: _metadata, ...content } = copyOf(draft)
  return { apiVersion: groupVersion(type.group, type.storageVersion), kind: type.kind, metadata, ...content }
}

function restore(object: KubeObject, current: KubeObject): void {
  if (current.status === undefined) delete object.status
  else object.status = copyOf(current.status)
}

function sameDesire(type: ResourceType, object: KubeObject, current: KubeObject): boolean {
  const { metadata: _new, status: newStatus, ...desired } = object
  const { metadata: _old, status: oldStatus, ...before } = current
  return sameJson(desired, before) && (type.status || sameJson(newStatus, oldStatus))
}

/** Makes a custom object one of its schema: that of the version it was written in. Throws 422. */
function conform(type: ResourceType, apiVersion: string | undefined, object: KubeObject): void {
  if (!type.custom) return
  const schema = schemaOf(type, apiVersion)
  prune(schema, object)
  fillDefaults(schema, object)
  const faults = schemaFaults(schema, object)
  if (faults.length > 0) throw invalid(type, object.metadata.name, faults)
}

/** The schema of the version that an apiVersion names; of the stored one where there is none. */
export function schemaOf(type: ResourceType, apiVersion: string | undefined): unknown {
  const version = apiVersion?.split('/').at(-1) || type.storageVersion
  return type.versions.find(({ name }) => name === version)?.schema
}

function check(type: ResourceType, object: KubeObject, previous: KubeObject | null): void {
  const faults = faultsOf(type, object, previous)
  if (faults.length > 0) throw invalid(type, object.metadata.name, faults)
}
