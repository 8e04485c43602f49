// Job: pods that run to their end, so many times. Source: Kubernetes documentation "Jobs".
// Indexed completion, pod failure policies and success policies are refused with a Failed condition.
import { isDeleting, splitKey, type Condition, type Job, type Pod } from '../world/kinds.ts'
import type { World } from '../world/world.ts'
import { conditionOf, isActive, isReady, podOf, withCondition } from './pods.ts'
import { claimPods, followWorkload } from './workload.ts'

const RESOURCE = 'jobs.batch'
const COMPONENT = 'job-controller'
/** A failed pod is tried again after this, doubled with each failure. */
export const FAILED_FIRST_MS = 10_000
export const FAILED_LIMIT_MS = 360_000

export interface JobPlan {
  readonly create: number
  readonly remove: readonly Pod[]
  /** Set once, when the Job ends. */
  readonly outcome: Condition | null
  readonly againMs: number | undefined
}

/** The next steps of a Job that has not ended. Pure. */
export function planJob(job: Job, pods: readonly Pod[], now: number): JobPlan {
  const { spec } = job
  const active = pods.filter(isActive)
  const succeeded = pods.filter(({ status }) => status?.phase === 'Succeeded').length
  const failed = pods.filter(({ status }) => status?.phase === 'Failed')
  const completions = spec.completions ?? 1
  const stop = (outcome: Condition): JobPlan => ({ create: 0, remove: active, outcome, againMs: undefined })
  const refused = unsupported(job)
  if (refused) return stop({ type: 'Failed', status: 'True', reason: 'Unsupported', message: refused })
  if (succeeded >= completions) {
    return stop({
      type: 'Complete',
      status: 'True',
      reason: 'CompletionsReached',
      message: 'Reached expected number of succeeded pods',
    })
  }
  if (failed.length > (spec.backoffLimit ?? 6)) {
    const message = 'Job has reached the specified backoff limit'
    return stop({ type: 'Failed', status: 'True', reason: 'BackoffLimitExceeded', message })
  }
  const wanted = spec.suspend ? 0 : Math.min(spec.parallelism ?? 1, completions - succeeded)
  const waitMs = waitAfter(failed, now)
  const missing = Math.max(0, wanted - active.length)
  return {
    create: waitMs > 0 ? 0 : missing,
    remove: active.slice(wanted),
    outcome: null,
    againMs: waitMs > 0 && missing > 0 ? waitMs : undefined,
  }
}

function unsupported({ spec }: Job): string | null {
  const asked = spec as Record<string, unknown>
  if (asked['completionMode'] === 'Indexed') return 'completionMode Indexed is not supported here'
  const field = ['podFailurePolicy', 'successPolicy', 'backoffLimitPerIndex'].find((name) => asked[name] !== undefined)
  return field === undefined ? null : `${field} is not supported here`
}

function waitAfter(failed: readonly Pod[], now: number): number {
  if (failed.length === 0) return 0
  const last = Math.max(...failed.map((pod) => endedAt(pod)))
  const delay = Math.min(FAILED_FIRST_MS * 2 ** Math.min(failed.length - 1, 20), FAILED_LIMIT_MS)
  return Math.max(0, last + delay - now)
}

function endedAt(pod: Pod): number {
  return Date.parse(conditionOf(pod, 'Ready')?.lastTransitionTime ?? pod.metadata.creationTimestamp)
}

export function isEnded(job: Job): boolean {
  return ['Complete', 'Failed'].some((type) => conditionOf(job, type)?.status === 'True')
}

export function startJobs(world: World): void {
  const queue = world.queue('job', reconcile)
  followWorkload(world, world.jobs, queue)

  function reconcile(key: string): number | undefined {
    const [namespace, name] = splitKey(key)
    const job = world.jobs.get(namespace, name)
    if (!job || isDeleting(job)) return undefined
    if (isEnded(job)) return forget(job)
    const plan = planJob(job, claimPods(world, job), world.clock.now())
    try {
      for (let made = 0; made < plan.create; made++) {
        const { metadata } = world.store.create('pods', podOf(job, job.spec.template, {}))
        record(job, 'SuccessfulCreate', `Created pod: ${metadata.name}`)
      }
      for (const { metadata } of plan.remove) world.store.delete('pods', namespace, metadata.name)
    } finally {
      writeStatus(job, plan.outcome)
    }
    if (plan.outcome)
      record(job, plan.outcome.type === 'Complete' ? 'Completed' : plan.outcome.reason!, plan.outcome.message!)
    return plan.againMs
  }

  /** Deletes an ended Job once its time to live has passed. */
  function forget({ spec, status, metadata }: Job): number | undefined {
    if (spec.ttlSecondsAfterFinished === undefined) return undefined
    const ended = status?.conditions?.find(({ type }) => type === 'Complete' || type === 'Failed')?.lastTransitionTime
    const leftMs = Date.parse(ended ?? '') + spec.ttlSecondsAfterFinished * 1000 - world.clock.now()
    if (leftMs > 0) return leftMs
    world.store.delete(RESOURCE, metadata.namespace ?? '', metadata.name)
    return undefined
  }

  function record(job: Job, reason: string, message: string): void {
    world.events.record(job, { type: 'Normal', reason, message, component: COMPONENT })
  }

  function writeStatus(job: Job, outcome: Condition | null): void {
    const pods = world.pods.ownedBy(job.metadata.uid)
    const active = pods.filter(isActive)
    const count = (phase: string) => pods.filter(({ status }) => status?.phase === phase).length
    const time = world.time()
    const startTime = job.status?.startTime ?? time
    world.writeStatus(RESOURCE, job, {
      ...job.status,
      startTime,
      active: active.length,
      ready: active.filter(isReady).length,
      succeeded: count('Succeeded'),
      failed: count('Failed'),
      ...(outcome ? { conditions: withCondition(job.status?.conditions, outcome, time) } : {}),
      ...(outcome?.type === 'Complete' ? { completionTime: time } : {}),
    })
  }
}
