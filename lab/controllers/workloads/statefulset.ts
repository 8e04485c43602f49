// StatefulSet: pods with names and an order. Source: Kubernetes documentation "StatefulSets".
import type { ObjectDraft } from '../../api/object.ts'
import { isDeleting, splitKey, type Pod, type PodTemplate, type StatefulSet } from '../world/kinds.ts'
import type { World } from '../world/world.ts'
import { templateHash } from './names.ts'
import { availableInMs, countPods, isActive, isFinished, podOf } from './pods.ts'
import { followWorkload } from './workload.ts'

export const REVISION_LABEL = 'controller-revision-hash'
const RESOURCE = 'statefulsets.apps'
const COMPONENT = 'statefulset-controller'

export interface OrderedPlan {
  readonly create: readonly { readonly ordinal: number; readonly revision: string }[]
  readonly remove: readonly Pod[]
}

/** What a StatefulSet has pods of: `current` is what it comes from, `update` what it goes to. */
export interface Revisions {
  readonly current: string
  readonly update: string
}

/** The next steps; one at a time unless podManagementPolicy is Parallel. Pure. */
export function planOrdered(set: StatefulSet, pods: readonly Pod[], revisions: Revisions, now: number): OrderedPlan {
  const create: { ordinal: number; revision: string }[] = []
  const remove: Pod[] = []
  const plan = { create, remove }
  if (isDeleting(set)) return plan
  const parallel = set.spec.podManagementPolicy === 'Parallel'
  const first = set.spec.ordinals?.start ?? 0
  const end = first + (set.spec.replicas ?? 1)
  const partition = set.spec.updateStrategy?.rollingUpdate?.partition ?? 0
  const byOrdinal = new Map(pods.map((pod) => [ordinalOf(set, pod), pod]))
  const isAvailable = (pod: Pod) => availableInMs(pod, set.spec.minReadySeconds ?? 0, now) === 0
  const acted = () => create.length + remove.length > 0

  for (let ordinal = first; ordinal < end; ordinal++) {
    const pod = byOrdinal.get(ordinal)
    const revision = ordinal < partition ? revisions.current : revisions.update
    if (!pod) create.push({ ordinal, revision })
    else if (isFinished(pod) && !isDeleting(pod)) remove.push(pod)
    if (!parallel && (acted() || !isActive(pod!) || !isAvailable(pod!))) return plan
  }
  const surplus = [...byOrdinal.entries()].filter(([ordinal]) => ordinal < first || ordinal >= end)
  for (const [, pod] of surplus.sort(([left], [right]) => right - left)) {
    if (!isDeleting(pod)) remove.push(pod)
    if (!parallel) return plan
  }
  if (acted() || set.spec.updateStrategy?.type === 'OnDelete') return plan
  for (let ordinal = end - 1; ordinal >= Math.max(first, partition); ordinal--) {
    const pod = byOrdinal.get(ordinal)!
    if (pod.metadata.labels?.[REVISION_LABEL] !== revisions.update && !isDeleting(pod)) remove.push(pod)
    if (acted() || !isActive(pod) || !isAvailable(pod)) return plan
  }
  return plan
}

function ordinalOf({ metadata }: StatefulSet, pod: Pod): number {
  const rest = pod.metadata.name.slice(metadata.name.length + 1)
  return /^\d+$/.test(rest) ? Number(rest) : -1
}

export function startStatefulSets(world: World): void {
  const queue = world.queue('statefulset', reconcile)
  /** Templates by set and revision: a pod below the partition is made again from the older one. */
  const templates = new Map<string, Map<string, PodTemplate>>()
  followWorkload(world, world.statefulSets, queue)
  world.statefulSets.onChange((now, before) => {
    if (!now) templates.delete(before!.metadata.uid)
  })

  function reconcile(key: string): number | undefined {
    const [namespace, name] = splitKey(key)
    const set = world.statefulSets.get(namespace, name)
    if (!set) return undefined
    const update = `${name}-${templateHash(set.spec.template)}`
    const revisions = { update, current: set.status?.currentRevision ?? update }
    const known = remember(set, revisions)
    const pods = world.pods.ownedBy(set.metadata.uid)
    const plan = planOrdered(set, pods, revisions, world.clock.now())
    try {
      for (const { ordinal, revision } of plan.create) {
        makePod(set, ordinal, { revision, template: known.get(revision) ?? set.spec.template })
      }
      for (const pod of plan.remove) removePod(set, pod)
    } finally {
      writeStatus(set, revisions)
    }
    return countPods(pods.filter(isActive), set.spec.minReadySeconds ?? 0, world.clock.now()).againMs
  }

  /** The two templates that may still be needed. */
  function remember(set: StatefulSet, { current, update }: Revisions): ReadonlyMap<string, PodTemplate> {
    const before = templates.get(set.metadata.uid)?.get(current)
    const kept = new Map<string, PodTemplate>(before ? [[current, before]] : [])
    kept.set(update, set.spec.template)
    templates.set(set.metadata.uid, kept)
    return kept
  }

  function makePod(set: StatefulSet, ordinal: number, made: { revision: string; template: PodTemplate }): void {
    const { metadata } = world.store.create('pods', ordinalPod(set, ordinal, made))
    record(set, 'SuccessfulCreate', `create Pod ${metadata.name} in StatefulSet ${set.metadata.name} successful`)
    if (!set.spec.volumeClaimTemplates?.length) return
    world.events.record(set, {
      type: 'Warning',
      reason: 'VolumesNotKept',
      message: 'volumeClaimTemplates are emptyDir volumes here: they go with their pod',
      component: COMPONENT,
    })
  }

  function removePod(set: StatefulSet, { metadata }: Pod): void {
    world.store.delete('pods', metadata.namespace ?? '', metadata.name, { preconditions: { uid: metadata.uid } })
    record(set, 'SuccessfulDelete', `delete Pod ${metadata.name} in StatefulSet ${set.metadata.name} successful`)
  }

  function record(set: StatefulSet, reason: string, message: string): void {
    world.events.record(set, { type: 'Normal', reason, message, component: COMPONENT })
  }

  function writeStatus(set: StatefulSet, revisions: Revisions): void {
    const pods = world.pods.ownedBy(set.metadata.uid).filter(isActive)
    world.writeStatus(RESOURCE, set, statusOf(set, pods, { ...revisions, now: world.clock.now() }))
  }
}

/** The pod with a number. The lab has no persistent volumes: what a claim asks for lives as long as the pod. */
function ordinalPod(set: StatefulSet, ordinal: number, made: { revision: string; template: PodTemplate }): ObjectDraft {
  const name = `${set.metadata.name}-${ordinal}`
  const labels = {
    [REVISION_LABEL]: made.revision,
    'statefulset.kubernetes.io/pod-name': name,
    'apps.kubernetes.io/pod-index': String(ordinal),
  }
  const claims = (set.spec.volumeClaimTemplates ?? []).map(({ metadata }) => ({ name: metadata.name, emptyDir: {} }))
  const own = (made.template.spec.volumes ?? []).filter((volume) => !claims.some(({ name }) => name === volume.name))
  const spec = {
    hostname: name,
    ...(set.spec.serviceName ? { subdomain: set.spec.serviceName } : {}),
    ...(claims.length > 0 ? { volumes: [...own, ...claims] } : {}),
  }
  return podOf(set, made.template, { name, labels, spec })
}

/** Pure. `currentRevision` becomes the new one when every replica has it and is ready. */
function statusOf(set: StatefulSet, pods: readonly Pod[], { current, update, now }: Revisions & { now: number }) {
  const counts = countPods(pods, set.spec.minReadySeconds ?? 0, now)
  const at = (revision: string) => pods.filter(({ metadata }) => metadata.labels?.[REVISION_LABEL] === revision).length
  const replicas = set.spec.replicas ?? 1
  const updated = at(update)
  const isDone = updated === replicas && counts.replicas === replicas && counts.ready === replicas
  const currentRevision = isDone ? update : current
  return {
    replicas: counts.replicas,
    ...(counts.ready > 0 ? { readyReplicas: counts.ready } : {}),
    availableReplicas: counts.available,
    ...(at(currentRevision) > 0 ? { currentReplicas: at(currentRevision) } : {}),
    ...(updated > 0 ? { updatedReplicas: updated } : {}),
    currentRevision,
    updateRevision: update,
    collisionCount: 0,
    observedGeneration: set.metadata.generation ?? 1,
  }
}
