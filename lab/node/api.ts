// A small client of the Kubernetes API for the lab's own processes: plain http, JSON, and a watch that survives disconnects.
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { V1ObjectMeta } from '@kubernetes/client-node'

/** Longest time a request other than a watch may take. */
export const REQUEST_TIMEOUT_MS = 10_000
/** The server ends a watch after this long; the client starts the next where the last one stopped. */
export const WATCH_SECONDS = 300
/** Longest watch event accepted; etcd takes no object beyond 1.5 MiB. */
export const WATCH_EVENT_BYTES = 4 << 20
const RETRY_FIRST_MS = 100
const RETRY_MOST_MS = 5_000

export interface KubeObject {
  apiVersion?: string
  kind?: string
  metadata?: V1ObjectMeta
}

/** The server answered with an error status. `code` is the HTTP status, `message` the server's sentence. */
export class ApiError extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

export type PatchKind = 'merge' | 'strategic'
const PATCH_TYPES: Record<PatchKind, string> = {
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
}

export class Api {
  readonly #base: URL
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 8 })

  /** `url` is the server's address, such as http://127.0.0.1:6443. */
  constructor(url: string) {
    this.#base = new URL(url)
  }

  get<T>(path: string): Promise<T> {
    return this.#json('GET', path)
  }
  create<T>(path: string, body: unknown): Promise<T> {
    return this.#json('POST', path, body)
  }
  patch<T>(path: string, body: unknown, kind: PatchKind = 'merge'): Promise<T> {
    return this.#json('PATCH', path, body, PATCH_TYPES[kind])
  }
  remove<T>(path: string, options: unknown = {}): Promise<T> {
    return this.#json('DELETE', path, options)
  }

  /** Opens a request and hands over the response as it streams; aborted by `signal`. */
  stream(path: string, signal: AbortSignal): Promise<http.IncomingMessage> {
    return new Promise((resolve, reject) => {
      const request = http.get(new URL(path, this.#base), { agent: false, signal }, resolve)
      request.on('error', reject)
    })
  }

  close(): void {
    this.#agent.destroy()
  }

  #json<T>(method: string, path: string, body?: unknown, type = 'application/json'): Promise<T> {
    const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body))
    const headers: http.OutgoingHttpHeaders = { accept: 'application/json' }
    if (payload) Object.assign(headers, { 'content-type': type, 'content-length': payload.length })
    return new Promise((resolve, reject) => {
      const options = { method, headers, agent: this.#agent, timeout: REQUEST_TIMEOUT_MS }
      const request = http.request(new URL(path, this.#base), options, (response) => {
        readAll(response).then((text) => {
          const code = response.statusCode ?? 0
          if (code >= 200 && code < 300) resolve(JSON.parse(text) as T)
          else reject(new ApiError(code, sentenceOf(text, code)))
        }, reject)
      })
      request.on('timeout', () =>
        request.destroy(new Error(`${method} ${path}: no answer in ${String(REQUEST_TIMEOUT_MS)} ms`)),
      )
      request.on('error', reject)
      request.end(payload)
    })
  }
}

async function readAll(response: http.IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

function sentenceOf(text: string, code: number): string {
  try {
    return (JSON.parse(text) as { message?: string }).message ?? `HTTP ${String(code)}`
  } catch {
    return text.slice(0, 200) || `HTTP ${String(code)}`
  }
}

export interface Watch<T extends KubeObject> {
  /** A collection's path, with its selectors as a query. */
  readonly path: string
  /** Called for each object that is new or changed. */
  put(object: T): void
  /** Called for each object that is gone, with its last known state. */
  gone(object: T): void
  failed?(error: Error): void
}

/** Lists, then watches, and starts over as needed (expired version, lost connection) until the signal is aborted. */
export async function keepWatching<T extends KubeObject>(
  api: Api,
  watch: Watch<T>,
  signal: AbortSignal,
): Promise<void> {
  const followed: Followed<T> = { watch, known: new Map(), version: undefined }
  let retryMs = RETRY_FIRST_MS
  while (!signal.aborted) {
    try {
      if (followed.version === undefined) await listInto(api, followed)
      await follow(api, followed, signal)
      retryMs = RETRY_FIRST_MS
    } catch (error) {
      if (signal.aborted) return
      watch.failed?.(error as Error)
      await sleep(retryMs, undefined, { signal }).catch(() => undefined)
      retryMs = Math.min(retryMs * 2, RETRY_MOST_MS)
    }
  }
}

interface Followed<T extends KubeObject> {
  readonly watch: Watch<T>
  /** The objects as last handed over, by namespace and name. */
  readonly known: Map<string, T>
  /** Up to where changes were handed over: a watch that breaks off goes on from here. Undefined: a list is needed. */
  version: string | undefined
}

const keyOf = (object: KubeObject): string => `${object.metadata?.namespace ?? ''}/${object.metadata?.name ?? ''}`

async function listInto<T extends KubeObject>(api: Api, followed: Followed<T>): Promise<void> {
  const { watch, known } = followed
  const list = await api.get<{ metadata: { resourceVersion: string }; items: T[] }>(watch.path)
  const fresh = new Map(list.items.map((item) => [keyOf(item), item]))
  for (const [key, old] of known) {
    if (fresh.get(key)?.metadata?.uid === old.metadata?.uid) continue
    known.delete(key)
    watch.gone(old)
  }
  for (const [key, item] of fresh) {
    if (known.get(key)?.metadata?.resourceVersion === item.metadata?.resourceVersion) continue
    known.set(key, item)
    watch.put(item)
  }
  followed.version = list.metadata.resourceVersion
}

/** Follows one watch request to its end, as far as `followed` then says. */
async function follow<T extends KubeObject>(api: Api, followed: Followed<T>, signal: AbortSignal): Promise<void> {
  const { watch, known, version: since = '' } = followed
  const joiner = watch.path.includes('?') ? '&' : '?'
  const query = `watch=true&allowWatchBookmarks=true&resourceVersion=${since}&timeoutSeconds=${String(WATCH_SECONDS)}`
  const response = await api.stream(`${watch.path}${joiner}${query}`, signal)
  if (response.statusCode !== 200) {
    if (response.statusCode === 410) followed.version = undefined
    throw new ApiError(response.statusCode ?? 0, sentenceOf(await readAll(response), response.statusCode ?? 0))
  }
  for await (const line of linesOf(response)) {
    const event = JSON.parse(line) as { type: string; object: T }
    if (event.type === 'ERROR') {
      followed.version = undefined
      throw new ApiError(410, sentenceOf(JSON.stringify(event.object), 410))
    }
    followed.version = event.object.metadata?.resourceVersion ?? since
    if (event.type !== 'BOOKMARK') deliver(watch, known, event)
  }
}

function deliver<T extends KubeObject>(
  watch: Watch<T>,
  known: Map<string, T>,
  event: { type: string; object: T },
): void {
  const key = keyOf(event.object)
  if (event.type === 'DELETED') {
    known.delete(key)
    watch.gone(event.object)
  } else {
    known.set(key, event.object)
    watch.put(event.object)
  }
}

async function* linesOf(response: http.IncomingMessage): AsyncGenerator<string> {
  let rest = ''
  response.setEncoding('utf8')
  for await (const chunk of response) {
    const lines = (rest + (chunk as string)).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > WATCH_EVENT_BYTES) throw new Error('a watch event is longer than any object may be')
    for (const line of lines) if (line !== '') yield line
  }
}
