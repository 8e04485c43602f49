// The DaemonSet that an agent belongs to: whether it goes, and not just this pod of it; whether the next pod is there.

import { type KubeClient, KubeError } from './client.ts'
import type { KubeObject } from './object.ts'

export interface DaemonSetPlace {
  readonly namespace: string
  readonly name: string
}

/** The path of a DaemonSet (apps/v1). */
export const daemonSetPath = (namespace: string, name: string): string =>
  `/apis/apps/v1/namespaces/${encodeURIComponent(namespace)}/daemonsets/${encodeURIComponent(name)}`

/** Whether it is being deleted, or gone. Throws KubeError where nobody can say, or not within so long. */
export async function isGoing(
  client: Pick<KubeClient, 'get'>,
  { namespace, name }: DaemonSetPlace,
  withinMs: number,
): Promise<boolean> {
  try {
    const { metadata } = (await client.get(daemonSetPath(namespace, name), withinMs)) as KubeObject
    return metadata.deletionTimestamp !== undefined
  } catch (error) {
    if (error instanceof KubeError && error.status === 404) return true
    throw error
  }
}

/**
 * Whether it has another pod on a node than this one, that is not about to end and has not ended (evicted, say). Its pods
 * carry its name as label `app`. Throws KubeError where nobody can say, or not within so long.
 */
export async function hasOtherPod(
  client: Pick<KubeClient, 'list'>,
  { namespace, name, node, pod }: DaemonSetPlace & { readonly node: string; readonly pod: string },
  withinMs: number,
): Promise<boolean> {
  const query = { labelSelector: `app=${name}`, fieldSelector: `spec.nodeName=${node}` }
  const { items } = await client.list(
    `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`,
    query,
    false,
    withinMs,
  )
  return items.some(
    ({ metadata, status }) => metadata.name !== pod && metadata.deletionTimestamp === undefined && !isOver(status),
  )
}

/** v1 PodStatus: whether no container of it runs any more, or will again. */
function isOver(status: unknown): boolean {
  const { phase } = (status ?? {}) as { readonly phase?: unknown }
  return phase === 'Failed' || phase === 'Succeeded'
}
