// create, update, patch, delete and deletecollection; /status takes update and patch the same way.
// Source: Kubernetes API concepts "Updates to existing resources", "Resource deletion", "Dry-run".
import { CERTIFICATE_REQUESTS, requestedBy } from '../admit/certificate-rules.ts'
import { isRecord } from '../object.ts'
import { applyJsonPatch } from '../patch/json-patch.ts'
import { applyMergePatch } from '../patch/merge-patch.ts'
import { applyStrategicPatch } from '../patch/strategic-patch.ts'
import { badRequest, methodNotAllowed, notFound, unsupportedMediaType } from '../status.ts'
import { APPLY_PATCH, apply } from './apply.ts'
import { checkUnknown, checked } from './body.ts'
import { found, selected, sendList, sendObject } from './read.ts'
import { present, stored, storedAs } from './view.ts'
import type { Exchange } from './exchange.ts'
import type { KubeObject, ObjectDraft } from '../object.ts'
import type { Place } from './path.ts'
import type { DeleteOptions, Store } from '../store.ts'
import type { Status } from '../status.ts'

const JSON_PATCH = 'application/json-patch+json'
const MERGE_PATCH = 'application/merge-patch+json'
const STRATEGIC_PATCH = 'application/strategic-merge-patch+json'
const POLICIES: readonly unknown[] = ['Background', 'Foreground', 'Orphan']

export async function create(exchange: Exchange, place: Place, store: Store): Promise<void> {
  const draft = checked(place, await exchange.json())
  if (place.type.namespaced && place.namespace === undefined) {
    throw methodNotAllowed('an empty namespace may not be set during creation')
  }
  checkUnknown(exchange, place, draft)
  const own = place.type.key === CERTIFICATE_REQUESTS ? requestedBy(draft, exchange.user) : draft
  const options = { dryRun: exchange.dryRun, writer: exchange.writer }
  const object = store.create(storedAs(place.type), stored(place.type, own), options)
  sendObject(exchange, place, 201, object)
}

export async function update(exchange: Exchange, place: Place, store: Store): Promise<void> {
  const draft = checked(place, await exchange.json())
  checkUnknown(exchange, place, draft)
  found(store, place)
  write(exchange, place, store, draft)
}

export async function patch(exchange: Exchange, place: Place, store: Store): Promise<void> {
  if (exchange.media === APPLY_PATCH) return apply(exchange, place, store)
  const current = (): unknown => present(place.type, place.version, found(store, place))
  const draft = checked(place, await wanted(exchange, place, current))
  checkUnknown(exchange, place, draft)
  write(exchange, place, store, draft)
}

/**
 * What a PUT or PATCH wants to be there. `current` is asked once the body has come: a patch is made on what is there then.
 * Throws 405 for other methods.
 */
export async function wanted(exchange: Exchange, place: Place, current: () => unknown): Promise<unknown> {
  const { method, media } = exchange
  if (method === 'PUT') return exchange.json()
  if (method !== 'PATCH') throw methodNotAllowed(`${method} is not allowed on ${place.subresource}`)
  const document = await exchange.json(patchMedias(exchange, place))
  if (document === undefined) throw badRequest('the patch is empty')
  return applyPatch(place, media, current(), document)
}

/** The patched copy of `current`, by the media type of the patch. Throws what the patch's own rules throw. */
function applyPatch(place: Place, media: string, current: unknown, document: unknown): unknown {
  if (media === JSON_PATCH) return applyJsonPatch(current, document)
  if (media === MERGE_PATCH) return applyMergePatch(current, document)
  return applyStrategicPatch(place.type.kind, current, document)
}

/** The media types of patches a place takes. Throws 415 for server-side apply where only objects and their status take it. */
function patchMedias({ media }: Exchange, { type }: Place): string[] {
  if (media === APPLY_PATCH || media === 'application/apply-patch+cbor') {
    throw unsupportedMediaType('server-side apply is served for objects and their status, in YAML or JSON')
  }
  return type.custom ? [JSON_PATCH, MERGE_PATCH] : [JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH]
}

function write(exchange: Exchange, place: Place, store: Store, draft: ObjectDraft): void {
  const subresource = place.subresource === 'status' ? 'status' : undefined
  const options = { dryRun: exchange.dryRun, writer: exchange.writer, subresource } as const
  sendObject(exchange, place, 200, store.update(storedAs(place.type), stored(place.type, draft), options))
}

export async function remove(exchange: Exchange, place: Place, store: Store): Promise<void> {
  const options = await deleteOptions(exchange)
  const { type, namespace, name = '' } = place
  const before = found(store, place)
  const object = store.delete(storedAs(type), namespace ?? null, name, options)
  if (!object) throw notFound(type, name)
  const isGone = options.dryRun || !store.get(storedAs(type), namespace ?? null, name)
  if (isGone) exchange.sendJson(200, success(place, before))
  else sendObject(exchange, place, 200, object)
}

export async function removeAll(exchange: Exchange, place: Place, store: Store): Promise<void> {
  const options = await deleteOptions(exchange)
  const objects = selected(exchange, place, store)
  for (const { metadata } of objects) {
    store.delete(storedAs(place.type), metadata.namespace ?? null, metadata.name, options)
  }
  sendList(exchange, place, objects, store.version)
}

function success({ type }: Place, { metadata }: KubeObject): Status {
  const details = { name: metadata.name, ...(type.group === '' ? {} : { group: type.group }), kind: type.plural }
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    details: { ...details, uid: metadata.uid },
    code: 200,
  }
}

/** DeleteOptions from the body, or from the query where there is none. */
export async function deleteOptions(exchange: Exchange): Promise<DeleteOptions> {
  const body = (await exchange.json()) ?? {}
  if (!isRecord(body)) throw badRequest('the body is not DeleteOptions')
  const grace: unknown = body['gracePeriodSeconds'] ?? exchange.count('gracePeriodSeconds')
  if (grace !== undefined && !(Number.isInteger(grace) && Number(grace) >= 0)) {
    throw badRequest('gracePeriodSeconds is a whole number, 0 or more')
  }
  const asked: unknown = body['propagationPolicy'] ?? exchange.query.get('propagationPolicy') ?? undefined
  const policy = asked ?? (body['orphanDependents'] === true ? 'Orphan' : undefined)
  if (policy !== undefined && !POLICIES.includes(policy)) {
    throw badRequest(`propagationPolicy is one of ${POLICIES.join(', ')}`)
  }
  const isDry = exchange.dryRun || (Array.isArray(body['dryRun']) && body['dryRun'].includes('All'))
  return {
    writer: exchange.writer,
    dryRun: isDry,
    gracePeriodSeconds: grace as number | undefined,
    propagationPolicy: policy as DeleteOptions['propagationPolicy'],
    preconditions: isRecord(body['preconditions']) ? body['preconditions'] : undefined,
  }
}
