// The pods that show the mesh's own programs: the lab runs these on its nodes itself, and the API shows each as a pod, as a
// kubelet shows the pods of its static manifests. Pure.
// Source: Kubernetes documentation "Create static Pods", "Well-Known Labels, Annotations and Taints".
import type { V1ObjectMeta, V1Pod } from '@kubernetes/client-node'
import { podStatus, type ContainerState } from '../node/pod/status.ts'

/** The namespace of all that is the mesh's own. */
export const MESH_NAMESPACE = 'weft-system'
const MIRROR = 'kubernetes.io/config.mirror'

/** A program of the mesh on a node. */
export interface Program {
  readonly role: 'agent' | 'controller'
  readonly node: string
  /** The node's. */
  readonly address: string
}

/** A program as it was seen last. */
export interface Seen {
  readonly runs: boolean
  /** Whether it says of itself that it is ready. */
  readonly ready: boolean
  /** RFC 3339; '' before its first start. */
  readonly startedAt: string
  /** '' unless it is gone. */
  readonly endedAt: string
  /** How often it was started after its first start. */
  readonly restarts: number
}

export const UNSEEN: Seen = { runs: false, ready: false, startedAt: '', endedAt: '', restarts: 0 }

/** The name of a program's pod, by which an agent also announces what it has captured. */
export const podName = ({ role, node }: Program): string => `weft-${role}-${node}`

/** The service account that a program is. */
export const accountOf = ({ role }: Program): string => `weft-${role}`

/** Whether a pod only shows what runs: no kubelet starts or ends it. */
export function isMirror({ metadata }: { readonly metadata?: Pick<V1ObjectMeta, 'annotations'> }): boolean {
  return metadata?.annotations?.[MIRROR] !== undefined
}

/** The node that a pod is bound to; '' where it is to none. */
export function nodeOf({ spec }: { readonly spec?: { readonly nodeName?: string } }): string {
  return spec?.nodeName ?? ''
}

/** The pod of a program, as it is made. */
export function mirrorPod(program: Program) {
  const { role, node } = program
  const name = podName(program)
  return {
    metadata: {
      namespace: MESH_NAMESPACE,
      name,
      labels: { app: accountOf(program) },
      annotations: { [MIRROR]: name, 'kubernetes.io/config.source': 'file' },
    },
    spec: {
      hostNetwork: true,
      nodeName: node,
      serviceAccountName: accountOf(program),
      containers: [{ name: role, image: 'weft', command: ['weft', role] }],
    },
  }
}

/** What is seen of a program now: whether its process is there, and what it says of itself. */
export function seenAt(
  last: Seen,
  { running, ready }: { readonly running: boolean; readonly ready: boolean },
  now: string,
): Seen {
  if (running === last.runs) return running && ready !== last.ready ? { ...last, ready } : last
  if (!running) return { ...last, runs: false, ready: false, endedAt: now }
  return { runs: true, ready, startedAt: now, endedAt: '', restarts: last.restarts + (last.startedAt === '' ? 0 : 1) }
}

/** The status of a program's pod. It is ready while its process is there and says so. */
export function mirrorStatus(pod: V1Pod, program: Program, seen: Seen, now: string): Record<string, unknown> {
  const { role, address } = program
  const { runs, ready, restarts } = seen
  const containerID = runs ? `lab://${podName(program)}/${String(restarts)}` : ''
  const state = stateOf(seen)
  const last = state.kind === 'terminated' ? state : null
  const container: ContainerState = {
    ...{ name: role, image: 'weft', state, last, containerID, restarts },
    ...{ ready, started: runs, keeps: true },
  }
  const facts = { init: [], main: [container], initialized: true, hasNetwork: true }
  const startTime = String(pod.status?.startTime ?? now)
  return podStatus(pod, { ...facts, addresses: { pod: address, host: address }, startTime }, now)
}

function stateOf({ runs, startedAt, endedAt }: Seen): ContainerState['state'] {
  if (runs) return { kind: 'running', startedAt }
  if (startedAt === '') return { kind: 'waiting', reason: 'ContainerCreating' }
  // As a kubelet says of a container that is gone without a word.
  const words = { reason: 'ContainerStatusUnknown', message: 'The process is gone.' }
  return { kind: 'terminated', exitCode: 137, ...words, startedAt, finishedAt: endedAt, containerID: '' }
}
