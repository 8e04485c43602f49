// What admission judges: one write, by whom. Source: admission.k8s.io/v1 AdmissionRequest.
import type { User } from '../auth/user.ts'
import type { KubeObject, ObjectDraft } from '../object.ts'
import type { ResourceType } from '../resources.ts'

export type Operation = 'CREATE' | 'UPDATE' | 'DELETE'

/** Who writes. */
export interface Writer {
  readonly user: User
  /** The field manager: which program of theirs. */
  readonly manager: string
  /** Tells the writer something that is no refusal: a Warning header. */
  readonly warn?: ((text: string) => void) | undefined
}

export interface Attributes {
  readonly operation: Operation
  readonly type: ResourceType
  /** The version of the request. */
  readonly version: string
  readonly subresource: string | undefined
  readonly namespace: string | undefined
  readonly name: string
  /** Null for DELETE. A subresource may have another kind: Scale, Binding, Eviction. */
  readonly object: KubeObject | ObjectDraft | null
  /** Null for CREATE. */
  readonly oldObject: KubeObject | ObjectDraft | null
  readonly writer: Writer
  readonly dryRun: boolean
}

/**
 * Who the lab's own controllers and scheduler are: they write in process. Policies hold for them as for everybody;
 * a cluster's have one account each, ours have one together.
 */
export const CONTROL_PLANE: Writer = {
  user: { username: 'system:kube-controller-manager', groups: ['system:masters', 'system:authenticated'] },
  manager: 'kube-controller-manager',
}
