// A live, indexed view of one resource: what controllers ask instead of listing the store. Cost a change: its own indexes.
import { matches, selectorOf, type LabelSelector } from '../../api/selector.ts'
import type { Store } from '../../api/store.ts'
import { as, keyOf, type Stored } from './kinds.ts'

/** Hears each change after the view has it: `now` null when it went, `before` null when it came. */
export type ChangeListener<T> = (now: T | null, before: T | null) => void

/** Objects by any number of keys each. */
export class Index<T extends Stored> {
  readonly #keysOf: (object: T) => readonly string[]
  readonly #buckets = new Map<string, Map<string, T>>()

  constructor(keysOf: (object: T) => readonly string[]) {
    this.#keysOf = keysOf
  }

  change(now: T | null, before: T | null): void {
    for (const key of before ? this.#keysOf(before) : []) {
      const bucket = this.#buckets.get(key)
      bucket?.delete(keyOf(before!))
      if (bucket?.size === 0) this.#buckets.delete(key)
    }
    for (const key of now ? this.#keysOf(now) : []) {
      let bucket = this.#buckets.get(key)
      if (!bucket) this.#buckets.set(key, (bucket = new Map<string, T>()))
      bucket.set(keyOf(now!), now!)
    }
  }

  get(key: string): T[] {
    return [...(this.#buckets.get(key)?.values() ?? [])]
  }

  size(key: string): number {
    return this.#buckets.get(key)?.size ?? 0
  }
}

export class View<T extends Stored> {
  readonly resource: string
  readonly #objects = new Map<string, T>()
  readonly #indexes: Index<T>[] = []
  readonly #listeners: ChangeListener<T>[] = []
  readonly #byNamespace = this.index((object) => [object.metadata.namespace ?? ''])
  readonly #byOwner = this.index((object) => (object.metadata.ownerReferences ?? []).map(({ uid }) => uid))
  readonly #byLabel = this.index(labelKeys)
  readonly #unwatch: () => void

  constructor(store: Store, resource: string) {
    this.resource = resource
    this.#unwatch = store.watch(resource, ({ type, object }) => this.#take(as<T>(object), type === 'DELETED'))
  }

  get(namespace: string, name: string): T | undefined {
    return this.#objects.get(`${namespace}/${name}`)
  }

  all(): T[] {
    return [...this.#objects.values()]
  }

  inNamespace(namespace: string): T[] {
    return this.#byNamespace.get(namespace)
  }

  /** Objects that name `uid` among their owners. */
  ownedBy(uid: string): T[] {
    return this.#byOwner.get(uid)
  }

  /** Objects of a namespace that a selector takes; looks only through the rarest of its label pairs. */
  selected(namespace: string, selector: LabelSelector): T[] {
    const keys = Object.entries(selector.matchLabels ?? {}).map((pair) => labelKey(namespace, pair))
    const rarest = keys.reduce<string | undefined>(
      (best, key) => (best === undefined || this.#byLabel.size(key) < this.#byLabel.size(best) ? key : best),
      undefined,
    )
    const candidates = rarest === undefined ? this.inNamespace(namespace) : this.#byLabel.get(rarest)
    const requirements = selectorOf(selector)
    return candidates.filter((object) => matches(requirements, object.metadata.labels))
  }

  /** A further index, filled with what is there and kept up to date. */
  index(keysOf: (object: T) => readonly string[]): Index<T> {
    const index = new Index(keysOf)
    for (const object of this.#objects.values()) index.change(object, null)
    this.#indexes.push(index)
    return index
  }

  /** Tells `listener` of everything present, then of each change. */
  onChange(listener: ChangeListener<T>): void {
    for (const object of this.#objects.values()) listener(object, null)
    this.#listeners.push(listener)
  }

  stop(): void {
    this.#unwatch()
    this.#listeners.length = 0
  }

  #take(object: T, gone: boolean): void {
    const key = keyOf(object)
    const before = this.#objects.get(key) ?? null
    const now = gone ? null : object
    if (now) this.#objects.set(key, now)
    else this.#objects.delete(key)
    for (const index of this.#indexes) index.change(now, before)
    for (const listener of this.#listeners) listener(now, before ?? (gone ? object : null))
  }
}

function labelKey(namespace: string, [name, value]: [string, string]): string {
  return `${namespace}/${name}=${value}`
}

function labelKeys({ metadata }: Stored): string[] {
  return Object.entries(metadata.labels ?? {}).map((pair) => labelKey(metadata.namespace ?? '', pair))
}

/** Turns a view around: which objects have a selector that takes a given set of labels. */
export class SelectorIndex<T extends Stored> {
  readonly #index: Index<T>
  readonly #selectorOf: (object: T) => LabelSelector | null

  /** `selector` answers null for objects that select nothing. */
  constructor(view: View<T>, selector: (object: T) => LabelSelector | null) {
    this.#selectorOf = selector
    // One pair is enough to find a selector by: whatever it takes has that pair. Without a pair it is under '*'.
    this.#index = view.index((object) => {
      const wanted = selector(object)
      if (!wanted) return []
      const [pair] = Object.entries(wanted.matchLabels ?? {})
      const namespace = object.metadata.namespace ?? ''
      return [pair ? labelKey(namespace, pair) : `${namespace}/*`]
    })
  }

  taking(object: Stored): T[] {
    const keys = [...labelKeys(object), `${object.metadata.namespace ?? ''}/*`]
    return keys
      .flatMap((key) => this.#index.get(key))
      .filter((each) => matches(selectorOf(this.#selectorOf(each)!), object.metadata.labels))
  }
}
