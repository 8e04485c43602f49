// The status of a Deployment, from which `kubectl rollout status` and `kubectl wait` read. Pure.
import { timestamp } from '../../api/object.ts'
import type { Condition, Deployment, ReplicaSet } from '../world/kinds.ts'
import { conditionOf, withCondition } from './pods.ts'
import { boundsOf, sum } from './rollout.ts'

const DEADLINE_SECONDS = 600

type Counts = { readonly [name in 'replicas' | 'updated' | 'ready' | 'available' | 'unavailable']: number }

/** `againMs`: when the progress deadline passes, if it is still to be met. */
export function deploymentStatus(
  deployment: Deployment,
  current: ReplicaSet | undefined,
  sets: readonly ReplicaSet[],
  now: number,
): { status: object; againMs: number | undefined } {
  const counts = countsOf(current, sets)
  const time = timestamp(new Date(now))
  const available = withCondition(deployment.status?.conditions, availability(deployment, counts), time)
  const progress = progressOf(deployment, { current, counts, now })
  const status = {
    ...positive({
      replicas: counts.replicas,
      updatedReplicas: counts.updated,
      readyReplicas: counts.ready,
      availableReplicas: counts.available,
      unavailableReplicas: counts.unavailable,
    }),
    observedGeneration: deployment.metadata.generation ?? 1,
    conditions: progress.condition ? withProgress(available, progress.condition, time) : available,
  }
  return { status, againMs: progress.againMs }
}

function countsOf(current: ReplicaSet | undefined, sets: readonly ReplicaSet[]): Counts {
  const available = sum(sets, ({ status }) => status?.availableReplicas ?? 0)
  return {
    replicas: sum(sets, ({ status }) => status?.replicas ?? 0),
    updated: current?.status?.replicas ?? 0,
    ready: sum(sets, ({ status }) => status?.readyReplicas ?? 0),
    available,
    unavailable: Math.max(0, sum(sets, ({ spec }) => spec.replicas ?? 1) - available),
  }
}

/** Counts of 0 are left out, as the API does. */
function positive(counts: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0))
}

function availability(deployment: Deployment, { available }: Counts): Condition {
  return available >= boundsOf(deployment).minimum
    ? {
        type: 'Available',
        status: 'True',
        reason: 'MinimumReplicasAvailable',
        message: 'Deployment has minimum availability.',
      }
    : {
        type: 'Available',
        status: 'False',
        reason: 'MinimumReplicasUnavailable',
        message: 'Deployment does not have minimum availability.',
      }
}

interface Progress {
  readonly condition: Condition | null
  readonly againMs: number | undefined
}

function progressOf(
  deployment: Deployment,
  { current, counts, now }: { current: ReplicaSet | undefined; counts: Counts; now: number },
): Progress {
  const before = conditionOf(deployment, 'Progressing')
  const condition = (status: 'True' | 'False' | 'Unknown', reason: string, message: string): Condition => ({
    type: 'Progressing',
    status,
    reason,
    message,
  })
  if (deployment.spec.paused) {
    return { condition: condition('Unknown', 'DeploymentPaused', 'Deployment is paused'), againMs: undefined }
  }
  if (!current) return { condition: before ?? null, againMs: undefined }
  const name = `ReplicaSet "${current.metadata.name}"`
  const desired = deployment.spec.replicas ?? 1
  if (counts.updated === desired && counts.replicas === desired && counts.available >= desired) {
    const done = condition('True', 'NewReplicaSetAvailable', `${name} has successfully progressed.`)
    return { condition: done, againMs: undefined }
  }
  const moving = condition('True', 'ReplicaSetUpdated', `${name} is progressing.`)
  // A rollout that was complete, or that moved since the last look, has its whole deadline before it.
  const fresh = before?.reason !== 'ReplicaSetUpdated' && before?.reason !== 'ProgressDeadlineExceeded'
  if (fresh || moved(deployment, counts)) return { condition: moving, againMs: deadlineMs(deployment) }
  if (before.reason === 'ProgressDeadlineExceeded') return { condition: before, againMs: undefined }
  const left = Date.parse(before.lastUpdateTime ?? '') + deadlineMs(deployment) - now
  if (left > 0) return { condition: { ...moving, lastUpdateTime: before.lastUpdateTime! }, againMs: left }
  const late = condition('False', 'ProgressDeadlineExceeded', `${name} has timed out progressing.`)
  return { condition: late, againMs: undefined }
}

function deadlineMs({ spec }: Deployment): number {
  return (spec.progressDeadlineSeconds ?? DEADLINE_SECONDS) * 1000
}

/** More updated, ready or available replicas than the last status told of, or fewer old ones. */
function moved({ status, metadata }: Deployment, counts: Counts): boolean {
  const count = (name: string) => Number(status?.[name] ?? 0)
  const oldBefore = count('replicas') - count('updatedReplicas')
  return (
    Number(status?.['observedGeneration'] ?? 0) !== metadata.generation ||
    counts.updated > count('updatedReplicas') ||
    counts.ready > count('readyReplicas') ||
    counts.available > count('availableReplicas') ||
    counts.replicas - counts.updated < oldBefore
  )
}

/** Progress also tells when it last moved, apart from when its status last changed. */
function withProgress(conditions: Condition[], progress: Condition, time: string): Condition[] {
  const before = conditions.find(({ type }) => type === 'Progressing')
  const same = before?.reason === progress.reason && before?.message === progress.message
  const settled = same && progress.reason !== 'ReplicaSetUpdated' ? before?.lastUpdateTime : undefined
  const lastUpdateTime = progress.lastUpdateTime ?? settled ?? time
  return withCondition(conditions, { ...progress, lastUpdateTime }, time)
}
