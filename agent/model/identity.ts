// Who is at the caller's end, and how we know.

import type { Workload } from './workload.ts'

/**
 * The caller of a connection. A workload is named only on proof: here, that the connection was made in the network
 * namespace of a pod of this node. Without proof there is a reason, never a bare null.
 */
export type Caller =
  | { readonly kind: 'workload'; readonly workload: Workload; readonly proof: 'netns' }
  | { readonly kind: 'unproven'; readonly why: string }

/** The caller's workload where it is proved, else null. */
export function workloadOf(caller: Caller): Workload | null {
  return caller.kind === 'workload' ? caller.workload : null
}
