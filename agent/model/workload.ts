// A pod that runs code, as every node knows it.

import type { CaptureTerms } from './terms.ts'

/** The Kubernetes object that something was made from; how logs, problems and metrics name it. */
export interface ObjectRef {
  readonly kind: string
  readonly namespace: string
  readonly name: string
}

/** A pod that runs code. */
export interface Workload {
  /** The pod's metadata.uid. */
  readonly uid: string
  readonly name: string
  readonly namespace: string
  /** Name of the Kubernetes node, or null while the pod is not scheduled. */
  readonly node: string | null
  readonly ips: readonly string[]
  /** Whose word its addresses are: where several pods claim one, the first of these counts before the others. */
  readonly placedBy: 'spec' | 'endpoints' | 'announcement'
  readonly labels: Readonly<Record<string, string>>
  /** Of pods of other nodes as it is announced; '' where it is not. */
  readonly serviceAccount: string
  /** Name of what owns the pod (Deployment, StatefulSet, …), the pod's own name where nothing does. */
  readonly owner: string
  /** Whether the pod runs in its node's own network namespace: never captured. */
  readonly hostNetwork: boolean
  /** Why it can never be captured, whatever it asks for, or null. Known of pods of this node alone. */
  readonly unfit: string | null
  /** What it asks of its capture; of pods of other nodes the excluded inbound ports alone. */
  readonly terms: CaptureTerms
  /** Whether namespace and pod ask for it to be in the mesh (`weft.dev/mesh`). */
  readonly joined: boolean
  /** Whether it is being ended (metadata.deletionTimestamp): it finishes what it has begun. */
  readonly terminating: boolean
  /**
   * Which agent announced to have captured it (`weft.dev/captured`), or null. Of a pod of another node null too where its
   * account is not announced.
   */
  readonly captured: string | null
  /** Whether that agent is there to keep what it has announced; of pods of this node true. */
  readonly agentReady: boolean
  /** The service account that the announcement names (`weft.dev/service-account`), or null. */
  readonly announcedAccount: string | null
}

/** Istio's canonical name of a workload: the labels it reads, in its order, then the owner. */
export function canonicalName(workload: Workload): string {
  const { labels } = workload
  return (
    labels['service.istio.io/canonical-name'] ?? labels['app.kubernetes.io/name'] ?? labels['app'] ?? workload.owner
  )
}

/** Istio's canonical revision of a workload: the labels it reads, in its order, then `latest`. */
export function canonicalRevision(workload: Workload): string {
  const { labels } = workload
  return (
    labels['service.istio.io/canonical-revision'] ??
    labels['app.kubernetes.io/version'] ??
    labels['version'] ??
    'latest'
  )
}
