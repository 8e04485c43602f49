// Keeps one kind's objects as the API server has them: list once, then watch from there, and again after every loss.

import { setTimeout as sleep } from 'node:timers/promises'
import { type KubeClient, KubeError } from './client.ts'
import type { KubeObject } from './object.ts'

export interface ReflectorSource {
  /** How logs name it. */
  readonly name: string
  /** Path of the collection, or null while the cluster does not serve the kind: asked again before each list. */
  readonly path: () => Promise<string | null>
  readonly query: Record<string, string>
  readonly metadataOnly: boolean
}

export interface ReflectorLog {
  warn(fields: object, message: string): void
}

/** First and longest wait between attempts; doubled at each failure in a row, drawn from its upper half. */
const FIRST_WAIT_MS = 200
const LONGEST_WAIT_MS = 30_000
/** How long an absent kind is left alone before it is looked for again. */
const ABSENT_WAIT_MS = 5_000

/** A live copy of a collection. Objects are replaced, never changed: equal identity means equal content. */
export class Reflector<T extends KubeObject = KubeObject> {
  readonly objects = new Map<string, T>()
  /** Resolves when the first list is in, or when the cluster turned out not to serve the kind. */
  readonly synced: Promise<void>
  readonly #source: ReflectorSource
  readonly #client: KubeClient
  readonly #log: ReflectorLog
  readonly #onChange: () => void
  readonly #stop = new AbortController()
  #markSynced: () => void
  #resourceVersion: string | null = null

  constructor(source: ReflectorSource, client: KubeClient, on: { change: () => void; log: ReflectorLog }) {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.synced = promise
    this.#markSynced = resolve
    this.#source = source
    this.#client = client
    this.#log = on.log
    this.#onChange = on.change
  }

  /** Runs until stop(). Never throws: whatever goes wrong is logged and tried again. */
  async run(): Promise<void> {
    let wait = FIRST_WAIT_MS
    while (!this.#stop.signal.aborted) {
      try {
        const found = await this.#follow()
        wait = FIRST_WAIT_MS
        if (!found) await this.#pause(ABSENT_WAIT_MS)
      } catch (error) {
        if (this.#stop.signal.aborted) return
        if (error instanceof KubeError && error.status === 410) {
          this.#resourceVersion = null // too old to resume: list anew, at once
          continue
        }
        this.#log.warn({ kind: this.#source.name, reason: (error as Error).message, waitMs: wait }, 'watch lost')
        await this.#pause(wait / 2 + (Math.random() * wait) / 2)
        wait = Math.min(wait * 2, LONGEST_WAIT_MS)
      }
    }
  }

  stop(): void {
    this.#stop.abort()
  }

  /** One list where needed and one watch to its end. False where the cluster does not serve the kind. */
  async #follow(): Promise<boolean> {
    const path = await this.#source.path()
    if (path === null) {
      this.#replace([])
      this.#resourceVersion = null
      return false
    }
    if (this.#resourceVersion === null) {
      const { items, resourceVersion } = await this.#client.list(path, this.#source.query, this.#source.metadataOnly)
      this.#resourceVersion = resourceVersion
      this.#replace(items as readonly T[])
    }
    const query = { ...this.#source.query, resourceVersion: this.#resourceVersion }
    const ask = { path, query, metadataOnly: this.#source.metadataOnly }
    await this.#client.watch(ask, (event) => this.#apply(event.type, event.object as T), this.#stop.signal)
    return true
  }

  #apply(type: string, object: T): void {
    this.#resourceVersion = object.metadata.resourceVersion
    if (type === 'BOOKMARK') return
    const { uid } = object.metadata
    if (type === 'DELETED') this.objects.delete(uid)
    else this.objects.set(uid, object)
    this.#onChange()
  }

  /** Takes over a list; an object that did not change keeps its identity. */
  #replace(items: readonly T[]): void {
    const before = new Map(this.objects)
    this.objects.clear()
    for (const item of items) {
      const known = before.get(item.metadata.uid)
      const same = known?.metadata.resourceVersion === item.metadata.resourceVersion
      this.objects.set(item.metadata.uid, same && known !== undefined ? known : item)
    }
    this.#markSynced()
    this.#onChange()
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined) // aborted: the loop ends
  }
}
