// Events that controllers leave on objects for `kubectl describe`: counted when they repeat, forgotten after an hour.
import { timestamp } from '../../api/object.ts'
import type { Store } from '../../api/store.ts'
import type { Stored } from './kinds.ts'
import type { Clock } from './queue.ts'

/** How long an event stays, as with kube-apiserver's --event-ttl. */
export const EVENT_LIFE_MS = 3_600_000
/** Events kept in the whole cluster; beyond it the oldest go at the next sweep. */
export const EVENT_LIMIT = 5_000
export const EVENT_SWEEP_MS = 60_000
/** Distinct events remembered for counting. */
const REMEMBERED_LIMIT = 2_000
/** New events a sweep interval; beyond it they are dropped: a storm must not fill the store. */
const NEW_LIMIT = 2_000

export interface Happening {
  readonly type: 'Normal' | 'Warning'
  readonly reason: string
  readonly message: string
  /** The controller that says so. */
  readonly component: string
}

export class Events {
  readonly #store: Store
  readonly #clock: Clock
  readonly #names = new Map<string, string>()
  #fresh = 0
  #serial = 0
  #cancel: () => void

  constructor(store: Store, clock: Clock) {
    this.#store = store
    this.#clock = clock
    this.#cancel = clock.after(EVENT_SWEEP_MS, () => this.#sweep())
  }

  /** Best effort: never throws. */
  record(about: Stored, happening: Happening): void {
    const { uid } = about.metadata
    const key = [uid, happening.component, happening.reason, happening.message].join('\n')
    const time = timestamp(new Date(this.#clock.now()))
    const namespace = about.metadata.namespace ?? 'default'
    try {
      if (this.#countUp(this.#names.get(key), namespace, time)) return
      if (this.#fresh++ >= NEW_LIMIT) return
      const name = `${about.metadata.name}.${this.#clock.now().toString(16)}${(++this.#serial).toString(16)}`
      this.#store.create('events', eventOf(about, happening, { name, namespace, time }))
      if (this.#names.size >= REMEMBERED_LIMIT) this.#names.delete(this.#names.keys().next().value!)
      this.#names.set(key, name)
    } catch {
      // A namespace that is going away takes no events.
    }
  }

  stop(): void {
    this.#cancel()
  }

  #countUp(name: string | undefined, namespace: string, time: string): boolean {
    if (name === undefined) return false
    const found = this.#store.modify('events', namespace, name, (event) => {
      event['count'] = Number(event['count'] ?? 1) + 1
      event['lastTimestamp'] = time
    })
    return found !== undefined
  }

  #sweep(): void {
    this.#fresh = 0
    const oldest = this.#clock.now() - EVENT_LIFE_MS
    const events = this.#store
      .list('events')
      .map(({ metadata, ...rest }) => ({ metadata, at: Date.parse(String(rest['lastTimestamp'] ?? '')) || 0 }))
      .sort((left, right) => right.at - left.at)
    for (const [position, { metadata, at }] of events.entries()) {
      if (at < oldest || position >= EVENT_LIMIT) {
        this.#store.delete('events', metadata.namespace ?? null, metadata.name)
      }
    }
    this.#cancel = this.#clock.after(EVENT_SWEEP_MS, () => this.#sweep())
  }
}

function eventOf(
  about: Stored,
  { component, ...said }: Happening,
  { name, namespace, time }: { name: string; namespace: string; time: string },
) {
  const { name: of, uid, resourceVersion } = about.metadata
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name, namespace },
    ...said,
    count: 1,
    firstTimestamp: time,
    lastTimestamp: time,
    source: { component },
    reportingComponent: component,
    reportingInstance: '',
    involvedObject: { apiVersion: about.apiVersion, kind: about.kind, namespace, name: of, uid, resourceVersion },
  }
}
