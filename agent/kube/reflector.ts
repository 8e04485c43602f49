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
  /** Whether it can be done without: what is refused or not there is taken for an empty list, and asked for again. */
  readonly isOptional?: boolean
  /** What is kept of an object, by its metadata's uid and resourceVersion; without it all of it is. */
  readonly keep?: (object: KubeObject) => KubeObject
}

/** One object before and after; null where it was not, or is no more. */
export interface ObjectChange<T extends KubeObject = KubeObject> {
  readonly before: T | null
  readonly after: T | null
}

export interface ReflectorLog {
  warn(fields: object, message: string): void
}

/** First and longest wait between attempts; doubled at each failure in a row, drawn from its upper half. */
const FIRST_WAIT_MS = 200
const LONGEST_WAIT_MS = 30_000
/** How long an absent kind is left alone before it is looked for again. */
const ABSENT_WAIT_MS = 5_000
/** How often in a row a kind must be absent before its objects are: discovery may fail for a moment. */
const ABSENT_TIMES = 3
/** A watch that lasted so long, or brought an event, was a sound one: the next failure is the first in a row again. */
const SOUND_MS = 1_000

/** How a list and watch ended: by the server, because the kind is not served, too old to resume (410), or badly. */
interface End {
  readonly kind: 'ended' | 'absent' | 'expired' | 'failed'
  readonly reason: string
}

function endOf(error: unknown): End {
  const isExpired = error instanceof KubeError && error.status === 410
  return { kind: isExpired ? 'expired' : 'failed', reason: error instanceof Error ? error.message : String(error) }
}

/** A live copy of a collection. Objects are replaced, never changed: equal identity means equal content. */
export class Reflector<T extends KubeObject = KubeObject> {
  readonly objects = new Map<string, T>()
  /** Resolves when the first list is in, or when the cluster turned out not to serve the kind. */
  readonly synced: Promise<void>
  readonly #source: ReflectorSource
  readonly #client: KubeClient
  readonly #log: ReflectorLog
  readonly #onChange: (changes: readonly ObjectChange<T>[]) => void
  readonly #stop = new AbortController()
  #markSynced: () => void
  #resourceVersion: string | null = null
  #events = 0
  #absences = 0

  /** `on.change` hears of each event, and of all that a list changed at once. */
  constructor(
    source: ReflectorSource,
    client: KubeClient,
    on: { change: (changes: readonly ObjectChange<T>[]) => void; log: ReflectorLog },
  ) {
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
    let failures = 0
    while (!this.#stop.signal.aborted) {
      const [begunMs, heard] = [performance.now(), this.#events]
      const end = await this.#follow().catch((error: unknown) => this.#badEnd(error))
      if (this.#stop.signal.aborted) return
      const isSound = this.#events > heard || performance.now() - begunMs >= SOUND_MS
      if (isSound || end.kind === 'absent') failures = 0
      if (end.kind === 'absent') {
        await this.#pause(ABSENT_WAIT_MS / 2 + Math.random() * ABSENT_WAIT_MS) // nodes must not ask in step
        continue
      }
      if (end.kind === 'expired') this.#resourceVersion = null // too old to resume: list anew
      // a server that ends every watch at once must not be asked in a loop
      const isDue = end.kind === 'ended' ? isSound : end.kind === 'expired' && failures === 0
      if (!isDue) await this.#backOff(failures, end.reason)
      if (end.kind !== 'ended' || !isSound) failures++
    }
  }

  stop(): void {
    this.#stop.abort()
  }

  #badEnd(error: unknown): End {
    const isRefused = error instanceof KubeError && (error.status === 403 || error.status === 404)
    if (isRefused && this.#source.isOptional === true) this.#markSynced()
    return endOf(error)
  }

  /** One list where needed and one watch to its end. */
  async #follow(): Promise<End> {
    const path = await this.#source.path()
    if (path === null) {
      this.#absences++
      if (this.objects.size === 0 || this.#absences >= ABSENT_TIMES) this.#replace([])
      this.#resourceVersion = null
      return { kind: 'absent', reason: 'the cluster does not serve it' }
    }
    this.#absences = 0
    if (this.#resourceVersion === null) {
      const { items, resourceVersion } = await this.#client.list(path, this.#source.query, this.#source.metadataOnly)
      this.#resourceVersion = resourceVersion
      this.#replace(items.map((item) => this.#kept(item)))
    }
    const query = { ...this.#source.query, resourceVersion: this.#resourceVersion }
    const ask = { path, query, metadataOnly: this.#source.metadataOnly }
    await this.#client.watch(ask, (event) => this.#apply(event.type, event.object), this.#stop.signal)
    return { kind: 'ended', reason: 'the watch ended at once' }
  }

  #kept(object: KubeObject): T {
    return (this.#source.keep?.(object) ?? object) as T
  }

  #apply(type: string, given: KubeObject): void {
    this.#resourceVersion = given.metadata.resourceVersion
    this.#events++
    if (type === 'BOOKMARK') return
    const object = this.#kept(given)
    const { uid } = object.metadata
    const before = this.objects.get(uid) ?? null
    if (type === 'DELETED') this.objects.delete(uid)
    else this.objects.set(uid, object)
    this.#onChange([{ before, after: type === 'DELETED' ? null : object }])
  }

  /** Takes over a list; an object that did not change keeps its identity, and a list that is the same is no change. */
  #replace(items: readonly T[]): void {
    const left = new Map(this.objects)
    const changes: ObjectChange<T>[] = []
    for (const item of items) {
      const { uid, resourceVersion } = item.metadata
      const before = left.get(uid) ?? null
      left.delete(uid)
      if (before?.metadata.resourceVersion === resourceVersion) continue
      this.objects.set(uid, item)
      changes.push({ before, after: item })
    }
    for (const [uid, before] of left) {
      this.objects.delete(uid)
      changes.unshift({ before, after: null }) // ahead of one that has taken its name
    }
    this.#markSynced()
    if (changes.length > 0) this.#onChange(changes)
  }

  async #backOff(failures: number, reason: string): Promise<void> {
    const wait = Math.min(FIRST_WAIT_MS * 2 ** failures, LONGEST_WAIT_MS)
    this.#log.warn({ kind: this.#source.name, reason, waitMs: wait }, 'watch lost')
    await this.#pause(wait / 2 + (Math.random() * wait) / 2)
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined) // aborted: the loop ends
  }
}
