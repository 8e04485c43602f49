// One door to the Kubernetes API: list, watch and write by path. Raw paths, because a node must not load the API
// classes that the client library generates.

import http from 'node:http'
import https from 'node:https'
import { KubeConfig, Watch, type RequestContext } from '@kubernetes/client-node'
import type { KubeObject } from './object.ts'
import { useTokenFiles } from './token-file.ts'

export interface KubeList {
  readonly resourceVersion: string
  readonly items: readonly KubeObject[]
}

export type WatchEvent = { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK'; readonly object: KubeObject }

/** The API server's answer where it is not the one asked for. `status` is HTTP's, 0 where none came. */
export class KubeError extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.name = 'KubeError'
    this.status = status
  }
}

/** What the agent asks of the Kubernetes API. Every call throws KubeError. */
export interface KubeClient {
  /** One document. `withinMs` is how long all of it may take; without it, only silence is bounded. */
  get(path: string, withinMs?: number): Promise<unknown>
  /** `withinMs` as of get. */
  list(path: string, query: Record<string, string>, metadataOnly: boolean, withinMs?: number): Promise<KubeList>
  /** Streams events until the server ends it, an error comes, or `signal` aborts; then resolves or throws. */
  watch(ask: WatchRequest, onEvent: (event: WatchEvent) => void, signal: AbortSignal): Promise<void>
  /** Merge patch (RFC 7386). Gives the object as it stands then. `withinMs` as of get, here and below. */
  patch(path: string, body: unknown, withinMs?: number): Promise<unknown>
  /** POST to a collection. Gives the object as it was made; 409 where it is there already. */
  create(path: string, body: unknown, withinMs?: number): Promise<unknown>
  /** PUT. A resourceVersion in the body is compared (409). Gives the object as it stands then. */
  replace(path: string, body: unknown, withinMs?: number): Promise<unknown>
  /** DELETE, with what depends on it going first (propagation Foreground). Resolves when it is accepted; 404 where it is not there. */
  remove(path: string, withinMs?: number): Promise<unknown>
}

export interface WatchRequest {
  readonly path: string
  readonly query: Record<string, string>
  /** Ask for PartialObjectMetadata only. */
  readonly metadataOnly: boolean
}

/** Source: Kubernetes documentation "Use Cascading Deletion in a Cluster". */
const FOREGROUND = { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Foreground' }
const REQUEST_TIMEOUT_MS = 30_000
/** A watch that is silent for so long is opened again. API servers send a bookmark a minute. */
const WATCH_SILENCE_MS = 90_000
const ANSWER_LIMIT_BYTES = 256 * 1024 * 1024
const PARTIAL_LIST = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1'
const PARTIAL = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1'

/** Reads a kubeconfig file, or the pod's own service account where `file` is null. Throws where neither can be read. */
export function connectKube(file: string | null): KubeClient {
  const config = new KubeConfig()
  if (file === null) config.loadFromCluster()
  else {
    config.loadFromFile(file)
    useTokenFiles(config, file)
  }
  return clientOf(config, file ?? 'the cluster configuration')
}

/** A client by a kubeconfig that was read from `source`. Throws where it names no cluster. */
export function clientOf(config: KubeConfig, source: string): KubeClient {
  const base = serverOf(config, source)
  const write = async (path: string, request: Omit<Request, 'body'>, body: unknown): Promise<unknown> =>
    parsed(await send(config, base + path, { ...request, body: JSON.stringify(body) }))
  return {
    get: async (path, withinMs) => parsed(await send(config, base + path, { method: 'GET', withinMs })),
    list: (path, query, metadataOnly, withinMs) =>
      list(config, `${base}${path}?${new URLSearchParams(query).toString()}`, { metadataOnly, withinMs }),
    watch: (ask, onEvent, signal) => watch(metadataOnlyConfig(config, ask.metadataOnly), ask, { onEvent, signal }),
    patch: (path, body, withinMs) =>
      write(path, { method: 'PATCH', type: 'application/merge-patch+json', withinMs }, body),
    create: (path, body, withinMs) => write(path, { method: 'POST', type: 'application/json', withinMs }, body),
    replace: (path, body, withinMs) => write(path, { method: 'PUT', type: 'application/json', withinMs }, body),
    remove: (path, withinMs) => write(path, { method: 'DELETE', type: 'application/json', withinMs }, FOREGROUND),
  }
}

/** The server's address, without a slash at its end. Throws where `config`, read from `source`, names none. */
export function serverOf(config: KubeConfig, source: string): string {
  // the library refuses plain http unless told not to verify TLS; a plain http server has none to verify
  const isPlain = (server: string): boolean => server.startsWith('http:')
  config.clusters = config.clusters.map((one) => (isPlain(one.server) ? { ...one, skipTLSVerify: true } : one))
  const cluster = config.getCurrentCluster()
  if (cluster === null) throw new KubeError(0, `${source} names no current cluster`)
  return cluster.server.replace(/\/$/, '')
}

async function list(
  config: KubeConfig,
  url: string,
  { metadataOnly, withinMs }: { readonly metadataOnly: boolean; readonly withinMs: number | undefined },
): Promise<KubeList> {
  const accept = metadataOnly ? PARTIAL_LIST : 'application/json'
  const answer = parsed(await send(config, url, { method: 'GET', accept, withinMs })) as {
    metadata: { resourceVersion: string }
    items: KubeObject[] | null
  }
  return { resourceVersion: answer.metadata.resourceVersion, items: answer.items ?? [] }
}

async function watch(
  config: KubeConfig,
  ask: WatchRequest,
  to: { readonly onEvent: (event: WatchEvent) => void; readonly signal: AbortSignal },
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const query = { ...ask.query, allowWatchBookmarks: 'true' }
  const onEvent = (type: string, object: KubeObject & { code?: number; message?: string }): void => {
    if (type === 'ERROR') reject(new KubeError(object.code ?? 0, object.message ?? 'watch error'))
    else to.onEvent({ type: type as WatchEvent['type'], object })
  }
  const onEnd = (error: unknown): void => {
    if (error === null || error === undefined || isTimeout(error)) resolve()
    else reject(asKubeError(error))
  }
  const opening = openWatch(config).watch(ask.path, query, onEvent, onEnd)
  const controller = await opening.catch((error: unknown) => {
    throw asKubeError(error)
  })
  const stop = (): void => controller.abort()
  to.signal.addEventListener('abort', stop, { once: true })
  if (to.signal.aborted) stop()
  try {
    await promise
  } finally {
    to.signal.removeEventListener('abort', stop)
    stop()
  }
}

/** The library gives up after 30 s of silence: a quiet kind would never hear a bookmark, and be listed again and again. */
function openWatch(config: KubeConfig): Watch {
  const watch = new Watch(config)
  ;(watch as unknown as { requestTimeoutMs: number }).requestTimeoutMs = WATCH_SILENCE_MS
  return watch
}

/** The library's Watch sets no Accept header: this asks for metadata where it fills in credentials. */
function metadataOnlyConfig(config: KubeConfig, metadataOnly: boolean): KubeConfig {
  if (!metadataOnly) return config
  const asking = Object.create(config) as KubeConfig
  asking.applySecurityAuthentication = async (request: RequestContext): Promise<void> => {
    await config.applySecurityAuthentication(request)
    request.setHeaderParam('Accept', PARTIAL)
  }
  return asking
}

/** A watch that fell silent is simply opened again from where it was. */
function isTimeout(error: unknown): boolean {
  return error instanceof Error && (error.name === 'TimeoutError' || error.name === 'AbortError')
}

function asKubeError(error: unknown): KubeError {
  if (error instanceof KubeError) return error
  const status = (error as { statusCode?: number }).statusCode ?? 0
  return new KubeError(status, error instanceof Error ? error.message : String(error))
}

interface Request {
  readonly method: 'GET' | 'PATCH' | 'POST' | 'PUT' | 'DELETE'
  readonly accept?: string
  readonly type?: string
  readonly body?: string
  readonly withinMs?: number | undefined
}

async function send(config: KubeConfig, url: string, request: Request): Promise<string> {
  const options: https.RequestOptions = { method: request.method, timeout: REQUEST_TIMEOUT_MS }
  await config.applyToHTTPSOptions(options).catch((error: unknown) => {
    throw asKubeError(error)
  })
  const headers: http.OutgoingHttpHeaders = { ...(options.headers as http.OutgoingHttpHeaders | undefined) }
  headers['accept'] = request.accept ?? 'application/json'
  if (request.type !== undefined) headers['content-type'] = request.type
  if (request.body !== undefined) headers['content-length'] = Buffer.byteLength(request.body)
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const { withinMs } = request
  if (withinMs !== undefined) options.signal = AbortSignal.timeout(withinMs)
  const failed = (error: Error): void => {
    const why = options.signal?.aborted ? `no answer within ${withinMs} ms` : error.message
    reject(error instanceof KubeError ? error : new KubeError(0, `${request.method} ${url}: ${why}`))
  }
  const outgoing = (url.startsWith('https:') ? https : http).request(url, { ...options, headers }, (response) => {
    readAnswer(response).then(resolve, failed)
  })
  outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${REQUEST_TIMEOUT_MS} ms`)))
  outgoing.on('error', failed)
  outgoing.end(request.body)
  return promise
}

/** The text of an answer. Rejects with KubeError where it is no success, or too long. */
export async function readAnswer(response: http.IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > ANSWER_LIMIT_BYTES) throw new KubeError(0, `answer exceeds ${ANSWER_LIMIT_BYTES} bytes`)
    chunks.push(chunk)
  }
  const text = Buffer.concat(chunks).toString('utf8')
  const status = response.statusCode ?? 0
  if (status >= 200 && status < 300) return text
  throw new KubeError(status, reasonOf(text) ?? `HTTP ${status}`)
}

/** Throws KubeError where it is no JSON, without a word of it: the answer may be a Secret. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new KubeError(0, `an answer of ${text.length} characters is no JSON`)
  }
}

/** The message of a metav1.Status, where the answer is one. */
function reasonOf(text: string): string | null {
  try {
    const { message } = JSON.parse(text) as { message?: unknown }
    return typeof message === 'string' ? message : null
  } catch {
    return null
  }
}
