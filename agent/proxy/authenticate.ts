// Step 2: who the caller is, by proof: an outbound connection was made in the network namespace of a pod of this node.

import type { Caller } from '../model/identity.ts'
import type { Captured } from './capture.ts'
import type { MeshNode } from './plane/node.ts'

/** The caller, or the reason why nobody can say who it is. */
export function authenticate({ direction, pod, peer }: Captured, node: MeshNode): Caller {
  if (direction === 'inbound') return { kind: 'unproven', why: `plaintext from ${peer.ip}` }
  const workload = node.snapshot.workloadByUid.get(pod.captured.uid)
  if (workload === undefined) return { kind: 'unproven', why: `pod ${pod.captured.uid} is not known yet` }
  return { kind: 'workload', workload, proof: 'netns' }
}
