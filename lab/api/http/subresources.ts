// Subresources besides /status: scale of workloads; log, binding and eviction of pods; token of service accounts.
// Source: Kubernetes API reference autoscaling/v1 Scale, v1 Binding, policy/v1 Eviction, "read log of the specified Pod".
import { requestToken } from '../auth/token-request.ts'
import { isRecord } from '../object.ts'
import { ApiError, badRequest, methodNotAllowed, noSuchResource } from '../status.ts'
import { selectorText } from './cell-texts.ts'
import { found } from './read.ts'
import { wanted } from './write.ts'
import type { Exchange } from './exchange.ts'
import type { KubeObject, ObjectDraft } from '../object.ts'
import type { Place } from './path.ts'
import type { Store } from '../store.ts'
import type { Tokens } from '../auth/tokens.ts'

/** What `kubectl logs` asks for. */
export interface LogQuery {
  readonly namespace: string
  readonly pod: string
  readonly container: string
  /** Stay and send what is written later, until the signal. */
  readonly follow: boolean
  /** The instance before the last restart. */
  readonly previous: boolean
  readonly timestamps: boolean
  /** The last so many lines; undefined: all. */
  readonly tailLines: number | undefined
  /** Nothing written before this time (ms since the epoch). */
  readonly sinceMs: number | undefined
  readonly limitBytes: number | undefined
}

/** Reads a container's log: whole lines, each with its newline. May throw ApiError before the first of them. */
export type ReadLog = (query: LogQuery, signal: AbortSignal) => AsyncIterable<string | Uint8Array>

export interface Served {
  readonly store: Store
  readonly readLog: ReadLog | undefined
  readonly tokens: Tokens
}

export async function subresource(exchange: Exchange, place: Place, served: Served): Promise<void> {
  const { type, subresource: name } = place
  const { method } = exchange
  if (name === 'scale' && type.scale) return scale(exchange, place, served.store)
  if (type.key === 'serviceaccounts' && name === 'token' && method === 'POST') {
    return requestToken(exchange, place, served)
  }
  if (type.key !== 'pods') throw noSuchResource()
  if (name === 'log' && method === 'GET') return log(exchange, place, served)
  if (name === 'binding' && method === 'POST') return bind(exchange, place, served.store)
  if (name === 'eviction' && method === 'POST') return evict(exchange, place, served.store)
  if (name === 'exec' || name === 'attach') {
    throw methodNotAllowed(`${name} is not served by this API: run weft lab exec NAMESPACE/POD -- COMMAND`)
  }
  throw noSuchResource()
}

async function scale(exchange: Exchange, place: Place, store: Store): Promise<void> {
  const current = (): ObjectDraft => scaleOf(found(store, place))
  if (exchange.method === 'GET') return exchange.sendJson(200, current())
  const given = await wanted(exchange, place, current)
  const { spec = {}, metadata } = isRecord(given) ? given : {}
  const replicas: unknown = spec.replicas ?? 0
  const { namespace, name = '', type } = place
  const change = (object: KubeObject): void => {
    object.spec.replicas = replicas
    if (metadata?.resourceVersion) object.metadata.resourceVersion = metadata.resourceVersion
  }
  const scaled = { ...current(), spec: { replicas } }
  admitBelow(exchange, place, store, { object: scaled, oldObject: current() })
  const options = { dryRun: exchange.dryRun, writer: exchange.writer, isAdmitted: true }
  const object = store.modify(type.key, namespace ?? null, name, change, options)
  exchange.sendJson(200, scaleOf(object ?? found(store, place)))
}

/** Asks admission about what came by a subresource: an object of a kind of its own. */
function admitBelow(
  exchange: Exchange,
  { type, version, namespace, name = '', subresource: below }: Place,
  store: Store,
  { object, oldObject }: { readonly object: ObjectDraft; readonly oldObject: ObjectDraft | null },
): void {
  const { writer, dryRun } = exchange
  const operation = oldObject === null ? 'CREATE' : 'UPDATE'
  store.admit({ operation, type, version, namespace, name, subresource: below, object, oldObject, writer, dryRun })
}

/** What was posted to a subresource, as an object of `kind`. */
function posted(body: unknown, apiVersion: string, kind: string): ObjectDraft {
  const given = isRecord(body) ? body : {}
  return { apiVersion, kind, ...given, metadata: isRecord(given['metadata']) ? given['metadata'] : {} }
}

function scaleOf({ metadata, spec, status }: KubeObject): ObjectDraft {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = metadata
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas: spec.replicas },
    status: { replicas: status?.replicas ?? 0, selector: selectorText(spec.selector) },
  }
}

async function log(exchange: Exchange, place: Place, { store, readLog }: Served): Promise<void> {
  if (!readLog) throw methodNotAllowed('this API has no pod logs')
  const abort = new AbortController()
  const { response } = exchange
  response.once('close', () => abort.abort())
  const lines = readLog(logQuery(exchange, found(store, place)), abort.signal)[Symbol.asyncIterator]()
  let next = await lines.next()
  response.writeHead(200, { 'Content-Type': 'text/plain', 'Cache-Control': 'no-cache, private' })
  response.flushHeaders()
  for (; !next.done && !response.destroyed; next = await lines.next()) {
    if (!response.write(next.value)) await drained(response, abort.signal)
  }
  await lines.return?.()
  response.end()
}

function drained(response: Exchange['response'], signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done)
      signal.removeEventListener('abort', done)
      resolve()
    }
    response.once('drain', done)
    signal.addEventListener('abort', done)
    if (signal.aborted) done()
  })
}

function logQuery(exchange: Exchange, { metadata, spec }: KubeObject): LogQuery {
  const names: string[] = [...(spec.containers ?? []), ...(spec.initContainers ?? [])].map(({ name }) => name)
  const container = exchange.query.get('container') || (spec.containers.length === 1 ? names[0]! : '')
  if (container === '') {
    const all = spec.containers.map(({ name }: { name: string }) => name).join(' ')
    throw badRequest(`a container name must be specified for pod ${metadata.name}, choose one of: [${all}]`)
  }
  if (!names.includes(container)) throw badRequest(`container ${container} is not valid for pod ${metadata.name}`)
  const seconds = exchange.count('sinceSeconds')
  const sinceTime = exchange.query.get('sinceTime')
  const since = seconds === undefined ? Date.parse(sinceTime ?? '') : Date.now() - seconds * 1000
  return {
    namespace: metadata.namespace ?? '',
    pod: metadata.name,
    container,
    follow: exchange.isSet('follow'),
    previous: exchange.isSet('previous'),
    timestamps: exchange.isSet('timestamps'),
    tailLines: exchange.count('tailLines'),
    sinceMs: Number.isNaN(since) ? undefined : since,
    limitBytes: exchange.count('limitBytes'),
  }
}

async function bind(exchange: Exchange, place: Place, store: Store): Promise<void> {
  const body = await exchange.json()
  const node: unknown = isRecord(body) && isRecord(body['target']) ? body['target']['name'] : undefined
  if (typeof node !== 'string' || node === '') throw badRequest('target.name is required')
  const { metadata, spec } = found(store, place)
  if (spec.nodeName) {
    const message = `Operation cannot be fulfilled on pods/binding "${metadata.name}": pod is already assigned to a node`
    throw new ApiError(409, 'Conflict', message, { name: metadata.name, kind: 'pods/binding' })
  }
  admitBelow(exchange, place, store, { object: posted(body, 'v1', 'Binding'), oldObject: null })
  const options = { dryRun: exchange.dryRun, writer: exchange.writer, isAdmitted: true }
  store.modify('pods', place.namespace ?? null, metadata.name, (pod) => void (pod.spec.nodeName = node), options)
  exchange.sendJson(201, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 })
}

async function evict(exchange: Exchange, place: Place, store: Store): Promise<void> {
  const body = await exchange.json()
  const { name } = found(store, place).metadata
  const own = isRecord(body) && isRecord(body['deleteOptions']) ? body['deleteOptions'] : {}
  const grace: unknown = own['gracePeriodSeconds']
  const gracePeriodSeconds = typeof grace === 'number' ? grace : undefined
  admitBelow(exchange, place, store, { object: posted(body, 'policy/v1', 'Eviction'), oldObject: null })
  const options = { dryRun: exchange.dryRun, writer: exchange.writer, isAdmitted: true }
  store.delete('pods', place.namespace ?? null, name, { gracePeriodSeconds, ...options })
  exchange.sendJson(201, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 })
}
