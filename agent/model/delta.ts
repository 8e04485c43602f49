// What changed between two inventories: plain data, keyed by what each object is known by. This is what crosses to a
// worker, in pieces small enough that reading one is no pause.

import type { Inventory } from './snapshot.ts'

/** The collections of an inventory, by what each of their objects is known by. */
export const KEYS = {
  workloads: ({ uid }: Inventory['workloads'][number]) => uid,
  services: ({ host }: Inventory['services'][number]) => host,
  virtualServices: ({ ref }: Inventory['virtualServices'][number]) => `${ref.namespace}/${ref.name}`,
  destinationRules: ({ ref }: Inventory['destinationRules'][number]) => `${ref.namespace}/${ref.name}`,
  peerAuthentications: ({ ref }: Inventory['peerAuthentications'][number]) => `${ref.namespace}/${ref.name}`,
  authorizationPolicies: ({ ref }: Inventory['authorizationPolicies'][number]) => `${ref.namespace}/${ref.name}`,
  requestAuthentications: ({ ref }: Inventory['requestAuthentications'][number]) => `${ref.namespace}/${ref.name}`,
} as const

export type Collection = keyof typeof KEYS
export type Item<C extends Collection> = Inventory[C][number]

/** All of an inventory that is no collection: small, and told whole each time. */
export type Settings = Omit<Inventory, Collection | 'version'>

/** Objects that are new or other than before, and the keys of those that are no more. No key is in both. */
export interface Changes<T> {
  readonly set: readonly T[]
  readonly gone: readonly string[]
}

/** The difference that makes one version of the inventory of another. */
export type Delta = {
  /** The version it is to be applied to; 0: to nothing, and what is there is dropped. */
  readonly from: number
  readonly version: number
  readonly settings: Settings
} & AllChanges

/** Changes of every collection. */
export type AllChanges = { readonly [C in Collection]: Changes<Item<C>> }

/** A part of a delta. The pieces of one come in order, and only the last makes a version. */
export interface Piece extends Delta {
  readonly first: boolean
  readonly last: boolean
}

/** Objects in a piece, an endpoint counted as one: some 0.2 ms to read. */
const PIECE_WEIGHT = 64

export const COLLECTIONS = Object.keys(KEYS) as readonly Collection[]

/** All of an inventory that is no collection. */
export function settingsOf(inventory: Inventory): Settings {
  const { rootNamespace, mesh, node, locality } = inventory
  return { rootNamespace, mesh, node, locality }
}

/** The whole inventory, as a change of nothing. */
export function wholeOf(inventory: Inventory): Delta {
  const changes = eachCollection((name) => ({ set: inventory[name], gone: [] }))
  return { from: 0, version: inventory.version, settings: settingsOf(inventory), ...changes }
}

/** What is made of each collection by its name. */
function eachCollection(make: (name: Collection) => Changes<Item<Collection>>): AllChanges {
  return Object.fromEntries(COLLECTIONS.map((name) => [name, make(name)])) as unknown as AllChanges
}

/** The difference of two inventories, objects compared by identity. */
export function between(before: Inventory, after: Inventory): Delta {
  const changes = eachCollection((name) => changesOf(name, before, after))
  return { from: before.version, version: after.version, settings: settingsOf(after), ...changes }
}

function changesOf<C extends Collection>(name: C, before: Inventory, after: Inventory): Changes<Item<C>> {
  const keyOf = KEYS[name] as (item: Item<C>) => string
  const old = new Map((before[name] as readonly Item<C>[]).map((item) => [keyOf(item), item]))
  const set: Item<C>[] = []
  for (const item of after[name] as readonly Item<C>[]) {
    const key = keyOf(item)
    if (old.get(key) !== item) set.push(item)
    old.delete(key)
  }
  return { set, gone: [...old.keys()] }
}

/** Deltas in a row as one, kept by key: bounded by the inventory, however many changes wait. */
export class Gathered {
  readonly #changed = new Map<Collection, Map<string, Item<Collection> | null>>(
    COLLECTIONS.map((name) => [name, new Map()]),
  )
  #from: number | null = null
  #version = 0
  #settings: Settings | null = null

  add(delta: Delta): void {
    if (delta.from === 0) for (const kept of this.#changed.values()) kept.clear()
    if (this.#from === null || delta.from === 0) this.#from = delta.from
    this.#version = delta.version
    this.#settings = delta.settings
    for (const name of COLLECTIONS) {
      const kept = this.#changed.get(name) as Map<string, Item<Collection> | null>
      const keyOf = KEYS[name] as (item: Item<Collection>) => string
      for (const key of delta[name].gone) kept.set(key, null)
      for (const item of delta[name].set) kept.set(keyOf(item), item)
    }
  }

  /** Null where nothing was added. */
  delta(): Delta | null {
    if (this.#from === null || this.#settings === null) return null
    const changes = eachCollection((name) => {
      const entries = [...(this.#changed.get(name) ?? [])]
      const set = entries.flatMap(([, item]) => (item === null ? [] : [item]))
      return { set, gone: entries.flatMap(([key, item]) => (item === null ? [key] : [])) }
    })
    return { from: this.#from, version: this.#version, settings: this.#settings, ...changes }
  }
}

/** A delta cut into pieces; at least one. An object is never cut. */
export function* pieces(delta: Delta): Generator<Piece> {
  const { from, version, settings } = delta
  const fresh = () => ({ weight: 0, set: emptyLists<Item<Collection>>(), gone: emptyLists<string>() })
  let part = fresh()
  let first = true
  const piece = (last: boolean): Piece => {
    const { set, gone } = part
    const changes = eachCollection((name) => ({ set: set[name], gone: gone[name] }))
    const cut = { ...changes, from, version, settings, first, last }
    part = fresh()
    first = false
    return cut
  }
  for (const name of COLLECTIONS) {
    for (const key of delta[name].gone) {
      if (part.weight >= PIECE_WEIGHT) yield piece(false)
      part.gone[name].push(key)
      part.weight++
    }
    for (const item of delta[name].set) {
      if (part.weight >= PIECE_WEIGHT) yield piece(false)
      part.set[name].push(item)
      part.weight += weightOf(item)
    }
  }
  yield piece(true)
}

function emptyLists<T>(): Record<Collection, T[]> {
  return Object.fromEntries(COLLECTIONS.map((name): [Collection, T[]] => [name, []])) as Record<Collection, T[]>
}

function weightOf(item: Item<Collection>): number {
  if ('rules' in item) return 1 + item.rules.length
  if ('selector' in item) return 1 + item.ports.length
  if ('ports' in item) return item.ports.reduce((sum, { endpoints }) => sum + endpoints.length, 1)
  return 'http' in item ? 1 + item.http.length : 1
}
