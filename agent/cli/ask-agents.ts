// Asks the cluster for its nodes and joined pods, and each node's agent, through the API server's node proxy, how it stands.

import { AGENT_SETTINGS } from '../config.ts'
import { type KubeClient, KubeError } from '../kube/client.ts'
import type { Metadata, Pod } from '../kube/object.ts'
import { hasEnded, localWorkload } from '../kube/workload.ts'
import type { Workload } from '../model/workload.ts'
import type { AgentStatus } from '../telemetry/status.ts'
import type { Answer, Seen } from './mesh-status.ts'

/** Nodes that are asked at once, and how long each may take. */
const ASKED_AT_ONCE = 8
const ANSWER_WITHIN_MS = 5_000
const AGENT_PORT = AGENT_SETTINGS['admin-port'].default

/** What is looked at; null is all. */
export interface Scope {
  readonly namespace: string | null
  readonly node: string | null
}

/** Reads all that the status is made of. Throws where the cluster does not answer, refuses, or does not have the scope. */
export async function askMesh(
  client: KubeClient,
  scope: Scope,
  answerWithinMs: number = ANSWER_WITHIN_MS,
): Promise<Seen> {
  const [nodes, namespaces, pods] = await Promise.all([
    client.list('/api/v1/nodes', {}, true),
    client.list('/api/v1/namespaces', {}, true),
    client.list(podsPath(scope), scope.node === null ? {} : { fieldSelector: `spec.nodeName=${scope.node}` }, false),
  ])
  const nodeNames = namesIn(nodes.items).filter((name) => scope.node === null || name === scope.node)
  if (scope.node !== null && nodeNames.length === 0) throw new Error(`there is no node ${scope.node}`)
  if (scope.namespace !== null && !namesIn(namespaces.items).includes(scope.namespace)) {
    throw new Error(`there is no namespace ${scope.namespace}`)
  }
  const joined = joinedPods(pods.items as readonly Pod[], namespaces.items)
  return { joined, answers: await eachOf(nodeNames, (node) => askAgent(client, node, answerWithinMs)) }
}

function podsPath({ namespace }: Scope): string {
  return namespace === null ? '/api/v1/pods' : `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`
}

function namesIn(items: readonly { readonly metadata: Metadata }[]): string[] {
  return items.map(({ metadata }) => metadata.name)
}

/** Its agent knows what is sandboxed, and what policies ask of it. */
const RULES = { sandboxed: [], isStrict: false }

function joinedPods(pods: readonly Pod[], namespaces: readonly { readonly metadata: Metadata }[]): Workload[] {
  const byName = new Map(namespaces.map(({ metadata }) => [metadata.name, metadata]))
  return pods
    .filter((pod) => !hasEnded(pod))
    .map((pod) => localWorkload(pod, byName.get(pod.metadata.namespace ?? ''), RULES))
    .filter(({ joined }) => joined)
}

/** Works on all items, a bounded number at once; results in the items' order. */
async function eachOf<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  const left = items.entries()
  const lane = async (): Promise<void> => {
    for (const [at, item] of left) results[at] = await work(item) // all lanes draw from one iterator
  }
  await Promise.all(Array.from({ length: ASKED_AT_ONCE }, lane))
  return results
}

/** One node's answer. Throws only where the API server does not let us ask: that says nothing of the agent. */
async function askAgent(client: KubeClient, node: string, withinMs: number): Promise<Answer> {
  const path = `/api/v1/nodes/http:${encodeURIComponent(node)}:${AGENT_PORT}/proxy/status`
  try {
    const status = await client.get(path, withinMs)
    if (!isAgentStatus(status)) return { node, silent: `what answers on its port ${AGENT_PORT} is no agent we know` }
    if (status.node !== node) return { node, silent: `the agent there serves another node, ${status.node}` }
    return { node, status }
  } catch (error) {
    if (!(error instanceof KubeError)) throw error
    const { status, message } = error
    if (status === 401 || status === 403) throw new Error(`cannot ask the agents (get nodes/proxy): ${message}`)
    if (/^HTTP \d+$/.test(message)) return { node, silent: `its port ${AGENT_PORT} answers ${message}` }
    return { node, silent: status === 0 ? message.replace(/^GET \S+: /, '') : message }
  }
}

const STATES = {
  agent: ['ready', 'starting', 'degraded'] satisfies AgentStatus['state'][] as string[],
  pod: ['captured', 'pending', 'leaving', 'uncaptured'] satisfies AgentStatus['pods'][number]['state'][] as string[],
}

/** Whether a document is a status: it comes from another machine, perhaps of another version. */
function isAgentStatus(value: unknown): value is AgentStatus {
  const isText = (one: unknown): one is string => typeof one === 'string'
  const isTexts = (list: unknown): boolean => Array.isArray(list) && list.every(isText)
  const isPod = (pod: Partial<Record<string, unknown>> | null): boolean =>
    [pod?.['namespace'], pod?.['name'], pod?.['uid']].every(isText) &&
    isTexts(pod?.['ips']) &&
    STATES.pod.includes(String(pod?.['state'])) &&
    (pod?.['reason'] === null || isText(pod?.['reason'])) &&
    ['open', 'closed'].includes(String(pod?.['onLoss'])) &&
    typeof pod?.['olderConnections'] === 'number'
  const status = value as Partial<Record<string, unknown>> | null
  const pods = status?.['pods']
  return (
    [status?.['node'], status?.['agent'], status?.['version']].every(isText) &&
    STATES.agent.includes(String(status?.['state'])) &&
    isTexts(status?.['reasons']) &&
    Array.isArray(pods) &&
    pods.every(isPod)
  )
}
