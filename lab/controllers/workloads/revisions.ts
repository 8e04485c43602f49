// Which ReplicaSet is the current one of a Deployment, and the revision numbers that `kubectl rollout` shows.
import type { ObjectDraft } from '../../api/object.ts'
import { ownedBy, type Deployment, type PodTemplate, type ReplicaSet } from '../world/kinds.ts'
import { canonical, templateHash } from './names.ts'

export const HASH_LABEL = 'pod-template-hash'
export const REVISION = 'deployment.kubernetes.io/revision'
export const DESIRED = 'deployment.kubernetes.io/desired-replicas'
export const MAXIMUM = 'deployment.kubernetes.io/max-replicas'
/** Annotations of a Deployment that speak of it alone. */
const OWN_ANNOTATIONS = new Set([
  'kubectl.kubernetes.io/last-applied-configuration',
  REVISION,
  DESIRED,
  MAXIMUM,
  'deprecated.deployment.rollback.to',
])

/** The ReplicaSet whose template is the Deployment's; the oldest, if several are. */
export function currentSet(deployment: Deployment, sets: readonly ReplicaSet[]): ReplicaSet | undefined {
  const wanted = canonical(withoutHash(deployment.spec.template))
  return [...sets].sort(byAge).find((set) => canonical(withoutHash(set.spec.template)) === wanted)
}

export function byAge(left: ReplicaSet, right: ReplicaSet): number {
  const [a, b] = [left.metadata.creationTimestamp, right.metadata.creationTimestamp]
  if (a !== b) return a < b ? -1 : 1
  return left.metadata.name < right.metadata.name ? -1 : 1
}

export function revisionOf(object: ReplicaSet | Deployment): number {
  return Number(object.metadata.annotations?.[REVISION] ?? 0) || 0
}

/** The revision that the current ReplicaSet carries: its own while it is the newest, else one more than the newest. */
export function currentRevision(current: ReplicaSet | undefined, sets: readonly ReplicaSet[]): number {
  const newest = Math.max(0, ...sets.filter((set) => set !== current).map(revisionOf))
  const own = current ? revisionOf(current) : 0
  return own > newest ? own : newest + 1
}

/** Annotations that a ReplicaSet of this Deployment should have. */
export function setAnnotations(
  deployment: Deployment,
  set: ReplicaSet | undefined,
  { revision, desired, maximum }: { revision: number; desired: number; maximum: number },
): Record<string, string> {
  const passed = Object.entries(deployment.metadata.annotations ?? {}).filter(([name]) => !OWN_ANNOTATIONS.has(name))
  return {
    ...set?.metadata.annotations,
    ...Object.fromEntries(passed),
    [REVISION]: String(revision),
    [DESIRED]: String(desired),
    [MAXIMUM]: String(maximum),
  }
}

/** A new ReplicaSet for the Deployment's template. `salt` other than 0 gives it another name than the plain one. */
export function newSet(deployment: Deployment, annotations: Record<string, string>, salt: number): ObjectDraft {
  const { template, selector, minReadySeconds } = deployment.spec
  const hash = templateHash(template, salt)
  const labels = { ...template.metadata?.labels, [HASH_LABEL]: hash }
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name: `${deployment.metadata.name}-${hash}`,
      namespace: deployment.metadata.namespace ?? 'default',
      labels,
      annotations,
      ownerReferences: [ownedBy(deployment)],
    },
    spec: {
      replicas: 0,
      selector: { ...selector, matchLabels: { ...selector.matchLabels, [HASH_LABEL]: hash } },
      template: { ...template, metadata: { ...template.metadata, labels } },
      ...(minReadySeconds ? { minReadySeconds } : {}),
    },
  }
}

function withoutHash(template: PodTemplate): PodTemplate {
  const { [HASH_LABEL]: _hash, ...labels } = template.metadata?.labels ?? {}
  // The server's own additions to a template's metadata are the same on both, but an empty label set may be left out.
  return { ...template, metadata: { ...template.metadata, labels } }
}
