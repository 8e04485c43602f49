// Keeps the translations of one kind: what is in force, and what is to be said of each object.

import type { Problem } from '../model/policy.ts'
import type { KubeObject } from './object.ts'
import type { Reflector } from './reflector.ts'
import { attempt, refOf, type Translation } from './translate.ts'

/** Translations of one kind: each object once, and the last good one of an object kept while a worse one stands there. */
export class Translations<T> {
  readonly #reflector: Reflector
  readonly #kind: string
  readonly #translate: (object: KubeObject) => Translation<T>
  #done = new Map<string, { object: KubeObject; translation: Translation<T> }>()

  constructor(reflector: Reflector, kind: string, translate: (object: KubeObject) => Translation<T>) {
    this.#reflector = reflector
    this.#kind = kind
    this.#translate = translate
  }

  read(): { values: readonly T[]; problems: readonly Problem[] } {
    const done = new Map<string, { object: KubeObject; translation: Translation<T> }>()
    for (const [uid, object] of this.#reflector.objects) {
      const known = this.#done.get(uid)
      const isKnown = known !== undefined && isSameWish(known.object, object)
      done.set(uid, { object, translation: isKnown ? known.translation : this.#fresh(object, known?.translation) })
    }
    this.#done = done
    const translations = [...done.values()].map(({ translation }) => translation)
    return {
      values: translations.flatMap(({ value }) => (value === null ? [] : [value])),
      problems: translations.flatMap(({ problems }) => problems),
    }
  }

  /** Each object with its translation, as of the last read(). */
  each(): readonly { readonly object: KubeObject; readonly translation: Translation<T> }[] {
    return [...this.#done.values()]
  }

  #fresh(object: KubeObject, last: Translation<T> | undefined): Translation<T> {
    const translation = attempt(refOf(this.#kind, object), () => this.#translate(object))
    return translation.rejected && last ? { ...translation, value: last.value } : translation
  }
}

/** Whether what its author asks for did not change: a status that was written, or a label, is no reason to translate. */
function isSameWish(one: KubeObject, other: KubeObject): boolean {
  const { generation } = other.metadata
  return one === other || (generation !== undefined && one.metadata.generation === generation)
}
