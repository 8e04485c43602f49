// Garbage collection: what is owned goes with its owners; foreground and orphan deletion are carried out.
// Source: Kubernetes documentation "Garbage Collection", "Use Cascading Deletion in a Cluster".
import { isDeleting, keyOf, splitKey, type Stored } from '../world/kinds.ts'
import type { World } from '../world/world.ts'
import { Owners } from './owners.ts'

const FOREGROUND = 'foregroundDeletion'
const ORPHAN = 'orphan'

export interface OwnersPlan {
  /** None of its owners is left: it goes too. */
  readonly remove: boolean
  /** UIDs of owners that are gone while others remain. */
  readonly forget: readonly string[]
}

/** What becomes of an object, given which of its owners still exist. Pure. */
export function planOwners(object: Stored, exists: (uid: string) => boolean): OwnersPlan {
  const owners = object.metadata.ownerReferences ?? []
  const gone = owners.map(({ uid }) => uid).filter((uid) => !exists(uid))
  if (owners.length === 0 || isDeleting(object)) return { remove: false, forget: [] }
  return gone.length === owners.length ? { remove: true, forget: [] } : { remove: false, forget: gone }
}

export function startGarbage(world: World): void {
  const queue = world.queue('garbage', reconcile)
  const owners = new Owners(world, heard)

  function heard(resource: string, now: Stored | null, before: Stored | null): void {
    const object = (now ?? before)!
    if (now && (isOrdered(now, FOREGROUND) || isOrdered(now, ORPHAN))) queue.add(`${resource} ${keyOf(now)}`)
    else if (now?.metadata.ownerReferences?.length && !isDeleting(now)) queue.add(`${resource} ${keyOf(now)}`)
    if (now) return
    for (const [dependent, key] of owners.dependentsOf(object)) queue.add(`${dependent} ${key}`)
    for (const { apiVersion, kind, name } of object.metadata.ownerReferences ?? []) {
      const owner = owners.find(apiVersion, kind, { namespace: object.metadata.namespace ?? '', name })
      if (owner && isOrdered(owner.object, FOREGROUND)) queue.add(`${owner.resource} ${keyOf(owner.object)}`)
    }
  }

  function reconcile(item: string): undefined {
    const [resource = '', key = ''] = item.split(' ')
    const [namespace, name] = splitKey(key)
    const object = owners.get(resource, namespace, name)
    if (!object) return
    if (isOrdered(object, ORPHAN)) return orphan(resource, object)
    if (isOrdered(object, FOREGROUND)) return removeDependents(resource, object)
    const { remove, forget } = planOwners(object, (uid) => owners.exists(object, uid))
    if (remove) {
      world.store.delete(resource, namespace, name, { preconditions: { uid: object.metadata.uid } })
    } else if (forget.length > 0) disown(resource, key, forget)
  }

  function orphan(resource: string, object: Stored): undefined {
    for (const [dependent, key] of [...owners.dependentsOf(object)]) disown(dependent, key, [object.metadata.uid])
    release(resource, object, ORPHAN)
  }

  /** Deletes dependents in the foreground too; the owner goes when none is left that blocks it. */
  function removeDependents(resource: string, object: Stored): undefined {
    let blocked = false
    for (const [dependent, key] of [...owners.dependentsOf(object)]) {
      const [namespace, name] = splitKey(key)
      const found = owners.get(dependent, namespace, name)
      if (found && !isDeleting(found)) {
        world.store.delete(dependent, namespace, name, { propagationPolicy: 'Foreground' })
      }
      const left = owners.get(dependent, namespace, name)?.metadata.ownerReferences ?? []
      blocked ||= left.some(({ uid, blockOwnerDeletion }) => uid === object.metadata.uid && blockOwnerDeletion)
    }
    if (!blocked) release(resource, object, FOREGROUND)
  }

  function disown(resource: string, key: string, uids: readonly string[]): void {
    const [namespace, name] = splitKey(key)
    world.store.modify(resource, namespace, name, ({ metadata }) => {
      metadata.ownerReferences = (metadata.ownerReferences ?? []).filter(({ uid }) => !uids.includes(uid))
    })
  }

  function release(resource: string, { metadata }: Stored, finalizer: string): void {
    world.store.modify(resource, metadata.namespace ?? '', metadata.name, (object) => {
      object.metadata.finalizers = (object.metadata.finalizers ?? []).filter((each) => each !== finalizer)
    })
  }
}

function isOrdered(object: Stored, finalizer: string): boolean {
  return isDeleting(object) && (object.metadata.finalizers ?? []).includes(finalizer)
}
