// How a Deployment moves its replicas from old ReplicaSets to the current one. Pure.
// Source: Kubernetes documentation "Deployments: rolling update", "recreate", "proportional scaling".
import type { Deployment, Pod, ReplicaSet } from '../world/kinds.ts'
import { isFinished } from './pods.ts'
import { byAge } from './revisions.ts'

export interface Bounds {
  readonly desired: number
  /** Most replicas of all ReplicaSets together, while it rolls. */
  readonly maximum: number
  /** Fewest available ones. */
  readonly minimum: number
}

export interface Scale {
  readonly set: ReplicaSet
  readonly replicas: number
}

/** The limits of a rolling update; both percentages are of the desired count, surge rounded up, unavailable down. */
export function boundsOf({ spec }: Deployment): Bounds {
  const desired = spec.replicas ?? 1
  if (spec.strategy?.type === 'Recreate') return { desired, maximum: desired, minimum: 0 }
  const { maxSurge = '25%', maxUnavailable = '25%' } = spec.strategy?.rollingUpdate ?? {}
  const surge = amount(maxSurge, desired, Math.ceil)
  const missing = amount(maxUnavailable, desired, Math.floor)
  // Both 0 would stand still for ever.
  const unavailable = Math.min(desired, surge === 0 && missing === 0 ? 1 : missing)
  return { desired, maximum: desired + (desired === 0 ? 0 : surge), minimum: desired - unavailable }
}

/** `3` or `'30%'` of `total`. */
export function amount(value: number | string, total: number, round: (value: number) => number): number {
  if (typeof value === 'number') return Math.max(0, value)
  const percent = /^(\d+)%$/.exec(value)?.[1]
  return percent === undefined ? Math.max(0, Number.parseInt(value, 10) || 0) : round((Number(percent) * total) / 100)
}

/** The next steps: none when it has to wait for pods, or is done. `current` is null before it exists. */
export function planRollout(
  deployment: Deployment,
  current: ReplicaSet,
  old: readonly ReplicaSet[],
  oldPods: readonly Pod[],
): Scale[] {
  const bounds = boundsOf(deployment)
  if (deployment.spec.paused) return planPaused(bounds, [current, ...old])
  if (deployment.spec.strategy?.type === 'Recreate') return planRecreate(bounds, current, old, oldPods)
  return planRolling(bounds, current, old)
}

function replicasOf(set: ReplicaSet): number {
  return set.spec.replicas ?? 1
}

/** Available replicas; never more than it shall have: its status may be older than its spec. */
function availableOf(set: ReplicaSet): number {
  return Math.min(replicasOf(set), set.status?.availableReplicas ?? 0)
}

export function sum(sets: readonly ReplicaSet[], count: (set: ReplicaSet) => number): number {
  return sets.reduce((total, set) => total + count(set), 0)
}

function planRecreate({ desired }: Bounds, current: ReplicaSet, old: readonly ReplicaSet[], oldPods: readonly Pod[]) {
  const down = old.filter((set) => replicasOf(set) > 0).map((set) => ({ set, replicas: 0 }))
  if (down.length > 0) return down
  // All of the old ones have to be gone, not merely on their way out.
  if (oldPods.some((pod) => !isFinished(pod))) return []
  return replicasOf(current) === desired ? [] : [{ set: current, replicas: desired }]
}

function planRolling(bounds: Bounds, current: ReplicaSet, old: readonly ReplicaSet[]): Scale[] {
  const up = planCurrent(bounds, current, old)
  return up.length > 0 ? up : planOld(bounds, current, old)
}

function planCurrent({ desired, maximum }: Bounds, current: ReplicaSet, old: readonly ReplicaSet[]): Scale[] {
  const has = replicasOf(current)
  if (has > desired) return [{ set: current, replicas: desired }]
  const room = Math.max(0, maximum - has - sum(old, replicasOf))
  const replicas = Math.min(desired, has + room)
  return replicas === has ? [] : [{ set: current, replicas }]
}

/** Old replicas that are not available go first, then available ones as far as the minimum allows; oldest set first. */
function planOld({ minimum }: Bounds, current: ReplicaSet, old: readonly ReplicaSet[]): Scale[] {
  const missing = replicasOf(current) - availableOf(current)
  let spare = sum([current, ...old], replicasOf) - minimum - missing
  if (spare <= 0) return []
  const steps: Scale[] = []
  const oldest = [...old].filter((set) => replicasOf(set) > 0).sort(byAge)
  const left = new Map(oldest.map((set) => [set, replicasOf(set)]))
  for (const set of oldest) {
    const useless = Math.min(spare, replicasOf(set) - availableOf(set))
    left.set(set, left.get(set)! - useless)
    spare -= useless
  }
  // With the useless ones gone, what is left to spare is what is available beyond the minimum.
  for (const set of oldest) {
    const going = Math.min(spare, availableOf(set), left.get(set)!)
    left.set(set, left.get(set)! - going)
    spare -= going
    if (left.get(set) !== replicasOf(set)) steps.push({ set, replicas: left.get(set)! })
  }
  return steps
}

/** Paused, no template is rolled out, but a new replica count still counts: shared by size, the rest to the largest. */
function planPaused({ desired, maximum }: Bounds, sets: readonly ReplicaSet[]): Scale[] {
  const active = sets.filter((set) => replicasOf(set) > 0)
  const [only = sets[0]] = active
  if (active.length <= 1) return only && replicasOf(only) !== desired ? [{ set: only, replicas: desired }] : []
  const total = sum(active, replicasOf)
  if (total >= desired && total <= maximum) return []
  const wanted = total > maximum ? maximum : desired
  const shares = active.map((set) => ({ set, replicas: Math.floor((replicasOf(set) * wanted) / total) }))
  const largest = shares.reduce((best, share) => (replicasOf(share.set) > replicasOf(best.set) ? share : best))
  const rest = wanted - shares.reduce((given, { replicas }) => given + replicas, 0)
  return shares
    .map((share) => (share === largest ? { ...share, replicas: share.replicas + rest } : share))
    .filter(({ set, replicas }) => replicas !== replicasOf(set))
}
