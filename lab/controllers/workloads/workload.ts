// What ReplicaSet, StatefulSet, DaemonSet and Job share: which pods are theirs, and hearing when those change.
import { selectorOf, matches, type LabelSelector } from '../../api/selector.ts'
import { controllerOf, isDeleting, keyOf, ownedBy, type Pod, type Stored } from '../world/kinds.ts'
import { isFinished } from './pods.ts'
import type { WorkQueue } from '../world/queue.ts'
import { SelectorIndex, type View } from '../world/view.ts'
import type { World } from '../world/world.ts'

export interface Workload extends Stored {
  readonly spec: { readonly selector?: LabelSelector }
}

/** Puts a workload in `queue` when it, one of its pods, or a pod that it could adopt changes. */
export function followWorkload<T extends Workload>(world: World, view: View<T>, queue: WorkQueue): void {
  const bySelector = new SelectorIndex(view, ({ spec }) => spec.selector ?? null)
  const kindOf = (owner: T) => owner.kind
  view.onChange((now, before) => queue.add(keyOf((now ?? before)!)))
  world.pods.onChange((now, before) => {
    for (const pod of [now, before]) {
      if (!pod) continue
      const owner = controllerOf(pod)
      if (owner) {
        const found = view.get(pod.metadata.namespace ?? '', owner.name)
        if (found && kindOf(found) === owner.kind) queue.add(keyOf(found))
      } else if (now && !isDeleting(pod)) for (const each of bySelector.taking(pod)) queue.add(keyOf(each))
    }
  })
}

export interface Claim {
  /** Pods that are the workload's, once the changes below are made. */
  readonly owned: readonly Pod[]
  readonly adopt: readonly Pod[]
  readonly release: readonly Pod[]
}

/** Pods without a controller whose labels fit become the owner's; its own that no longer fit are let go. Pure. */
export function planClaim(owner: Workload, candidates: readonly Pod[]): Claim {
  const selector = selectorOf(owner.spec.selector ?? {})
  const fits = (pod: Pod) => matches(selector, pod.metadata.labels)
  const mine = candidates.filter((pod) => controllerOf(pod)?.uid === owner.metadata.uid)
  const free = candidates.filter((pod) => !controllerOf(pod) && !isDeleting(pod) && !isFinished(pod) && fits(pod))
  const adopt = isDeleting(owner) ? [] : free
  return {
    owned: [...mine.filter(fits), ...adopt],
    adopt,
    release: mine.filter((pod) => !fits(pod) && !isDeleting(pod)),
  }
}

/** The pods of `owner` now, after adopting and releasing what has to be. */
export function claimPods(world: World, owner: Workload): Pod[] {
  const namespace = owner.metadata.namespace ?? ''
  const fitting = world.pods.selected(namespace, owner.spec.selector ?? {})
  const owned = world.pods.ownedBy(owner.metadata.uid)
  const claim = planClaim(owner, [...new Set([...owned, ...fitting])])
  for (const pod of claim.adopt) {
    world.store.modify('pods', namespace, pod.metadata.name, ({ metadata }) => {
      metadata.ownerReferences = [...(metadata.ownerReferences ?? []), ownedBy(owner)]
    })
  }
  for (const pod of claim.release) {
    world.store.modify('pods', namespace, pod.metadata.name, ({ metadata }) => {
      metadata.ownerReferences = (metadata.ownerReferences ?? []).filter(({ uid }) => uid !== owner.metadata.uid)
    })
  }
  return claim.owned.map((pod) => world.pods.get(namespace, pod.metadata.name) ?? pod)
}
