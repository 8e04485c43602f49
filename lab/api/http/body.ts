// The object in a request's body: whether it is one that its place takes.
import { schemaOf } from '../admit/prepare.ts'
import { prune } from '../admit/schema.ts'
import { copyOf, isRecord } from '../object.ts'
import { groupVersion } from '../resources.ts'
import { badRequest } from '../status.ts'
import type { Exchange } from './exchange.ts'
import type { ObjectDraft } from '../object.ts'
import type { Place } from './path.ts'

/**
 * Says which fields of a custom object its schema does not know: by a 400 or a warning, as `fieldValidation` asks.
 * Source: Kubernetes API concepts "Field validation". Built-in kinds are not looked at.
 */
export function checkUnknown(exchange: Exchange, { type, version }: Place, draft: ObjectDraft): void {
  const mode = exchange.query.get('fieldValidation') || 'Warn'
  if (!type.custom || mode === 'Ignore') return
  const unknown = prune(schemaOf(type, version), copyOf(draft)).map((path) => `unknown field ${JSON.stringify(path)}`)
  if (unknown.length === 0) return
  if (mode !== 'Strict') return unknown.forEach((each) => exchange.warn(each))
  const what = `${type.kind} in version ${JSON.stringify(version)} cannot be handled as a ${type.kind}`
  throw badRequest(`${what}: strict decoding error: ${unknown.join(', ')}`)
}

/** A body as a draft for this place. Throws 400 when it names another version, namespace or object. */
export function checked({ type, version, namespace, name }: Place, body: unknown): ObjectDraft {
  if (!isRecord(body)) throw badRequest('the body is not an object')
  const metadata: unknown = body['metadata'] ?? {}
  if (!isRecord(metadata)) throw badRequest('metadata is not an object')
  const expected = groupVersion(type.group, version)
  const sent = body['apiVersion'] || expected
  if (sent !== expected) {
    throw badRequest(`the API version in the data (${sent}) does not match the expected API version (${expected})`)
  }
  if (namespace !== undefined && metadata['namespace'] && metadata['namespace'] !== namespace) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request')
  }
  if (name !== undefined && metadata['name'] && metadata['name'] !== name) {
    const names = `the name of the object (${metadata['name']}) does not match the name on the URL (${name})`
    throw badRequest(names)
  }
  const place = { ...(namespace === undefined ? {} : { namespace }), ...(name === undefined ? {} : { name }) }
  return { ...body, metadata: { ...metadata, ...place } }
}
