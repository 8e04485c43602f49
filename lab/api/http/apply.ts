// PATCH with application/apply-patch+yaml: server-side apply of an object or its status; it creates what is not there.
// Source: Kubernetes documentation "Server-Side Apply"; API concepts "Patch and apply".
import { parse } from 'yaml'
import { applied, managedWhenCreated } from '../apply/apply.ts'
import { shapeOf } from '../apply/shape.ts'
import { permit, resourceAccess } from '../auth/access.ts'
import { isRecord, timestamp } from '../object.ts'
import { groupVersion } from '../resources.ts'
import { badRequest, invalid, notFound, unsupportedMediaType } from '../status.ts'
import { checkUnknown, checked } from './body.ts'
import { sendObject } from './read.ts'
import type { Application } from '../apply/apply.ts'
import type { Exchange } from './exchange.ts'
import type { ObjectDraft } from '../object.ts'
import type { Place } from './path.ts'
import type { Store } from '../store.ts'

export const APPLY_PATCH = 'application/apply-patch+yaml'
/** Aliases in a YAML document, against one that grows as it is read. */
const ALIAS_LIMIT = 100

export async function apply(exchange: Exchange, place: Place, store: Store): Promise<void> {
  const { type, version, namespace, name = '', subresource } = place
  if (type.viewOf !== undefined) throw unsupportedMediaType(`server-side apply is not served for ${type.plural}`)
  const manager = exchange.query.get('fieldManager') ?? ''
  if (manager === '') {
    const fault = { kind: 'required', field: 'fieldManager', text: 'is required for apply patch' } as const
    throw invalid({ group: 'meta.k8s.io', plural: 'patchoptions', kind: 'PatchOptions' }, '', [fault])
  }
  const draft = configurationOf(place, checked(place, yaml(await exchange.text([APPLY_PATCH]))))
  checkUnknown(exchange, place, draft)
  const apiVersion = groupVersion(type.group, version)
  const application: Application = {
    configuration: draft,
    manager: { manager, apiVersion, subresource, time: timestamp(new Date()) },
    force: exchange.isSet('force'),
  }
  const shape = shapeOf(type, version)
  const options = { dryRun: exchange.dryRun, writer: exchange.writer }
  const live = store.get(type.key, namespace ?? null, name)
  if (live === undefined) {
    if (subresource !== undefined) throw notFound(type, name)
    permit(exchange, { ...resourceAccess(exchange, place), verb: 'create' }, store)
    const managedFields = managedWhenCreated(application, shape)
    return sendObject(exchange, place, 201, store.create(type.key, draft, { ...options, managedFields }))
  }
  const { object, managedFields } = applied(live, application, shape)
  object.apiVersion = apiVersion
  if (draft.metadata.resourceVersion) object.metadata.resourceVersion = draft.metadata.resourceVersion
  const part = subresource === 'status' ? ({ subresource } as const) : {}
  sendObject(exchange, place, 200, store.update(type.key, object, { ...options, ...part, managedFields }))
}

function yaml(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    // YAML then
  }
  try {
    return parse(text, { maxAliasCount: ALIAS_LIMIT }) as unknown
  } catch (error) {
    throw badRequest(`error decoding YAML: ${(error as Error).message}`)
  }
}

/** What the manager says of the part that is applied: an object's status is written through /status alone. */
function configurationOf({ type, subresource }: Place, body: ObjectDraft): ObjectDraft {
  if (!body.kind) throw badRequest('the configuration to apply has no kind')
  if ((body.metadata as Record<string, unknown>)['managedFields'] != null) {
    throw badRequest('metadata.managedFields must be nil')
  }
  const { status, ...rest } = withoutNull(body) as ObjectDraft
  if (subresource === 'status') {
    const { apiVersion, kind, metadata } = rest
    const { name, namespace, resourceVersion } = metadata
    const place = Object.entries({ name, namespace, resourceVersion }).filter(([, value]) => value !== undefined)
    return { ...(apiVersion ? { apiVersion } : {}), kind: kind!, metadata: Object.fromEntries(place), status }
  }
  return type.status || status === undefined ? rest : { ...rest, status }
}

function withoutNull(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNull)
  if (!isRecord(value)) return value
  const kept = Object.entries(value).filter(([, member]) => member !== null)
  return Object.fromEntries(kept.map(([name, member]) => [name, withoutNull(member)]))
}
