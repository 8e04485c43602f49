// Deployment: one ReplicaSet a template, revisions, rollout, status. Source: Kubernetes documentation "Deployments".
import { ApiError } from '../../api/status.ts'
import type { KubeObject } from '../../api/object.ts'
import { deploymentStatus } from './deployment-status.ts'
import {
  as,
  controllerOf,
  isDeleting,
  keyOf,
  ownedBy,
  splitKey,
  type Deployment,
  type ReplicaSet,
} from '../world/kinds.ts'
import { byAge, currentRevision, currentSet, newSet, REVISION, revisionOf, setAnnotations } from './revisions.ts'
import { boundsOf, planRollout, type Scale } from './rollout.ts'
import { SelectorIndex } from '../world/view.ts'
import type { World } from '../world/world.ts'

const COMPONENT = 'deployment-controller'
const SETS = 'replicasets.apps'
/** Names tried for a new ReplicaSet when the plain one is taken by a stranger. */
const NAME_TRIES = 5

export function startDeployments(world: World): void {
  const queue = world.queue('deployment', (key) => reconcile(world, key))
  const bySelector = new SelectorIndex(world.deployments, ({ spec }) => spec.selector)
  world.deployments.onChange((now, before) => queue.add(keyOf((now ?? before)!)))
  world.replicaSets.onChange((now, before) => {
    for (const set of [now, before]) {
      const owner = set && controllerOf(set)
      if (owner?.kind === 'Deployment') queue.add(`${set!.metadata.namespace}/${owner.name}`)
      else if (set && !owner && now) for (const each of bySelector.taking(set)) queue.add(keyOf(each))
    }
  })
  // Recreate waits for old pods to be gone, which no ReplicaSet's status tells.
  world.pods.onChange((now, before) => {
    const owner = now === null && before ? controllerOf(before) : undefined
    const set = owner && world.replicaSets.get(before!.metadata.namespace ?? '', owner.name)
    const deployment = set && controllerOf(set)
    if (deployment) queue.add(`${before!.metadata.namespace}/${deployment.name}`)
  })
}

function reconcile(world: World, key: string): number | undefined {
  const [namespace, name] = splitKey(key)
  const deployment = world.deployments.get(namespace, name)
  if (!deployment || isDeleting(deployment)) return undefined
  const sets = claimSets(world, deployment)
  const found = currentSet(deployment, sets)
  const current = found ?? (deployment.spec.paused ? undefined : makeCurrent(world, deployment, sets))
  // Paused before its template has a ReplicaSet, a Deployment still scales the one it had.
  const scaled = current ?? newest(sets)
  const old = sets.filter((set) => set.metadata.uid !== scaled?.metadata.uid)
  if (current) annotate(world, deployment, current, old)
  if (scaled) {
    const oldPods = old.flatMap((set) => world.pods.ownedBy(set.metadata.uid))
    for (const step of planRollout(deployment, scaled, old, oldPods)) scale(world, deployment, step)
    forget(world, deployment, old)
  }
  return report(world, deployment, current)
}

function setsOf(world: World, { metadata }: Deployment): ReplicaSet[] {
  return world.replicaSets.ownedBy(metadata.uid).filter((set) => controllerOf(set)?.uid === metadata.uid)
}

/** The Deployment's ReplicaSets, after adopting those without a controller that its selector takes. */
function claimSets(world: World, deployment: Deployment): ReplicaSet[] {
  const { metadata, spec } = deployment
  for (const set of world.replicaSets.selected(metadata.namespace ?? '', spec.selector)) {
    if (controllerOf(set) || isDeleting(set)) continue
    world.store.modify(SETS, metadata.namespace ?? '', set.metadata.name, (object) => {
      object.metadata.ownerReferences = [...(object.metadata.ownerReferences ?? []), ownedBy(deployment)]
    })
  }
  return setsOf(world, deployment)
}

function newest(sets: readonly ReplicaSet[]): ReplicaSet | undefined {
  return [...sets].sort((left, right) => revisionOf(right) - revisionOf(left))[0]
}

/** A ReplicaSet for the template as it is now. */
function makeCurrent(world: World, deployment: Deployment, sets: readonly ReplicaSet[]): ReplicaSet {
  const { desired, maximum } = boundsOf(deployment)
  const annotations = setAnnotations(deployment, undefined, {
    revision: currentRevision(undefined, sets),
    desired,
    maximum,
  })
  for (let salt = 0; salt < NAME_TRIES; salt++) {
    try {
      return as<ReplicaSet>(world.store.create(SETS, newSet(deployment, annotations, salt)))
    } catch (error) {
      if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error
    }
  }
  throw new Error('every name for a new ReplicaSet is taken')
}

function annotate(world: World, deployment: Deployment, current: ReplicaSet, old: readonly ReplicaSet[]): void {
  const { namespace = '', name } = deployment.metadata
  const { desired, maximum } = boundsOf(deployment)
  const revision = deployment.spec.paused ? revisionOf(current) : currentRevision(current, [current, ...old])
  const limits = { revision, desired, maximum }
  world.store.modify(SETS, namespace, current.metadata.name, (set) => {
    set.metadata.annotations = setAnnotations(deployment, current, limits)
    set.spec = { ...(set.spec as object), ...minimumReady(deployment) }
  })
  if (revisionOf(deployment) === revision) return
  world.store.modify('deployments.apps', namespace, name, ({ metadata }) => {
    metadata.annotations = { ...metadata.annotations, [REVISION]: String(revision) }
  })
}

function minimumReady({ spec }: Deployment): { minReadySeconds?: number } {
  return spec.minReadySeconds ? { minReadySeconds: spec.minReadySeconds } : {}
}

function scale(world: World, deployment: Deployment, { set, replicas }: Scale): void {
  const before = set.spec.replicas ?? 1
  const { namespace = '', name } = set.metadata
  world.store.modify(SETS, namespace, name, (object: KubeObject) => {
    object.spec = { ...(object.spec as object), replicas }
  })
  const direction = replicas > before ? 'up' : 'down'
  world.events.record(deployment, {
    type: 'Normal',
    reason: 'ScalingReplicaSet',
    message: `Scaled ${direction} replica set ${name} from ${before} to ${replicas}`,
    component: COMPONENT,
  })
}

/** Removes the oldest empty ReplicaSets beyond the history limit. */
function forget(world: World, deployment: Deployment, old: readonly ReplicaSet[]): void {
  const empty = old.filter((set) => set.spec.replicas === 0 && (set.status?.replicas ?? 0) === 0 && !isDeleting(set))
  const surplus = empty.length - (deployment.spec.revisionHistoryLimit ?? 10)
  const oldest = empty.sort((left, right) => revisionOf(left) - revisionOf(right) || byAge(left, right))
  for (const { metadata } of oldest.slice(0, Math.max(0, surplus))) {
    world.store.delete(SETS, metadata.namespace ?? '', metadata.name)
  }
}

/** Writes the status. Returns when time alone may change it. */
function report(world: World, deployment: Deployment, current: ReplicaSet | undefined): number | undefined {
  const now = world.deployments.get(deployment.metadata.namespace ?? '', deployment.metadata.name)
  if (!now) return undefined
  const sets = setsOf(world, now)
  const matching = sets.find((set) => set.metadata.uid === current?.metadata.uid)
  const { status, againMs } = deploymentStatus(now, matching, sets, world.clock.now())
  world.writeStatus('deployments.apps', now, status)
  return againMs
}
