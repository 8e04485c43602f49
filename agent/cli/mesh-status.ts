// How the whole mesh stands: what the agents of its nodes answered and what Kubernetes knows of its pods, as one value,
// and whether that is how it should be. Pure.

import type { Workload } from '../model/workload.ts'
import type { AgentStatus, PodStatus } from '../telemetry/status.ts'

/** What came back from a node: its agent's status, or why there is none. */
export type Answer =
  { readonly node: string; readonly status: AgentStatus } | { readonly node: string; readonly silent: string }

export interface Seen {
  readonly answers: readonly Answer[]
  /** Pods that joined and have not ended, as Kubernetes knows them. */
  readonly joined: readonly Workload[]
}

export interface NodeStatus extends Omit<AgentStatus, 'pods' | 'agent' | 'version' | 'state'> {
  /** Null, as the version, where no agent answers. */
  readonly agent: string | null
  readonly version: string | null
  readonly state: AgentStatus['state'] | 'no agent'
}

export interface MeshPod extends Omit<PodStatus, 'onLoss' | 'olderConnections' | 'modes' | 'certificate'> {
  /** Null while it is not scheduled. */
  readonly node: string | null
  /** Null, as the number of connections, where no agent speaks for the pod. */
  readonly onLoss: PodStatus['onLoss'] | null
  readonly olderConnections: number | null
  readonly modes: PodStatus['modes'] | null
  readonly certificate: PodStatus['certificate'] | null
}

export interface MeshStatus {
  /** Whether all agents are ready and every joined pod is captured. */
  readonly whole: boolean
  /** One a node; those that are not ready come first. */
  readonly agents: readonly NodeStatus[]
  /** Pods that joined or are leaving; those that are not captured come first, then those with older connections. */
  readonly pods: readonly MeshPod[]
}

const POD_STATES: readonly PodStatus['state'][] = ['uncaptured', 'pending', 'leaving', 'captured']
const { compare } = new Intl.Collator('en', { numeric: true })

/** Folds what was seen. With a namespace, only its pods are told and judged. */
export function meshStatus({ answers, joined }: Seen, namespace: string | null = null): MeshStatus {
  const isTold = (pod: { readonly namespace: string }): boolean => namespace === null || pod.namespace === namespace
  const told = answers.flatMap((answer): MeshPod[] =>
    'status' in answer ? answer.status.pods.map((pod) => ({ ...UNTOLD, ...pod, node: answer.node })) : [],
  )
  const known = new Set(told.map(({ uid }) => uid))
  const untold = joined.filter(({ uid }) => !known.has(uid)).map((pod) => untoldPod(pod, answers))
  const pods = [...told, ...untold].filter(isTold).sort(byUrgency)
  const agents = answers.map(nodeStatus).sort((one, other) => rank(one) - rank(other) || compare(one.node, other.node))
  const isDone = ({ state }: MeshPod): boolean => state === 'captured' || state === 'leaving'
  return { whole: agents.every(({ state }) => state === 'ready') && pods.every(isDone), agents, pods }
}

/** What the command ends with: 0 where the mesh is whole, else 1. */
export function exitCode({ whole }: MeshStatus): number {
  return whole ? 0 : 1
}

function nodeStatus(answer: Answer): NodeStatus {
  const { node } = answer
  if (!('status' in answer)) return { node, agent: null, version: null, state: 'no agent', reasons: [answer.silent] }
  const { agent, version, state, reasons, startWindow = null } = answer.status
  return { node, agent, version, state, reasons, startWindow }
}

const UNTOLD = { onLoss: null, olderConnections: null, modes: null, certificate: null }

/** A joined pod that no agent told of. */
function untoldPod(pod: Workload, answers: readonly Answer[]): MeshPod {
  const { namespace, name, uid, ips, node } = pod
  return { namespace, name, uid, ips, node, ...standing(pod, answers), ...UNTOLD }
}

function standing(pod: Workload, answers: readonly Answer[]): Pick<MeshPod, 'state' | 'reason'> {
  if (pod.hostNetwork) return { state: 'uncaptured', reason: 'hostNetwork' } // as the agents word it
  if (pod.node === null) return { state: 'pending', reason: 'not scheduled to a node yet' }
  const answer = answers.find(({ node }) => node === pod.node)
  if (answer === undefined) return { state: 'uncaptured', reason: `there is no node ${pod.node}` }
  if (!('status' in answer)) return { state: 'uncaptured', reason: 'no agent on its node' }
  const isStarting = answer.status.state === 'starting'
  return { state: 'pending', reason: isStarting ? 'its agent is starting' : 'its agent does not know it yet' }
}

const rank = ({ state }: NodeStatus): number => (state === 'ready' ? 1 : 0)

function byUrgency(one: MeshPod, other: MeshPod): number {
  const urgency = ({ state, olderConnections }: MeshPod): number =>
    POD_STATES.indexOf(state) + (state === 'captured' && olderConnections === 0 ? 1 : 0)
  return urgency(one) - urgency(other) || compare(one.namespace, other.namespace) || compare(one.name, other.name)
}
