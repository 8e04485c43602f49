// Where a pod runs, as Kubernetes has it: the agent of that node is whom to ask about it.

import { KubeError } from '../kube/client.ts'
import type { Pod } from '../kube/object.ts'
import type { UserClient } from '../kube/user-client.ts'

export interface NamedPod {
  readonly namespace: string
  readonly pod: string
}

/** The node of a pod. Throws, with one sentence, where there is no such pod, or it is on no node yet. */
export async function nodeOf(client: Pick<UserClient, 'get'>, { namespace, pod }: NamedPod): Promise<string> {
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}`
  try {
    const { spec } = (await client.get(path)) as Pod
    if (spec?.nodeName === undefined) throw new Error(`pod ${namespace}/${pod} is on no node yet`)
    return spec.nodeName
  } catch (error) {
    if (error instanceof KubeError && error.status === 404) throw new Error(`there is no pod ${namespace}/${pod}`)
    throw error
  }
}

/** Reads `NAMESPACE/POD`; null where it is none. */
export function podNamed(text: string): NamedPod | null {
  const [namespace = '', pod = '', more] = text.split('/')
  return namespace === '' || pod === '' || more !== undefined ? null : { namespace, pod }
}
