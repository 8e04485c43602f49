// Who may read what a process of the mesh tells: whoever the Kubernetes API says.

import { AccessReviews, type Readable } from './kube/access-reviews.ts'
import { connectKube } from './kube/client.ts'
import { closedGate, type Gate } from './telemetry/admin.ts'

/** A gate by the Kubernetes API of a kubeconfig file, or of the pod's own account; nobody passes where there is none. */
export function gateBy(kubeconfig: string | null, readable: Readable): Gate {
  try {
    return new AccessReviews(connectKube(kubeconfig), readable, () => performance.now())
  } catch (error) {
    return closedGate(`there is no Kubernetes API to ask who you are: ${(error as Error).message}`)
  }
}
