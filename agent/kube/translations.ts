// Keeps the translations of one kind: what is in force, and what is to be said of each object.

import type { Changes } from '../model/delta.ts'
import type { Problem } from '../model/policy.ts'
import type { KubeObject } from './object.ts'
import type { ObjectChange } from './reflector.ts'
import { attempt, DRY_RUN, refOf, type Translation } from './translate.ts'

/** An object and what came of it. */
interface Done<T> {
  readonly object: KubeObject
  /** `namespace/name`. */
  readonly key: string
  readonly translation: Translation<T>
  /** What its last sound version is; undefined: none was ever seen. */
  readonly sound: T | null | undefined
}

/** Translations of one kind: each object once, and the last good one of an object kept while a worse one stands there. */
export class Translations<T> {
  readonly #kind: string
  readonly #translate: (object: KubeObject) => Translation<T>
  readonly #done = new Map<string, Done<T>>()
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
      const isKnown = known !== undefined && after !== null && isSameWish(known.object, after)
      const done = after === null ? null : isKnown ? { ...known, object: after } : this.#fresh(after, known?.sound)
      if (done === null) this.#done.delete(uid)
      else this.#done.set(uid, done)
      if (isKnown) continue
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

  /** Each object with its translation. */
  each(): readonly Done<T>[] {
    return [...this.#done.values()]
  }

  /** An unsound one counts as its last sound version, else as its translation has it. */
  #fresh(object: KubeObject, last: T | null | undefined): Done<T> {
    const ref = refOf(this.#kind, object)
    const translation = attempt(ref, () => this.#translate(object))
    const key = `${ref.namespace}/${ref.name}`
    const sound = translation.rejected ? last : translation.value
    const value = sound === undefined ? translation.value : sound
    return { object, key, translation: { ...translation, value }, sound }
  }
}

/** Whether what its author asks for did not change: a status that was written, or a label, is no reason to translate. */
function isSameWish(one: KubeObject, other: KubeObject): boolean {
  const { annotations, generation } = other.metadata
  if (one === other) return true
  // an annotation is no part of the desired state, and does not count as a generation
  if (one.metadata.annotations?.[DRY_RUN] !== annotations?.[DRY_RUN]) return false
  return generation !== undefined && one.metadata.generation === generation
}

function never(): never {
  throw new Error('a change of no object')
}
