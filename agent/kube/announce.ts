// Tells the cluster which pods this agent has captured, by which account they prove themselves, and where they are:
// annotations on the pod.

import type { Workload } from '../model/workload.ts'
import type { KubeClient } from './client.ts'
import { KubeError } from './client.ts'
import { ADDRESSES, CAPTURED, SERVICE_ACCOUNT } from './workload.ts'

/**
 * Writes that `agent` has captured the pod, or with null that nobody has. A pod that is gone is no error.
 * Throws KubeError where the API server refuses.
 */
export async function announce(client: KubeClient, workload: Workload, agent: string | null): Promise<void> {
  const path = `/api/v1/namespaces/${workload.namespace}/pods/${workload.name}`
  // the uid makes a conflict of a pod that was replaced under the same name
  const annotations = {
    [CAPTURED]: agent,
    [SERVICE_ACCOUNT]: agent === null ? null : workload.serviceAccount,
    [ADDRESSES]: agent === null ? null : workload.ips.join(','),
  }
  const metadata = { uid: workload.uid, annotations }
  try {
    await client.patch(path, { metadata })
  } catch (error) {
    if (error instanceof KubeError && (error.status === 404 || error.status === 409)) return
    throw error
  }
}
