// Keeps the translations of one kind: what is in force, and what is to be said of each object.

import type { Changes } from '../model/delta.ts'
import type { Problem } from '../model/policy.ts'
import type { KubeObject } from './object.ts'
import type { ObjectChange } from './reflector.ts'
import { attempt, refOf, type Translation } from './translate.ts'

/** Translations of one kind: each object once, and the last good one of an object kept while a worse one stands there. */
export class Translations<T> {
  readonly #kind: string
  readonly #translate: (object: KubeObject) => Translation<T>
  readonly #done = new Map<string, { readonly key: string; readonly translation: Translation<T> }>()
  /** Who is in force, by namespace and name, as of the last flush; and what is to be in its place, null for nothing. */
  readonly #values = new Map<string, T>()
  readonly #pending = new Map<string, T | null>()
  #problems: readonly Problem[] = []

  constructor(kind: string, translate: (object: KubeObject) => Translation<T>) {
    this.#kind = kind
    this.#translate = translate
  }

  get values(): IterableIterator<T> {
    return this.#values.values()
  }

  /** The same array as long as there is nothing else to say. */
  get problems(): readonly Problem[] {
    return this.#problems
  }

  take(changes: readonly ObjectChange[]): void {
    let isTold = false
    for (const { before, after } of changes) {
      const { uid } = (after ?? before ?? never()).metadata
      const known = this.#done.get(uid)
      const done = after === null ? null : this.#fresh(after, known?.translation)
      if (done === null) this.#done.delete(uid)
      else this.#done.set(uid, done)
      isTold ||= (known?.translation.problems.length ?? 0) + (done?.translation.problems.length ?? 0) > 0
      const key = done?.key ?? known?.key
      if (key !== undefined) this.#pending.set(key, done?.translation.value ?? null)
    }
    if (isTold) this.#problems = [...this.#done.values()].flatMap(({ translation }) => translation.problems)
  }

  /** What has changed since it was asked last. */
  flush(): Changes<T> {
    const set: T[] = []
    const gone: string[] = []
    for (const [key, value] of this.#pending) {
      const before = this.#values.get(key)
      if (value === null) {
        if (this.#values.delete(key)) gone.push(key)
      } else if (value !== before) {
        this.#values.set(key, value)
        set.push(value)
      }
    }
    this.#pending.clear()
    return { set, gone }
  }

  #fresh(object: KubeObject, last: Translation<T> | undefined): { key: string; translation: Translation<T> } {
    const ref = refOf(this.#kind, object)
    const translation = attempt(ref, () => this.#translate(object))
    const key = `${ref.namespace}/${ref.name}`
    return { key, translation: translation.rejected && last ? { ...translation, value: last.value } : translation }
  }
}

function never(): never {
  throw new Error('a change of no object')
}
