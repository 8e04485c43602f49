// Asks the cluster for its nodes and joined pods, and each node's agent how it stands.

import type { Metadata, Pod } from '../kube/object.ts'
import { hasEnded, localWorkload } from '../kube/workload.ts'
import type { Workload } from '../model/workload.ts'
import type { AgentStatus } from '../telemetry/status.ts'
import type { Answer, Seen } from './mesh-status.ts'
import { askAgent, type Reach } from './reach.ts'

/** Nodes that are asked at once. */
const ASKED_AT_ONCE = 8

/** What is looked at; null is all. */
export interface Scope {
  readonly namespace: string | null
  readonly node: string | null
}

/**
 * Reads all that the status is made of; `withinMs` is for each agent. Throws where the cluster or an agent refuses, or the
 * cluster does not answer, or does not have the scope.
 */
export async function askMesh(reach: Reach, scope: Scope, withinMs?: number): Promise<Seen> {
  const { client } = reach
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
  return { joined, answers: await eachOf(nodeNames, (node) => statusOf(reach, node, withinMs)) }
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

/** One node's answer. Throws as askAgent does. */
async function statusOf(reach: Reach, node: string, withinMs?: number): Promise<Answer> {
  const told = await askAgent(reach, node, '/status', withinMs)
  if ('silent' in told) return { node, silent: told.silent }
  const status = parsed(told.body)
  if (!isAgentStatus(status)) return { node, silent: 'what answers on its port is no agent we know' }
  if (status.node !== node) return { node, silent: `the agent there serves another node, ${status.node}` }
  return { node, status }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
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
