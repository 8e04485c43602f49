// The priority classes that every cluster has from the start. Pure data.
// Source: Kubernetes documentation "Guaranteed Scheduling For Critical Add-On Pods".
import { PRIORITY_CLASSES } from './pods.ts'
import type { ObjectDraft } from '../object.ts'

const CRITICAL = 2_000_000_000

/** Resource and object. */
export const SYSTEM_PRIORITIES: readonly (readonly [resource: string, draft: ObjectDraft])[] = [
  [
    PRIORITY_CLASSES,
    classOf(
      'system-cluster-critical',
      CRITICAL,
      'Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.',
    ),
  ],
  [
    PRIORITY_CLASSES,
    classOf(
      'system-node-critical',
      CRITICAL + 1_000,
      'Used for system critical pods that must not be moved from their current node.',
    ),
  ],
]

function classOf(name: string, value: number, description: string): ObjectDraft {
  return { metadata: { name }, value, description }
}
