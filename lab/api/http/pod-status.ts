// A pod in three words, as `kubectl get pods` shows it. Pure. Source: what kubectl prints against Kubernetes 1.32.
import type { KubeObject } from '../object.ts'

export interface PodStatus {
  /** Ready containers of all: '1/2'. */
  readonly ready: string
  /** 'Running', 'CrashLoopBackOff', 'Init:0/1', 'Terminating', … */
  readonly reason: string
  readonly restarts: number
  readonly lastRestart: string | undefined
}

type ContainerStatus = Record<string, any>

export function podStatus(pod: KubeObject): PodStatus {
  const { spec, status = {} } = pod
  const containers: ContainerStatus[] = status.containerStatuses ?? []
  const starting = initReason(pod)
  const counted: ContainerStatus[] = starting === undefined ? containers : (status.initContainerStatuses ?? [])
  const finished = counted.map(({ lastState }) => lastState?.terminated?.finishedAt).filter(Boolean)
  const ready = containers.filter((each) => each['ready'] && each['state']?.running).length
  return {
    ready: `${ready}/${(spec?.containers ?? []).length}`,
    reason: terminating(pod) ?? starting ?? containersReason(pod, containers),
    restarts: counted.reduce((sum, { restartCount = 0 }) => sum + restartCount, 0),
    lastRestart: finished.sort().at(-1),
  }
}

function terminating({ metadata, status }: KubeObject): string | undefined {
  if (metadata.deletionTimestamp === undefined) return undefined
  return status?.reason === 'NodeLost' ? 'Unknown' : 'Terminating'
}

function initReason({ spec, status }: KubeObject): string | undefined {
  const total = spec?.initContainers?.length ?? 0
  for (const [at, { state, started }] of (status?.initContainerStatuses ?? []).entries()) {
    if (state?.terminated?.exitCode === 0 || started) continue
    const stopped = state?.terminated
    if (stopped) return `Init:${stopped.reason || exitText(stopped)}`
    const waiting = state?.waiting?.reason
    return waiting && waiting !== 'PodInitializing' ? `Init:${waiting}` : `Init:${at}/${total}`
  }
  return undefined
}

function containersReason({ status = {} }: KubeObject, containers: readonly ContainerStatus[]): string {
  let reason: string = status.reason || status.phase || 'Unknown'
  let isRunning = false
  for (const { state, ready } of [...containers].reverse()) {
    if (state?.waiting?.reason) reason = state.waiting.reason
    else if (state?.terminated) reason = state.terminated.reason || exitText(state.terminated)
    else if (ready && state?.running) isRunning = true
  }
  if (reason !== 'Completed' || !isRunning) return reason
  const isReady = (status.conditions ?? []).some((each: any) => each.type === 'Ready' && each.status === 'True')
  return isReady ? 'Running' : 'NotReady'
}

function exitText({ signal, exitCode }: { signal?: number; exitCode?: number }): string {
  return signal ? `Signal:${signal}` : `ExitCode:${exitCode ?? 0}`
}
