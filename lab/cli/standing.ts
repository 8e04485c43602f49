// How far a lab's cluster is: which workloads are not complete yet and which joined pods are not captured. Pure, but for what reads.
import { join } from 'node:path'
import type { V1DaemonSet, V1Deployment, V1Namespace, V1Pod, V1StatefulSet } from '@kubernetes/client-node'
import type { Api } from '../node/api.ts'
import { findCgroup2, labCgroup, processesOf } from '../node/cgroup.ts'
import { nodeName } from '../node/network.ts'
import { isMirror } from '../mesh/mirror-pod.ts'
import type { LabPlace } from '../state.ts'
import type { UpWish } from './wish.ts'

const MESH = 'weft.dev/mesh'
const CAPTURED = 'weft.dev/captured'

export interface ClusterObjects {
  readonly namespaces: readonly V1Namespace[]
  readonly pods: readonly V1Pod[]
  readonly deployments: readonly V1Deployment[]
  readonly statefulSets: readonly V1StatefulSet[]
  readonly daemonSets: readonly V1DaemonSet[]
}

export interface PodStanding {
  readonly name: string
  readonly node: string
  readonly address: string
  /** What `kubectl get pods` says: Running, Pending, CrashLoopBackOff … */
  readonly status: string
  readonly message: string
  readonly ready: boolean
  readonly joined: boolean
  readonly captured: boolean
  /** Whether it shows a program of the mesh itself. */
  readonly mirror: boolean
}

export interface Standing {
  readonly pods: readonly PodStanding[]
  /** One phrase a thing that is still waited for; empty when the cluster is ready. */
  readonly missing: readonly string[]
}

/** Reads what standingOf needs. */
export async function readCluster(api: Api): Promise<ClusterObjects> {
  const items = async <T>(path: string): Promise<T[]> => (await api.get<{ items: T[] }>(path)).items
  const [namespaces, pods, deployments, statefulSets, daemonSets] = await Promise.all([
    items<V1Namespace>('/api/v1/namespaces'),
    items<V1Pod>('/api/v1/pods'),
    items<V1Deployment>('/apis/apps/v1/deployments'),
    items<V1StatefulSet>('/apis/apps/v1/statefulsets'),
    items<V1DaemonSet>('/apis/apps/v1/daemonsets'),
  ])
  return { namespaces, pods, deployments, statefulSets, daemonSets }
}

/** Names of the nodes whose agent does not run. */
export async function agentless({ id }: LabPlace, nodes: number): Promise<string[]> {
  const cgroup = labCgroup(findCgroup2() ?? '', id)
  const names = Array.from({ length: nodes }, (_, at) => nodeName(at + 1))
  const running = await Promise.all(names.map((name) => processesOf(join(cgroup, name, 'agent'))))
  return names.filter((_, at) => running[at]?.length === 0)
}

/**
 * Judges a cluster. With `mesh`, joined pods must be captured too; without `controller` nobody signs certificates, and agents
 * are never ready.
 */
export function standingOf(
  cluster: ClusterObjects,
  { mesh, controller }: Pick<UpWish, 'mesh' | 'controller'>,
): Standing {
  const joinedNamespaces = new Set(cluster.namespaces.filter(isJoined).map((each) => each.metadata?.name))
  const pods = cluster.pods
    .filter((pod) => !pod.metadata?.deletionTimestamp)
    .map((pod) => podStanding(pod, joinedNamespaces.has(pod.metadata?.namespace)))
  const unready = pods
    .filter((pod) => !pod.ready && (controller || !pod.mirror))
    .map((pod) => `${pod.name} (${pod.status}${pod.message && `: ${pod.message}`})`)
  const uncaptured = mesh && controller ? pods.filter((pod) => pod.ready && pod.joined && !pod.captured) : []
  const missing = [...unready, ...uncaptured.map((pod) => `${pod.name} (not captured yet)`), ...shortWorkloads(cluster)]
  return { pods, missing }
}

/** Workloads whose controller has not made all their pods yet. */
function shortWorkloads({ deployments, statefulSets, daemonSets }: ClusterObjects): string[] {
  const phrase = (
    kind: string,
    each: V1Deployment | V1StatefulSet | V1DaemonSet,
    have: number,
    want: number,
  ): string[] => {
    const seen = each.status?.observedGeneration ?? 0
    const current = seen >= (each.metadata?.generation ?? 1)
    if (current && have >= want) return []
    return [`${kind}/${each.metadata?.name ?? ''} (${String(current ? have : 0)} of ${String(want)})`]
  }
  return [
    ...deployments.flatMap((each) =>
      phrase('deployment', each, each.status?.readyReplicas ?? 0, each.spec?.replicas ?? 1),
    ),
    ...statefulSets.flatMap((each) =>
      phrase('statefulset', each, each.status?.readyReplicas ?? 0, each.spec?.replicas ?? 1),
    ),
    ...daemonSets.flatMap((each) =>
      phrase('daemonset', each, each.status?.numberReady ?? 0, each.status?.desiredNumberScheduled ?? 0),
    ),
  ]
}

/** `weft.dev/mesh` as annotation or label; the annotation counts before the label. */
const meshWish = (object: V1Namespace | V1Pod): string | undefined =>
  object.metadata?.annotations?.[MESH] ?? object.metadata?.labels?.[MESH]
const isJoined = (object: V1Namespace): boolean => meshWish(object) === 'enabled'

function podStanding(pod: V1Pod, namespaceJoined: boolean): PodStanding {
  const over = pod.status?.phase === 'Succeeded'
  const ready = over || (pod.status?.conditions ?? []).some((each) => each.type === 'Ready' && each.status === 'True')
  const all = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])]
  const waiting = all.map((each) => each.state?.waiting).find((state) => state !== undefined)
  const scheduled = pod.status?.conditions?.find((each) => each.type === 'PodScheduled' && each.status === 'False')
  const wish = meshWish(pod)
  const annotated = pod.metadata?.annotations?.[CAPTURED] !== undefined
  return {
    name: `${pod.metadata?.namespace ?? ''}/${pod.metadata?.name ?? ''}`,
    node: pod.spec?.nodeName ?? '',
    address: pod.status?.podIP ?? '',
    status: waiting?.reason ?? pod.status?.phase ?? 'Pending',
    message: waiting?.message ?? scheduled?.message ?? '',
    ready,
    joined: !over && pod.spec?.hostNetwork !== true && (wish === undefined ? namespaceJoined : wish === 'enabled'),
    captured: annotated,
    mirror: isMirror(pod),
  }
}
