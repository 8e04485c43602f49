// DaemonSet: one pod on each node that suits it, and while it updates with a surge a new one beside the old.
// Source: Kubernetes documentation "DaemonSet", "Perform a Rolling Update on a DaemonSet"; KEP-1591.
import { suits } from '../cluster/scheduler.ts'
import { isDeleting, keyOf, splitKey, type DaemonSet, type Node, type Pod } from '../world/kinds.ts'
import type { World } from '../world/world.ts'
import { templateHash } from './names.ts'
import { availableInMs, countPods, isActive, isFinished, isReady, podOf, withCondition } from './pods.ts'
import { amount } from './rollout.ts'
import { REVISION_LABEL } from './statefulset.ts'
import { claimPods, followWorkload } from './workload.ts'

const RESOURCE = 'daemonsets.apps'
const COMPONENT = 'daemonset-controller'

export interface DaemonPlan {
  /** Names of nodes that get a pod. */
  readonly create: readonly string[]
  readonly remove: readonly Pod[]
}

/** A node's pods: the one made from the template as it is now, and the one made before. */
interface Here {
  readonly node: string
  readonly fresh: Pod | undefined
  readonly outdated: Pod | undefined
}

/** The next steps for `revision`, the hash of the template as it is now. Pure. */
export function planDaemons(
  set: DaemonSet,
  nodes: readonly Node[],
  pods: readonly Pod[],
  { revision, now }: { revision: string; now: number },
): DaemonPlan {
  const create: string[] = []
  const remove: Pod[] = []
  if (isDeleting(set)) return { create, remove }
  const wanted = new Set(nodes.filter((node) => suits(set.spec.template, node)).map(({ metadata }) => metadata.name))
  const isAvailable = (pod: Pod) => availableInMs(pod, set.spec.minReadySeconds ?? 0, now) === 0
  const { surge, unavailable } = boundsOf(set, wanted.size)
  for (const pod of pods) {
    if (!wanted.has(pod.spec.nodeName ?? '') && !isDeleting(pod)) remove.push(pod)
  }
  const places: Here[] = []
  for (const node of wanted) {
    const here = pods.filter(({ spec }) => spec.nodeName === node).sort(byAge)
    const { keep, surplus } = keepersOf(here.filter(isActive), revision, surge > 0 ? isAvailable : null)
    remove.push(...surplus, ...here.filter((pod) => isFinished(pod) && !isDeleting(pod)))
    // A pod on its way out still holds the place of the next one.
    if (here.length === 0) create.push(node)
    places.push({ node, ...keep })
  }
  if (set.spec.updateStrategy?.type === 'OnDelete') return { create, remove }
  if (surge > 0) {
    const step = planSurge(places, surge, isAvailable)
    return { create: [...create, ...step.create], remove: [...remove, ...step.remove] }
  }
  return { create, remove: [...remove, ...planReplacing(places, unavailable, isAvailable)] }
}

/** How many nodes may have a second pod, or else none that is available, at one time. Percentages are rounded up. */
function boundsOf({ spec }: DaemonSet, desired: number): { surge: number; unavailable: number } {
  const { maxSurge = 0, maxUnavailable = 1 } = spec.updateStrategy?.rollingUpdate ?? {}
  const surge = amount(maxSurge, desired, Math.ceil)
  // Both 0 would stand still for ever.
  return { surge, unavailable: Math.max(surge > 0 ? 0 : 1, amount(maxUnavailable, desired, Math.ceil)) }
}

/**
 * The pods of a node that stay, of `active`, oldest first: one, or with a surge (`isAvailable` is given) one of each kind, of
 * the outdated ones rather one that serves.
 */
function keepersOf(
  active: readonly Pod[],
  revision: string,
  isAvailable: ((pod: Pod) => boolean) | null,
): { keep: Pick<Here, 'fresh' | 'outdated'>; surplus: Pod[] } {
  const candidates = isAvailable === null ? active.slice(0, 1) : active
  const isFresh = ({ metadata }: Pod) => metadata.labels?.[REVISION_LABEL] === revision
  const before = candidates.filter((pod) => !isFresh(pod))
  const fresh = candidates.find(isFresh)
  const outdated = before.find((pod) => isAvailable?.(pod)) ?? before[0]
  return { keep: { fresh, outdated }, surplus: active.filter((pod) => pod !== fresh && pod !== outdated) }
}

/** Outdated pods that go now, their places to be taken once they are gone: those that serve nobody, then as many as may be missing. */
function planReplacing(places: readonly Here[], allowed: number, isAvailable: (pod: Pod) => boolean): Pod[] {
  const missing = places.filter(({ fresh, outdated }) => {
    const pod = fresh ?? outdated
    return !pod || !isAvailable(pod)
  })
  const outdated = places.flatMap((place) => place.outdated ?? [])
  const room = Math.max(0, allowed - missing.length)
  return [...outdated.filter((pod) => !isAvailable(pod)), ...outdated.filter(isAvailable).slice(0, room)]
}

/**
 * Nodes that get a new pod beside the outdated one, and outdated pods that go because their successor is available. One that
 * is not available itself needs no room: its node gets the new pod at once, and it goes as soon as that one is there.
 */
function planSurge(places: readonly Here[], surge: number, isAvailable: (pod: Pod) => boolean): DaemonPlan {
  const both = places.filter(({ fresh, outdated }) => fresh && outdated)
  const alone = places.filter(({ fresh, outdated }) => !fresh && outdated)
  const remove = both.filter(({ fresh, outdated }) => !isAvailable(outdated!) || isAvailable(fresh!))
  const room = Math.max(0, surge - both.filter(({ outdated }) => isAvailable(outdated!)).length)
  const useless = alone.filter(({ outdated }) => !isAvailable(outdated!))
  const next = alone.filter(({ outdated }) => isAvailable(outdated!)).slice(0, room)
  return { create: [...useless, ...next].map(({ node }) => node), remove: remove.map(({ outdated }) => outdated!) }
}

function byAge(left: Pod, right: Pod): number {
  const [a, b] = [left.metadata, right.metadata]
  if (a.creationTimestamp !== b.creationTimestamp) return a.creationTimestamp < b.creationTimestamp ? -1 : 1
  return a.name < b.name ? -1 : 1
}

export function startDaemonSets(world: World): void {
  const queue = world.queue('daemonset', reconcile)
  followWorkload(world, world.daemonSets, queue)
  world.nodes.onChange((now, before) => {
    const same = now && before && JSON.stringify(now.metadata.labels) === JSON.stringify(before.metadata.labels)
    if (!same) for (const set of world.daemonSets.all()) queue.add(keyOf(set))
  })

  function reconcile(key: string): number | undefined {
    const [namespace, name] = splitKey(key)
    const set = world.daemonSets.get(namespace, name)
    if (!set) return undefined
    const revision = templateHash(set.spec.template)
    const pods = claimPods(world, set)
    const plan = planDaemons(set, world.nodes.all(), pods, { revision, now: world.clock.now() })
    try {
      for (const node of plan.create) makePod(set, node, revision)
      for (const { metadata } of plan.remove) {
        world.store.delete('pods', namespace, metadata.name, { preconditions: { uid: metadata.uid } })
        record(set, 'SuccessfulDelete', `Deleted pod: ${metadata.name}`)
      }
    } finally {
      writeStatus(set, revision)
    }
    return countPods(pods.filter(isActive), set.spec.minReadySeconds ?? 0, world.clock.now()).againMs
  }

  /** Bound to its node from the start: a node that takes no other pods still gets this one. */
  function makePod(set: DaemonSet, nodeName: string, revision: string): void {
    const naming = { labels: { [REVISION_LABEL]: revision }, spec: { nodeName } }
    const { metadata } = world.store.create('pods', podOf(set, set.spec.template, naming))
    const pod = world.pods.get(metadata.namespace ?? '', metadata.name)
    if (pod) {
      const scheduled = withCondition(pod.status?.conditions, { type: 'PodScheduled', status: 'True' }, world.time())
      world.writeStatus('pods', pod, { ...pod.status, conditions: scheduled })
    }
    record(set, 'SuccessfulCreate', `Created pod: ${metadata.name}`)
  }

  function record(set: DaemonSet, reason: string, message: string): void {
    world.events.record(set, { type: 'Normal', reason, message, component: COMPONENT })
  }

  function writeStatus(set: DaemonSet, revision: string): void {
    const wanted = new Set(
      world.nodes
        .all()
        .filter((node) => suits(set.spec.template, node))
        .map(({ metadata }) => metadata.name),
    )
    const active = world.pods.ownedBy(set.metadata.uid).filter(isActive)
    const placed = active.filter(({ spec }) => wanted.has(spec.nodeName ?? ''))
    // Nodes, not pods: where an update has two on one, either will do.
    const nodesOf = (pods: readonly Pod[]) => new Set(pods.map(({ spec }) => spec.nodeName)).size
    const waits = (pod: Pod) => availableInMs(pod, set.spec.minReadySeconds ?? 0, world.clock.now())
    const available = nodesOf(placed.filter((pod) => waits(pod) === 0))
    const updated = nodesOf(placed.filter(({ metadata }) => metadata.labels?.[REVISION_LABEL] === revision))
    const unavailable = wanted.size - available
    world.writeStatus(RESOURCE, set, {
      currentNumberScheduled: nodesOf(placed),
      desiredNumberScheduled: wanted.size,
      numberMisscheduled: nodesOf(active) - nodesOf(placed),
      numberReady: nodesOf(placed.filter(isReady)),
      ...(updated > 0 ? { updatedNumberScheduled: updated } : {}),
      ...(available > 0 ? { numberAvailable: available } : {}),
      ...(unavailable > 0 ? { numberUnavailable: unavailable } : {}),
      observedGeneration: set.metadata.generation ?? 1,
    })
  }
}
