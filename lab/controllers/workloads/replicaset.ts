// ReplicaSet: as many pods as it says, no more, no fewer. Source: Kubernetes documentation "ReplicaSet".
import { controllerOf, isDeleting, splitKey, type Pod, type ReplicaSet } from '../world/kinds.ts'
import { countPods, goingFirst, isActive, podOf } from './pods.ts'
import { claimPods, followWorkload } from './workload.ts'
import type { World } from '../world/world.ts'

/** Pods made or removed in one go; the rest follows when the store has told of these. */
export const BURST_LIMIT = 500
const COMPONENT = 'replicaset-controller'

export interface ReplicaPlan {
  readonly create: number
  readonly remove: readonly Pod[]
}

/** How many pods to make, and which to remove. Pure. */
export function planReplicas(set: ReplicaSet, pods: readonly Pod[]): ReplicaPlan {
  if (isDeleting(set)) return { create: 0, remove: [] }
  const active = pods.filter(isActive)
  const missing = (set.spec.replicas ?? 1) - active.length
  if (missing >= 0) return { create: Math.min(missing, BURST_LIMIT), remove: [] }
  return { create: 0, remove: goingFirst(active).slice(0, Math.min(-missing, BURST_LIMIT)) }
}

/** The status that `pods` amount to, and when time alone may change it. Pure. */
export function replicaSetStatus(set: ReplicaSet, pods: readonly Pod[], now: number) {
  const active = pods.filter(isActive)
  const counts = countPods(active, set.spec.minReadySeconds ?? 0, now)
  const wanted = Object.entries(set.spec.template.metadata?.labels ?? {})
  const labelled = active.filter(({ metadata }) => wanted.every(([name, value]) => metadata.labels?.[name] === value))
  const status = {
    replicas: counts.replicas,
    ...(labelled.length > 0 ? { fullyLabeledReplicas: labelled.length } : {}),
    ...(counts.ready > 0 ? { readyReplicas: counts.ready } : {}),
    ...(counts.available > 0 ? { availableReplicas: counts.available } : {}),
    observedGeneration: set.metadata.generation ?? 1,
  }
  return { status, againMs: counts.againMs }
}

export function startReplicaSets(world: World): void {
  const queue = world.queue('replicaset', reconcile)
  followWorkload(world, world.replicaSets, queue)

  function reconcile(key: string): number | undefined {
    const [namespace, name] = splitKey(key)
    const set = world.replicaSets.get(namespace, name)
    if (!set) return undefined
    const plan = planReplicas(set, claimPods(world, set))
    try {
      for (let made = 0; made < plan.create; made++) makePod(set)
      for (const pod of plan.remove) removePod(set, pod)
    } finally {
      // Whatever failed, the status tells what is there.
      writeStatus(set)
    }
    return replicaSetStatus(set, podsOf(set), world.clock.now()).againMs
  }

  function podsOf(set: ReplicaSet): Pod[] {
    return world.pods.ownedBy(set.metadata.uid).filter((pod) => controllerOf(pod)?.uid === set.metadata.uid)
  }

  function makePod(set: ReplicaSet): void {
    const pod = world.store.create('pods', podOf(set, set.spec.template, {}))
    world.events.record(set, {
      type: 'Normal',
      reason: 'SuccessfulCreate',
      message: `Created pod: ${pod.metadata.name}`,
      component: COMPONENT,
    })
  }

  function removePod(set: ReplicaSet, { metadata }: Pod): void {
    world.store.delete('pods', metadata.namespace ?? '', metadata.name, { preconditions: { uid: metadata.uid } })
    world.events.record(set, {
      type: 'Normal',
      reason: 'SuccessfulDelete',
      message: `Deleted pod: ${metadata.name}`,
      component: COMPONENT,
    })
  }

  function writeStatus(set: ReplicaSet): void {
    const { status } = replicaSetStatus(set, podsOf(set), world.clock.now())
    world.writeStatus('replicasets.apps', set, status)
  }
}
