// Events on pods, as the kubelet records them: one object a reason and message, counted when it repeats.
import { hostname } from 'node:os'
import type { V1Pod } from '@kubernetes/client-node'
import type { Api } from './api.ts'

/** Distinct events remembered for counting; beyond it the oldest is forgotten and would be recorded anew. */
export const REMEMBERED_EVENTS = 500
/** One event is counted up at most this often. */
export const COUNT_INTERVAL_MS = 1_000

export interface Happening {
  readonly type: 'Normal' | 'Warning'
  readonly reason: string
  readonly message: string
  /** The container it happened to; absent: the pod. */
  readonly container?: string
}

interface Remembered {
  readonly name: string
  count: number
  writtenMs: number
}

export class Events {
  readonly #api: Api
  readonly #node: string
  readonly #seen = new Map<string, Remembered>()
  #serial = 0

  constructor(api: Api, node: string) {
    this.#api = api
    this.#node = node
  }

  /** Records an event on a pod, or one of its containers. Never throws and never blocks: events are best effort. */
  record(pod: V1Pod, { type, reason, message, container }: Happening): void {
    const namespace = pod.metadata?.namespace ?? 'default'
    const key = [pod.metadata?.uid, type, reason, message, container].join('\n')
    const path = `/api/v1/namespaces/${namespace}/events`
    const timestamp = new Date().toISOString().replace(/\.\d+Z$/, 'Z')
    const known = this.#seen.get(key)
    if (known) {
      known.count += 1
      if (Date.now() - known.writtenMs < COUNT_INTERVAL_MS) return
      known.writtenMs = Date.now()
      this.#api.patch(`${path}/${known.name}`, { count: known.count, lastTimestamp: timestamp }).catch(() => undefined)
      return
    }
    this.#serial += 1
    const name = `${pod.metadata?.name ?? 'pod'}.${Date.now().toString(16)}${this.#serial.toString(16)}`
    this.#remember(key, { name, count: 1, writtenMs: Date.now() })
    this.#api
      .create(path, {
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name, namespace },
        type,
        reason,
        message,
        count: 1,
        firstTimestamp: timestamp,
        lastTimestamp: timestamp,
        source: { component: 'kubelet', host: this.#node },
        reportingComponent: 'kubelet',
        reportingInstance: hostname(),
        involvedObject: {
          apiVersion: 'v1',
          kind: 'Pod',
          namespace,
          name: pod.metadata?.name,
          uid: pod.metadata?.uid,
          ...(container === undefined ? {} : { fieldPath: `spec.containers{${container}}` }),
        },
      })
      .catch(() => undefined)
  }

  #remember(key: string, event: Remembered): void {
    if (this.#seen.size >= REMEMBERED_EVENTS) {
      const oldest = this.#seen.keys().next().value
      if (oldest !== undefined) this.#seen.delete(oldest)
    }
    this.#seen.set(key, event)
  }
}
