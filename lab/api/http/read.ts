// get, list and watch. Source: Kubernetes API concepts "Retrieving resources", "Resource versions".
import { checkFields } from '../fields.ts'
import { groupVersion } from '../resources.ts'
import { parseFieldSelector, parseLabelSelector } from '../selector.ts'
import { ApiError, badRequest, expired, notFound } from '../status.ts'
import { formOf } from './accept.ts'
import { partial, tableOf } from './table.ts'
import { storedAs, textOf } from './view.ts'
import type { Exchange } from './exchange.ts'
import type { Form } from './accept.ts'
import type { KubeObject } from '../object.ts'
import type { Place } from './path.ts'
import type { Store } from '../store.ts'
import type { TableOrder } from './table.ts'
import type { Watches } from './watch.ts'

const DEFAULT_WATCH_SECONDS = 30 * 60
const LONGEST_WATCH_SECONDS = 24 * 60 * 60

/** The stored object a place names. Throws 404. */
export function found(store: Store, { type, namespace, name = '' }: Place): KubeObject {
  const object = store.get(storedAs(type), namespace ?? null, name)
  if (!object) throw notFound(type, name)
  return object
}

export function get(exchange: Exchange, place: Place, store: Store): void {
  sendObject(exchange, place, 200, found(store, place))
}

/** Answers with one object in the form the client asked for. */
export function sendObject(exchange: Exchange, place: Place, code: number, object: KubeObject): void {
  const form = formOf(exchange.accept)
  if (form.as === 'object') exchange.send(code, textOf(place.type, place.version, object))
  else if (form.as === 'metadata') exchange.sendJson(code, partial(object, form.version))
  else {
    const { resourceVersion } = object.metadata
    exchange.sendJson(code, tableOf(tableOrder(exchange, place, form.version), [object], { resourceVersion }))
  }
}

export function listOrWatch(
  exchange: Exchange,
  place: Place,
  { store, watches }: { store: Store; watches: Watches },
): void {
  if (exchange.isSet('watch')) watch(exchange, place, watches)
  else list(exchange, place, store)
}

/** The objects that a collection request selects. Throws 400 on a selector that does not parse. */
export function selected(exchange: Exchange, place: Place, store: Store): KubeObject[] {
  const { namespace } = place
  return store.list(storedAs(place.type), { namespace, ...selectorsOf(exchange, place) })
}

function list(exchange: Exchange, place: Place, store: Store): void {
  checkAge(exchange, store)
  const objects = selected(exchange, place, store)
  sendList(exchange, place, objects, store.version)
}

/** Answers with a list in the form the client asked for. */
export function sendList(
  exchange: Exchange,
  place: Place,
  objects: readonly KubeObject[],
  resourceVersion: string,
): void {
  const { type, version } = place
  const form: Form = formOf(exchange.accept)
  const metadata = { resourceVersion }
  if (form.as === 'table') {
    exchange.sendJson(200, tableOf(tableOrder(exchange, place, form.version), objects, metadata))
  } else if (form.as === 'metadata') {
    const items = objects.map((object) => partial(object, form.version))
    exchange.sendJson(200, { kind: 'PartialObjectMetadataList', apiVersion: form.version, metadata, items })
  } else {
    const head = JSON.stringify({ kind: type.listKind, apiVersion: groupVersion(type.group, version), metadata })
    const items = objects.map((object) => textOf(type, version, object)).join(',')
    exchange.send(200, `${head.slice(0, -1)},"items":[${items}]}`)
  }
}

function watch(exchange: Exchange, place: Place, watches: Watches): void {
  const { query } = exchange
  const initial = exchange.isSet('sendInitialEvents')
  const version = query.get('resourceVersion') ?? ''
  if (!/^\d*$/.test(version)) throw badRequest(`invalid resource version: ${JSON.stringify(version)}`)
  const isFromNow = initial || version === '' || version === '0'
  const seconds = Math.min(exchange.count('timeoutSeconds') || DEFAULT_WATCH_SECONDS, LONGEST_WATCH_SECONDS)
  const bookmarks = exchange.isSet('allowWatchBookmarks')
  const order = {
    type: place.type,
    version: place.version,
    namespace: place.namespace,
    ...selectorsOf(exchange, place),
    since: isFromNow ? undefined : Number(version),
    form: formOf(exchange.accept),
    include: includeOf(exchange),
    bookmarks,
    marksEnd: initial && bookmarks,
    timeoutMs: seconds * 1000,
  }
  watches.serve(order, exchange.response)
}

function selectorsOf({ query }: Exchange, { type, name }: Place) {
  const fields = parseFieldSelector(query.get('fieldSelector') ?? '')
  checkFields(storedAs(type), fields)
  const one = name === undefined ? [] : [{ key: 'metadata.name', operator: 'in' as const, values: [name] }]
  return { labels: parseLabelSelector(query.get('labelSelector') ?? ''), fields: [...one, ...fields] }
}

function tableOrder(exchange: Exchange, { type, version }: Place, apiVersion: string): TableOrder {
  return { type, version, apiVersion, include: includeOf(exchange), now: Date.now() }
}

function includeOf({ query }: Exchange): TableOrder['include'] {
  const include = query.get('includeObject')
  return include === 'None' || include === 'Object' ? include : 'Metadata'
}

// Only the present can be listed, and always whole.
function checkAge({ query }: Exchange, store: Store): void {
  if (query.get('continue')) throw expired('the provided continue parameter is too old: start a new list')
  const version = query.get('resourceVersion') ?? ''
  if (!/^\d*$/.test(version)) throw badRequest(`invalid resource version: ${JSON.stringify(version)}`)
  if (query.get('resourceVersionMatch') === 'Exact' && version !== store.version) {
    throw expired('the resourceVersion for the provided list is too old')
  }
  if (Number(version) <= Number(store.version)) return
  const causes = [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version', field: '' }]
  const message = `Too large resource version: ${version}, current: ${store.version}`
  throw new ApiError(504, 'Timeout', message, { causes, retryAfterSeconds: 1 })
}
