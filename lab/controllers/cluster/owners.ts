// Who owns whom, over every resource that is served, custom ones as they come.
import { groupOf } from '../../api/resources.ts'
import { keyOf, type Stored } from '../world/kinds.ts'
import type { View } from '../world/view.ts'
import type { World } from '../world/world.ts'

const DEFINITIONS = 'customresourcedefinitions.apiextensions.k8s.io'

export type Heard = (resource: string, now: Stored | null, before: Stored | null) => void

export class Owners {
  readonly #world: World
  readonly #heard: Heard
  readonly #views = new Map<string, View<Stored>>()
  /** `group/kind` → resource. */
  readonly #resources = new Map<string, string>()

  /** `heard` is told of everything there is, then of each change. */
  constructor(world: World, heard: Heard) {
    this.#world = world
    this.#heard = heard
    this.#followAll()
    world.view(DEFINITIONS).onChange(() => this.#followAll())
  }

  get(resource: string, namespace: string, name: string): Stored | undefined {
    return this.#views.get(resource)?.get(namespace, name)
  }

  /** Resource and key of each object that names this one among its owners. */
  dependentsOf({ metadata }: Stored): [resource: string, key: string][] {
    return [...this.#views].flatMap(([resource, view]) =>
      view.ownedBy(metadata.uid).map((object): [string, string] => [resource, keyOf(object)]),
    )
  }

  /** An owner by what a reference of a dependent says: in the dependent's namespace, or cluster-scoped. */
  find(apiVersion: string, kind: string, { namespace, name }: { namespace: string; name: string }) {
    const resource = this.#resources.get(`${groupOf(apiVersion)}/${kind}`)
    if (resource === undefined) return undefined
    const object = this.get(resource, namespace, name) ?? this.get(resource, '', name)
    return object && { resource, object }
  }

  /** Whether the owner of `object` with this uid is there. Of a kind that is not served nobody can say that it is gone. */
  exists(object: Stored, uid: string): boolean {
    const reference = object.metadata.ownerReferences?.find((owner) => owner.uid === uid)
    if (!reference) return false
    const { apiVersion, kind, name } = reference
    if (!this.#resources.has(`${groupOf(apiVersion)}/${kind}`)) return true
    return (
      this.find(apiVersion, kind, { namespace: object.metadata.namespace ?? '', name })?.object.metadata.uid === uid
    )
  }

  /** Events are left out: they have no owners and are many. */
  #followAll(): void {
    for (const { viewOf, key, group, kind } of this.#world.store.catalog.all()) {
      if (viewOf !== undefined || key === 'events') continue
      this.#resources.set(`${group}/${kind}`, key)
      if (this.#views.has(key)) continue
      const view = this.#world.view<Stored>(key)
      this.#views.set(key, view)
      view.onChange((now, before) => this.#heard(key, now, before))
    }
  }
}
