// What every controller of pods asks: is it active, ready, available; which pod goes first; what a template makes.
import type { ObjectDraft } from '../../api/object.ts'
import { isDeleting, ownedBy, type Condition, type Pod, type PodTemplate, type Stored } from '../world/kinds.ts'

export function conditionOf(
  object: { readonly status?: { readonly conditions?: readonly Condition[] } },
  type: string,
): Condition | undefined {
  return object.status?.conditions?.find((condition) => condition.type === type)
}

export function isFinished(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed'
}

/** Counts towards replicas: neither ended nor on its way out. */
export function isActive(pod: Pod): boolean {
  return !isFinished(pod) && !isDeleting(pod)
}

export function isReady(pod: Pod): boolean {
  return conditionOf(pod, 'Ready')?.status === 'True'
}

/** Milliseconds until the pod will have been ready for `minReadySeconds`: 0 now, Infinity when it is not ready. */
export function availableInMs(pod: Pod, minReadySeconds: number, now: number): number {
  const ready = conditionOf(pod, 'Ready')
  if (ready?.status !== 'True') return Infinity
  if (minReadySeconds === 0) return 0
  const since = Date.parse(ready.lastTransitionTime ?? '')
  return Number.isNaN(since) ? 0 : Math.max(0, since + minReadySeconds * 1000 - now)
}

/** Replica counts of a set of pods, and when they may change by time alone (ms). */
export function countPods(pods: readonly Pod[], minReadySeconds: number, now: number) {
  const waits = pods.map((pod) => availableInMs(pod, minReadySeconds, now))
  const soonest = Math.min(...waits.filter((ms) => ms > 0 && ms !== Infinity))
  return {
    replicas: pods.length,
    ready: waits.filter((ms) => ms !== Infinity).length,
    available: waits.filter((ms) => ms === 0).length,
    againMs: soonest === Infinity ? undefined : soonest,
  }
}

/** Order in which surplus pods go: unscheduled, not running, not ready, on the fuller node, younger (ReplicaSet docs). */
export function goingFirst(pods: readonly Pod[]): Pod[] {
  const onNode = new Map<string, number>()
  for (const { spec } of pods) onNode.set(spec.nodeName ?? '', (onNode.get(spec.nodeName ?? '') ?? 0) + 1)
  const rank = (pod: Pod) => [
    pod.spec.nodeName ? 1 : 0,
    pod.status?.phase === 'Running' ? 1 : 0,
    isReady(pod) ? 1 : 0,
    -(onNode.get(pod.spec.nodeName ?? '') ?? 0),
    -Date.parse(pod.metadata.creationTimestamp),
  ]
  const ranked = pods.map((pod) => ({ pod, rank: rank(pod) }))
  ranked.sort((left, right) => {
    const at = left.rank.findIndex((value, index) => value !== right.rank[index])
    return at < 0 ? 0 : left.rank[at]! - right.rank[at]!
  })
  return ranked.map(({ pod }) => pod)
}

export interface PodNaming {
  /** The pod's name, or with `prefix` what the server completes. */
  readonly name?: string
  readonly prefix?: string
  readonly labels?: Readonly<Record<string, string>>
  /** Members of the spec that take the place of the template's. */
  readonly spec?: Readonly<Record<string, unknown>>
}

/** The pod that `template` describes, owned by `owner`. */
export function podOf(owner: Stored, template: PodTemplate, { name, prefix, labels, spec }: PodNaming): ObjectDraft {
  const { metadata = {} } = template
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...(name === undefined ? { generateName: prefix ?? `${owner.metadata.name}-` } : { name }),
      namespace: owner.metadata.namespace ?? 'default',
      labels: { ...metadata.labels, ...labels },
      ...(metadata.annotations ? { annotations: { ...metadata.annotations } } : {}),
      ...(metadata.finalizers ? { finalizers: [...metadata.finalizers] } : {}),
      ownerReferences: [ownedBy(owner)],
    },
    spec: { ...template.spec, ...spec },
  }
}

/** `conditions` with one set; its transition time moves only when its status does. */
export function withCondition(
  conditions: readonly Condition[] | undefined,
  wanted: Condition,
  time: string,
): Condition[] {
  const before = conditions?.find(({ type }) => type === wanted.type)
  const since = before?.status === wanted.status ? (before.lastTransitionTime ?? time) : time
  const condition = { ...wanted, lastTransitionTime: since }
  const others = conditions ?? []
  return before ? others.map((each) => (each.type === wanted.type ? condition : each)) : [...others, condition]
}
