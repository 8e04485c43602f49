// What a pod's status says, computed from its containers' states. Pure.
import type { V1Pod, V1PodCondition } from '@kubernetes/client-node'

export interface Waiting {
  readonly kind: 'waiting'
  readonly reason: string
  readonly message?: string | undefined
}
export interface Running {
  readonly kind: 'running'
  readonly startedAt: string
}
export interface Terminated {
  readonly kind: 'terminated'
  readonly exitCode: number
  readonly signal?: number | undefined
  readonly reason: string
  readonly message?: string | undefined
  readonly startedAt: string
  readonly finishedAt: string
  readonly containerID: string
}

/** One container as the kubelet sees it. `ready` and `started` are what probes say; without probes: that it runs. */
export interface ContainerState {
  readonly name: string
  readonly image: string
  state: Waiting | Running | Terminated
  last: Terminated | null
  containerID: string
  restarts: number
  ready: boolean
  started: boolean
  /** It will be started again when it ends: its restart policy, or an init container that is a sidecar. */
  readonly keeps: boolean
}

export interface PodFacts {
  readonly init: readonly ContainerState[]
  readonly main: readonly ContainerState[]
  /** All init containers are done (or started, for sidecars). */
  readonly initialized: boolean
  readonly hasNetwork: boolean
  readonly addresses: { readonly pod: string; readonly host: string } | null
  readonly startTime: string
}

type Json = Record<string, unknown>

/** The status of a pod, to be written by a merge patch; its qosClass is the server's. `now` is used for the conditions that changed. */
export function podStatus(pod: V1Pod, facts: PodFacts, now: string): Json {
  return {
    phase: phaseOf(pod, facts),
    conditions: conditionsOf(pod, facts, now),
    startTime: facts.startTime,
    ...(facts.addresses && {
      hostIP: facts.addresses.host,
      hostIPs: [{ ip: facts.addresses.host }],
      podIP: facts.addresses.pod,
      podIPs: [{ ip: facts.addresses.pod }],
    }),
    ...(facts.init.length > 0 && { initContainerStatuses: facts.init.map(containerStatus) }),
    containerStatuses: facts.main.map(containerStatus),
  }
}

function phaseOf(pod: V1Pod, { main, init, initialized }: PodFacts): string {
  const failedInit = init.some((each) => !each.keeps && each.state.kind === 'terminated' && each.state.exitCode !== 0)
  if (!initialized) return failedInit && pod.spec?.restartPolicy === 'Never' ? 'Failed' : 'Pending'
  if (main.some((each) => each.state.kind === 'waiting' && each.last === null)) return 'Pending'
  const over = main.every((each) => each.state.kind === 'terminated')
  if (!over || (pod.spec?.restartPolicy ?? 'Always') === 'Always') return 'Running'
  const failed = main.some((each) => each.state.kind === 'terminated' && each.state.exitCode !== 0)
  if (!failed) return 'Succeeded'
  return pod.spec?.restartPolicy === 'Never' ? 'Failed' : 'Running'
}

function conditionsOf(pod: V1Pod, facts: PodFacts, now: string): Json[] {
  const old = pod.status?.conditions ?? []
  const kept = old.filter((condition) => !OURS.has(condition.type))
  const unready = [...facts.init.filter((each) => each.keeps), ...facts.main].filter((each) => !each.ready)
  const why = unready.length > 0 && {
    reason: 'ContainersNotReady',
    message: `containers with unready status: [${unready.map((each) => each.name).join(' ')}]`,
  }
  const gates = pod.spec?.readinessGates ?? []
  const shut = gates.filter((gate) => !old.some((c) => c.type === gate.conditionType && c.status === 'True'))
  const gate = shut.length > 0 && {
    reason: 'ReadinessGatesNotReady',
    message: `corresponding condition of pod readiness gate "${shut[0]?.conditionType ?? ''}" is not True`,
  }
  const over = ['Succeeded', 'Failed'].includes(phaseOf(pod, facts))
  const done = over && { reason: 'PodCompleted' }
  const contained = facts.initialized && unready.length === 0 && !over
  return [
    ...kept.map((condition) => ({ ...condition })),
    condition(old, now, { type: 'PodReadyToStartContainers', holds: facts.hasNetwork, why: false }),
    condition(old, now, { type: 'Initialized', holds: facts.initialized, why: { reason: 'ContainersNotInitialized' } }),
    condition(old, now, { type: 'ContainersReady', holds: contained, why: done || why }),
    condition(old, now, { type: 'Ready', holds: contained && !gate, why: done || why || gate }),
  ]
}

const OURS = new Set(['PodReadyToStartContainers', 'Initialized', 'ContainersReady', 'Ready'])

interface Verdict {
  readonly type: string
  readonly holds: boolean
  /** Reason and message for when it does not hold. */
  readonly why: Json | false
}

function condition(old: readonly V1PodCondition[], now: string, { type, holds, why }: Verdict): Json {
  const before = old.find((each) => each.type === type)
  const status = holds ? 'True' : 'False'
  const since = before?.status === status ? (before.lastTransitionTime as unknown as string) : now
  return { type, status, lastProbeTime: null, lastTransitionTime: since, ...(!holds && why ? why : {}) }
}

function containerStatus(each: ContainerState): Json {
  return {
    name: each.name,
    image: each.image,
    imageID: `lab://${each.image}`,
    containerID: each.containerID,
    state: stateJson(each.state),
    lastState: each.last ? stateJson(each.last) : {},
    ready: each.ready,
    started: each.started,
    restartCount: each.restarts,
  }
}

function stateJson(state: Waiting | Running | Terminated): Json {
  const { kind, ...fields } = state
  return { [kind]: fields }
}
