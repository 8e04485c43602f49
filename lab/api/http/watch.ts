// Watches over http: a stream of events, one JSON document a line, for as long as both sides want.
// Source: Kubernetes API concepts "Efficient detection of changes", "Watch bookmarks", "Streaming lists".
import { matches } from '../selector.ts'
import { ApiError, tooMany } from '../status.ts'
import { fieldsOf } from '../fields.ts'
import { partial, tableOf } from './table.ts'
import { present, storedAs, textOf } from './view.ts'
import { groupVersion } from '../resources.ts'
import type { Change } from '../changes.ts'
import type { Form } from './accept.ts'
import type { KubeObject } from '../object.ts'
import type { ResourceType } from '../resources.ts'
import type { Selector } from '../selector.ts'
import type { ServerResponse } from 'node:http'
import type { Store } from '../store.ts'
import type { TableOrder } from './table.ts'

export interface WatchOrder {
  readonly type: ResourceType
  readonly version: string
  readonly namespace: string | undefined
  readonly labels: Selector
  readonly fields: Selector
  /** Undefined: what is there now comes first, as ADDED. */
  readonly since: number | undefined
  readonly form: Form
  readonly include: TableOrder['include']
  readonly bookmarks: boolean
  /** A streaming list: a bookmark says where what was there ends. */
  readonly marksEnd: boolean
  readonly timeoutMs: number
}

export interface WatchSettings {
  readonly store: Store
  readonly bookmarkMs: number
  readonly limit: number
  /** A client that leaves more than this unread is cut off; it watches again from where it was. */
  readonly bufferLimitBytes: number
}

export const DEFAULT_BOOKMARK_MS = 10_000
export const DEFAULT_WATCH_LIMIT = 2_000
export const DEFAULT_BUFFER_LIMIT_BYTES = 16 * 1024 * 1024
const END_OF_LIST = { 'k8s.io/initial-events-end': 'true' }

type EventType = Change['type'] | 'BOOKMARK' | 'ERROR'

/** All watches of one server: their number, their bookmarks, their end. */
export class Watches {
  readonly #settings: WatchSettings
  readonly #open = new Set<Watch>()
  readonly #bookmarks: NodeJS.Timeout

  constructor(settings: WatchSettings) {
    this.#settings = settings
    this.#bookmarks = setInterval(() => {
      for (const watch of this.#open) watch.bookmark()
    }, settings.bookmarkMs)
    this.#bookmarks.unref()
  }

  get size(): number {
    return this.#open.size
  }

  /** Streams events until the client leaves, the time is over or `close`. Throws 429 when there are too many. */
  serve(order: WatchOrder, response: ServerResponse): void {
    if (this.#open.size >= this.#settings.limit) throw tooMany('too many watches', 1)
    const watch = new Watch(order, response, this.#settings)
    this.#open.add(watch)
    response.once('close', () => {
      watch.end()
      this.#open.delete(watch)
    })
    watch.start()
  }

  close(): void {
    clearInterval(this.#bookmarks)
    for (const watch of this.#open) watch.end()
  }
}

class Watch {
  readonly #order: WatchOrder
  readonly #response: ServerResponse
  readonly #settings: WatchSettings
  #stop: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined
  #sentColumns = false

  constructor(order: WatchOrder, response: ServerResponse, settings: WatchSettings) {
    this.#order = order
    this.#response = response
    this.#settings = settings
  }

  start(): void {
    this.#response.writeHead(200, { 'Content-Type': 'application/json', 'Cache-Control': 'no-cache, private' })
    this.#response.flushHeaders()
    this.#timer = setTimeout(() => this.end(), this.#order.timeoutMs)
    this.#timer.unref()
    const { store } = this.#settings
    const { type, namespace, labels, fields, since, marksEnd } = this.#order
    const resource = storedAs(type)
    try {
      const version = since ?? Number(store.version)
      const present = since === undefined ? store.list(resource, { namespace, labels, fields }) : []
      for (const object of present) this.#send('ADDED', object)
      if (marksEnd) this.bookmark(END_OF_LIST)
      this.#stop = store.follow(resource, version, (change) => this.#pass(change))
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      this.#write('ERROR', JSON.stringify(error.status))
      this.end()
    }
  }

  /** Tells the client how far it is, so that a later watch need not start over. */
  bookmark(annotations?: Record<string, string>): void {
    const { type, version, bookmarks, form } = this.#order
    if (!bookmarks) return
    const metadata = { resourceVersion: this.#settings.store.version, creationTimestamp: null, annotations }
    const apiVersion = form.as === 'metadata' ? form.version : groupVersion(type.group, version)
    const kind = form.as === 'metadata' ? 'PartialObjectMetadata' : type.kind
    if (form.as === 'table') this.#write('BOOKMARK', this.#table([], form.version, metadata.resourceVersion))
    else this.#write('BOOKMARK', JSON.stringify({ kind, apiVersion, metadata }))
  }

  end(): void {
    clearTimeout(this.#timer)
    this.#stop?.()
    this.#stop = undefined
    this.#response.end()
  }

  #pass({ type, object, previous }: Change): void {
    const wasIn = previous !== null && this.#wants(previous)
    const isIn = type !== 'DELETED' && this.#wants(object)
    if (isIn) this.#send(wasIn ? 'MODIFIED' : 'ADDED', object)
    else if (wasIn) this.#send('DELETED', object)
  }

  #wants(object: KubeObject): boolean {
    const { type, namespace, labels, fields } = this.#order
    if (namespace !== undefined && object.metadata.namespace !== namespace) return false
    if (!matches(labels, object.metadata.labels)) return false
    return fields.length === 0 || matches(fields, fieldsOf(storedAs(type), object))
  }

  #send(event: EventType, object: KubeObject): void {
    const { type, version, form } = this.#order
    if (form.as === 'object') this.#write(event, textOf(type, version, object))
    else if (form.as === 'metadata') this.#write(event, JSON.stringify(partial(object, form.version)))
    else this.#write(event, this.#table([object], form.version, object.metadata.resourceVersion))
  }

  #table(objects: readonly KubeObject[], apiVersion: string, resourceVersion: string): string {
    const { type, version, include } = this.#order
    const order: TableOrder = { type, version, apiVersion, include, now: Date.now() }
    const shown = objects.map((object) => present(type, version, object))
    const table = tableOf(order, shown, { resourceVersion }) as Record<string, unknown>
    if (this.#sentColumns) table['columnDefinitions'] = []
    this.#sentColumns = true
    return JSON.stringify(table)
  }

  #write(event: EventType, object: string): void {
    if (this.#response.destroyed || this.#response.writableEnded) return
    this.#response.write(`{"type":"${event}","object":${object}}\n`)
    if (this.#response.writableLength > this.#settings.bufferLimitBytes) this.#response.destroy()
  }
}
