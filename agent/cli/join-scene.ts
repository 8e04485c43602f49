// Reads what a plan to join or to leave is made of, as whoever runs the command: the namespace, its pods, the agents, the
// policies of the cluster.

import { AGENT_SETTINGS, CONTROLLER_SETTINGS } from '../config.ts'
import { AGENTS_SERVICE } from '../kube/agent-list.ts'
import { KubeError } from '../kube/client.ts'
import type { EndpointSlice, KubeObject, KubeService, Metadata, Pod } from '../kube/object.ts'
import { readCluster } from '../kube/offline-cluster.ts'
import { readGiven } from '../kube/offline.ts'
import { serviceKey, sliceOwner } from '../kube/service.ts'
import type { UserClient } from '../kube/user-client.ts'
import { hasEnded, localWorkload, MESH, meshWish, podProblems } from '../kube/workload.ts'
import type { Door, Scene, ScenePod } from '../model/joining/scene.ts'
import { isStrictSomewhere, peerModesOf, peersByNamespace } from '../model/peer-authentication.ts'

/** Where to look, and the mesh's own settings, which a user's command cannot know. */
export interface SceneWish {
  readonly namespace: string
  readonly weftNamespace: string
  readonly rootNamespace: string
  readonly clusterDomain: string
}

/** A pod that a file of its kubelet makes carries this; agents do not find its processes. */
const MIRROR = 'kubernetes.io/config.mirror'
/** As agents have it unless they are told otherwise. */
const SANDBOXED = AGENT_SETTINGS['sandboxed-runtimes'].default.split(',')
/** By so much the clock of whoever asks may be off that of the leader: a lease counts for so much longer. */
const CLOCKS_APART_MS = 60_000

/** Path of a namespace. */
export const namespacePath = (name: string): string => `/api/v1/namespaces/${encodeURIComponent(name)}`

/** Reads all of it. Throws, with one sentence, where there is no such namespace, or something may not be read. */
export async function readScene(client: UserClient, wish: SceneWish, nowMs: number): Promise<Scene> {
  const { namespace, weftNamespace, rootNamespace, clusterDomain } = wish
  const { metadata } = await namespaceNamed(client, namespace)
  if (metadata.deletionTimestamp !== undefined) throw new Error(`namespace ${namespace} is being deleted`)
  const { manifests } = await readCluster(client, rootNamespace).catch(needs('list what the mesh reads'))
  // of the cluster's pods their metadata is enough; of these all is needed
  const { items } = await client
    .list(`${namespacePath(namespace)}/pods`, {}, false)
    .catch(needs(`list pods in ${namespace}`))
  const controller = await controllerLeads(client, weftNamespace, nowMs)
  const { world } = readGiven([], manifests, { clusterDomain, rootNamespace, nowMs })
  const of = <T extends KubeObject>(kind: string): readonly T[] =>
    manifests.map(({ object }) => object as KubeObject as T).filter((object) => object.kind === kind)
  const own = ({ metadata: { namespace: at } }: KubeObject): boolean => at === namespace
  const ground = { byNamespace: peersByNamespace(world.peerAuthentications), rootNamespace: world.rootNamespace }
  const joined = joinedAlready(metadata)
  const slices = of<EndpointSlice>('EndpointSlice')
  return {
    namespace,
    wishes: { annotation: metadata.annotations?.[MESH] ?? null, label: metadata.labels?.[MESH] ?? null },
    pods: (items as readonly Pod[])
      .filter((pod) => !hasEnded(pod))
      .map((pod) => {
        const labels = pod.metadata.labels ?? {}
        return scenePod(pod, joined, isStrictSomewhere(peerModesOf({ namespace, labels }, ground)))
      }),
    agents: agentsIn(slices.filter((slice) => sliceOwner(slice) === serviceKey(weftNamespace, AGENTS_SERVICE))),
    controller,
    doors: of<KubeService>('Service').filter(own).flatMap(doorOf),
    world,
  }
}

async function namespaceNamed(client: UserClient, name: string): Promise<KubeObject> {
  try {
    return (await client.get(namespacePath(name))) as KubeObject
  } catch (error) {
    if (error instanceof KubeError && error.status === 404) throw new Error(`there is no namespace ${name}`)
    return needs(`get namespace ${name}`)(error)
  }
}

/** Turns a refusal of the API server into a sentence that says which right is missing; all else it throws as it is. */
export function needs(right: string): (error: unknown) => never {
  return (error) => {
    if (error instanceof KubeError && (error.status === 401 || error.status === 403)) {
      throw new Error(`it takes the right to ${right}: ${error.message}`)
    }
    throw error
  }
}

/** The namespace as it is once it has joined: what is asked of captures is asked in these terms. */
function joinedAlready(metadata: Metadata): Metadata {
  return { ...metadata, annotations: { ...metadata.annotations, [MESH]: 'enabled' } }
}

function scenePod(pod: Pod, namespace: Metadata, isStrict: boolean): ScenePod {
  const known = localWorkload(pod, namespace, { sandboxed: SANDBOXED, isStrict })
  const isStatic = pod.metadata.annotations?.[MIRROR] !== undefined
  const { containers = [], initContainers = [] } = pod.spec ?? {}
  const lasting = [...containers, ...initContainers.filter(({ restartPolicy }) => restartPolicy === 'Always')]
  return {
    ...known,
    unfit: known.unfit ?? (isStatic ? 'static pod' : null),
    wish: meshWish(pod.metadata),
    isRunning: pod.status?.phase === 'Running',
    containers: lasting.map(({ image = '', ports = [] }) => {
      return { image, ports: ports.map(({ containerPort }) => containerPort) }
    }),
    problems: podProblems(pod, namespace, isStrict),
  }
}

/** Of two agents on a node one that is ready counts. */
function agentsIn(slices: readonly EndpointSlice[]): ReadonlyMap<string, boolean> {
  const agents = new Map<string, boolean>()
  for (const { nodeName, conditions, targetRef } of slices.flatMap(({ endpoints = [] }) => endpoints)) {
    if (nodeName === undefined || targetRef?.kind !== 'Pod') continue
    agents.set(nodeName, (agents.get(nodeName) ?? false) || (conditions?.ready ?? true))
  }
  return agents
}

/** How a Service is dialled from outside of the cluster (v1 ServiceSpec). */
function doorOf({ metadata, spec = {} }: KubeService): readonly Door[] {
  const { type = 'ClusterIP', externalIPs = [] } = spec
  if (type === 'NodePort' || type === 'LoadBalancer') return [{ service: metadata.name, by: type }]
  return externalIPs.length > 0 ? [{ service: metadata.name, by: 'externalIPs' }] : []
}

interface Lease extends KubeObject {
  readonly spec?: {
    readonly holderIdentity?: string | null
    readonly leaseDurationSeconds?: number | null
    readonly renewTime?: string | null
  }
}

/** Whether a controller holds its lease; null where that may not be read. */
async function controllerLeads(client: UserClient, namespace: string, nowMs: number): Promise<boolean | null> {
  const name = CONTROLLER_SETTINGS['lease-name'].default
  const path = `/apis/coordination.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/leases/${name}`
  try {
    const { spec = {} } = (await client.get(path)) as Lease
    const { holderIdentity = '', leaseDurationSeconds, renewTime } = spec
    if (!holderIdentity) return false
    return nowMs < Date.parse(renewTime ?? '') + (leaseDurationSeconds ?? 0) * 1000 + CLOCKS_APART_MS
  } catch (error) {
    if (!(error instanceof KubeError)) throw error
    if (error.status === 404) return false
    if (error.status === 401 || error.status === 403) return null
    throw error
  }
}
