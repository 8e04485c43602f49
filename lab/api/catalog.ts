// The resource types served right now: the built-in ones and those of the CustomResourceDefinitions in the store.
import { BUILT_IN } from './resources.ts'
import { noSuchResource } from './status.ts'
import type { ResourceType } from './resources.ts'

export class Catalog {
  readonly #types = new Map<string, ResourceType>(BUILT_IN.map((type) => [type.key, type]))

  /** The type under its store name ('pods', 'deployments.apps'), if served. */
  find(key: string): ResourceType | undefined {
    return this.#types.get(key)
  }

  /** As `find`, but a 404 ApiError when there is none. */
  require(key: string): ResourceType {
    const type = this.#types.get(key)
    if (!type) throw noSuchResource()
    return type
  }

  /** The type that a path `/apis/GROUP/VERSION/PLURAL` names, if that version is served. */
  at(group: string, version: string, plural: string): ResourceType | undefined {
    const type = this.#types.get(group === '' ? plural : `${plural}.${group}`)
    return type?.versions.some(({ name }) => name === version) ? type : undefined
  }

  /** Every served type, built-in ones first, in a stable order. */
  all(): readonly ResourceType[] {
    return [...this.#types.values()]
  }

  /** Serves a custom type, or serves it anew with other versions or names. */
  serve(type: ResourceType): void {
    this.#types.set(type.key, type)
  }

  withdraw(key: string): void {
    this.#types.delete(key)
  }
}
