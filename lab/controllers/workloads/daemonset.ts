// DaemonSet: one pod on each node that suits it. Source: Kubernetes documentation "DaemonSet".
import { suits } from '../cluster/scheduler.ts'
import { isDeleting, keyOf, splitKey, type DaemonSet, type Node, type Pod } from '../world/kinds.ts'
import type { World } from '../world/world.ts'
import { templateHash } from './names.ts'
import { availableInMs, countPods, isActive, isFinished, podOf, withCondition } from './pods.ts'
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
  const outdated: Pod[] = []
  let unavailable = 0
  for (const pod of pods) {
    if (!wanted.has(pod.spec.nodeName ?? '') && !isDeleting(pod)) remove.push(pod)
  }
  for (const node of wanted) {
    const here = pods.filter(({ spec }) => spec.nodeName === node).sort(byAge)
    const [keeper, ...surplus] = here.filter(isActive)
    remove.push(...surplus, ...here.filter((pod) => isFinished(pod) && !isDeleting(pod)))
    // A pod on its way out still holds the place of the next one.
    if (here.length === 0) create.push(node)
    if (!keeper || !isAvailable(keeper)) unavailable++
    if (keeper && keeper.metadata.labels?.[REVISION_LABEL] !== revision) outdated.push(keeper)
  }
  if (set.spec.updateStrategy?.type === 'OnDelete') return { create, remove }
  const allowed = amount(set.spec.updateStrategy?.rollingUpdate?.maxUnavailable ?? 1, wanted.size, Math.ceil)
  const useless = outdated.filter((pod) => !isAvailable(pod))
  const room = Math.max(0, Math.max(1, allowed) - unavailable)
  remove.push(...useless, ...outdated.filter(isAvailable).slice(0, room))
  return { create, remove }
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
    const counts = countPods(placed, set.spec.minReadySeconds ?? 0, world.clock.now())
    const updated = placed.filter(({ metadata }) => metadata.labels?.[REVISION_LABEL] === revision).length
    const unavailable = wanted.size - counts.available
    world.writeStatus(RESOURCE, set, {
      currentNumberScheduled: counts.replicas,
      desiredNumberScheduled: wanted.size,
      numberMisscheduled: active.length - placed.length,
      numberReady: counts.ready,
      ...(updated > 0 ? { updatedNumberScheduled: updated } : {}),
      ...(counts.available > 0 ? { numberAvailable: counts.available } : {}),
      ...(unavailable > 0 ? { numberUnavailable: unavailable } : {}),
      observedGeneration: set.metadata.generation ?? 1,
    })
  }
}
