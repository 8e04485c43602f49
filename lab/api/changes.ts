// The watch log of one resource: the last changes in order, and who listens to what comes next.
//
//   forgotten ≤ [ change, change, … ] ≤ now      a watch may start at any resourceVersion ≥ forgotten
import { expired, tooMany } from './status.ts'
import type { KubeObject } from './object.ts'

export interface Change {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'
  readonly object: KubeObject
  /** What the object was before, for selectors that it enters or leaves; null for ADDED. */
  readonly previous: KubeObject | null
  readonly version: number
}

export type Listener = (change: Change) => void

export class Changes {
  readonly #limit: number
  readonly #listenerLimit: number
  readonly #listeners = new Set<Listener>()
  #log: Change[] = []
  /** Index of the oldest change kept; the array is cut only when half of it is dead, to stay O(1) a change. */
  #first = 0
  #forgotten: number

  constructor(options: { limit: number; listenerLimit: number; since: number }) {
    this.#limit = options.limit
    this.#listenerLimit = options.listenerLimit
    this.#forgotten = options.since
  }

  append(change: Change): void {
    this.#log.push(change)
    if (this.#log.length - this.#first > this.#limit) {
      this.#forgotten = this.#log[this.#first]!.version
      this.#first++
    }
    if (this.#first > this.#limit) {
      this.#log = this.#log.slice(this.#first)
      this.#first = 0
    }
  }

  /** Tells the listeners of one change. `report` gets what a listener throws: the others still hear of the change. */
  announce(change: Change, report: (error: unknown) => void): void {
    for (const listener of [...this.#listeners]) {
      if (!this.#listeners.has(listener)) continue
      try {
        listener(change)
      } catch (error) {
        report(error)
      }
    }
  }

  /** The changes after `version`, oldest first. Throws 410 when some of them are no longer kept. */
  since(version: number): Change[] {
    if (version < this.#forgotten) throw expired(`too old resource version: ${version} (${this.#forgotten})`)
    const kept = this.#first === 0 ? this.#log : this.#log.slice(this.#first)
    let from = kept.length
    while (from > 0 && kept[from - 1]!.version > version) from--
    return kept.slice(from)
  }

  /** Throws 429 when the resource has as many listeners as allowed. Returns what ends the listening. */
  listen(listener: Listener): () => void {
    if (this.#listeners.size >= this.#listenerLimit) throw tooMany('too many watches of this resource', 1)
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }
}
