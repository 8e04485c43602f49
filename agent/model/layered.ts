// A map that is never changed: the next one shares the large part with it and has a small layer of its own on top.

/** What an index can be asked. */
export interface Lookup<T> {
  readonly size: number
  get(key: string): T | undefined
  has(key: string): boolean
  values(): IterableIterator<T>
}

/** Stands in a layer for a key that the part beneath has and this map has not. */
const GONE = Symbol('gone')
type Layer<T> = ReadonlyMap<string, T | typeof GONE>

/** Changes on top of the large part; with more, the two become one again. Each edit copies the layer, so it stays small. */
const LAYER_LIMIT = 1024
/** Entries moved between two pauses. */
const STEP = 128

/** A map of which old versions stay as they were. */
export class Layered<T> implements Lookup<T> {
  readonly size: number
  readonly #base: ReadonlyMap<string, T>
  readonly #layer: Layer<T>

  private constructor(base: ReadonlyMap<string, T>, layer: Layer<T>, size: number) {
    this.#base = base
    this.#layer = layer
    this.size = size
  }

  static empty<T>(): Layered<T> {
    return new Layered<T>(new Map(), new Map(), 0)
  }

  get(key: string): T | undefined {
    if (this.#layer.size > 0) {
      const found = this.#layer.get(key)
      if (found !== undefined) return found === GONE ? undefined : found
    }
    return this.#base.get(key)
  }

  has(key: string): boolean {
    return this.get(key) !== undefined
  }

  *values(): IterableIterator<T> {
    for (const found of this.#layer.values()) if (found !== GONE) yield found
    for (const [key, value] of this.#base) if (!this.#layer.has(key)) yield value
  }

  edit(): Edit<T> {
    return new Edit(this)
  }

  /** This map with the changes over it. Yields where the work may pause. */
  *with(changes: ReadonlyMap<string, T | null>): Generator<void, Layered<T>> {
    if (changes.size === 0) return this
    let { size } = this
    let moved = 0
    const fresh = this.#base.size === 0 || this.#layer.size + changes.size > LAYER_LIMIT
    const layer = new Map(fresh ? [] : this.#layer)
    for (const [key, value] of changes) {
      size += (value === null ? 0 : 1) - (this.has(key) ? 1 : 0)
      if (value !== null) layer.set(key, value)
      else if (this.#base.has(key) && !fresh) layer.set(key, GONE)
      else layer.delete(key)
      if (++moved % STEP === 0) yield
    }
    if (!fresh) return new Layered(this.#base, layer, size)
    const base = layer as Map<string, T> // made anew, so nothing in it is gone
    for (const [key, value] of this.#layer) {
      if (value !== GONE && !changes.has(key)) base.set(key, value)
      if (++moved % STEP === 0) yield
    }
    for (const [key, value] of this.#base) {
      if (!this.#layer.has(key) && !changes.has(key)) base.set(key, value)
      if (++moved % STEP === 0) yield
    }
    return new Layered(base, new Map(), size)
  }
}

/** Changes to come, read through to the map beneath. */
export class Edit<T> {
  readonly #from: Layered<T>
  readonly #changes = new Map<string, T | null>()

  constructor(from: Layered<T>) {
    this.#from = from
  }

  get(key: string): T | undefined {
    const changed = this.#changes.get(key)
    return changed === undefined ? this.#from.get(key) : (changed ?? undefined)
  }

  set(key: string, value: T): void {
    this.#changes.set(key, value)
  }

  delete(key: string): void {
    this.#changes.set(key, null)
  }

  /** The map as it is to be. The one before stays. Yields where the work may pause. */
  done(): Generator<void, Layered<T>> {
    return this.#from.with(this.#changes)
  }
}
