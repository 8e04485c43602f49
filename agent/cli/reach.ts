// Asks agents for their pages: over the API server's port-forward to an agent's pod, with the token of whoever asks. What an
// agent does not tell everybody it tells by this alone.

import http from 'node:http'
import type { Duplex } from 'node:stream'
import { AGENT_SETTINGS } from '../config.ts'
import { ACCESS_GROUP } from '../kube/access-reviews.ts'
import { AGENTS_SERVICE } from '../kube/agent-list.ts'
import { KubeError } from '../kube/client.ts'
import type { EndpointSlice } from '../kube/object.ts'
import type { UserClient } from '../kube/user-client.ts'

/** How long an agent may take for a page, the way to it included. */
const ANSWER_WITHIN_MS = 10_000
const ANSWER_LIMIT_BYTES = 256 * 1024 * 1024
/** Of an answer that is none of a page, so much is told. */
const WORDS_LIMIT = 300
const AGENT_PORT = AGENT_SETTINGS['admin-port'].default

/** The way to the agents of a cluster. */
export interface Reach {
  readonly client: UserClient
  /** Of Weft itself. */
  readonly namespace: string
  /** The agents' pods by their node. */
  readonly pods: ReadonlyMap<string, string>
  readonly token: string
}

/** A page, or why an agent does not answer with one. */
export type Told = { readonly body: string } | { readonly silent: string }

/**
 * Finds the agents, by the endpoints of their Service in Weft's own `namespace`. `token` is shown to them, by default the
 * one of the kubeconfig. Throws where the cluster does not answer or refuses, and where there is no token.
 */
export async function openReach(
  client: UserClient,
  { namespace, token: given }: { readonly namespace: string; readonly token: string | null },
): Promise<Reach> {
  const token = given ?? (await client.bearer())
  if (token === null) {
    // a client certificate proves who somebody is to the API server alone
    throw new Error('the kubeconfig has no token that an agent could be shown: give one, as by `kubectl create token`')
  }
  const path = `/apis/discovery.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/endpointslices`
  const query = { labelSelector: `kubernetes.io/service-name=${AGENTS_SERVICE}` }
  const { items } = await client.list(path, query, false)
  return { client, namespace, token, pods: podsByNode(items) }
}

/** Of several on a node, one that is ready: both lead to whichever listens there. */
function podsByNode(slices: readonly EndpointSlice[]): ReadonlyMap<string, string> {
  const ends = slices.flatMap(({ endpoints = [] }) => endpoints)
  const isReady = ({ conditions }: (typeof ends)[number]): boolean => conditions?.ready ?? true
  const inOrder = [...ends.filter((end) => !isReady(end)), ...ends.filter(isReady)] // the last one counts
  const pods = inOrder.flatMap(({ nodeName, targetRef }): [string, string][] =>
    nodeName !== undefined && targetRef?.kind === 'Pod' && targetRef.name !== undefined
      ? [[nodeName, targetRef.name]]
      : [],
  )
  return new Map(pods)
}

/**
 * Asks the agent of a node for a page, a path with its query. Throws only where whoever asks is not let in, by the API
 * server or by the agent: that says nothing of the agent.
 */
export async function askAgent(
  reach: Reach,
  node: string,
  path: string,
  withinMs: number = ANSWER_WITHIN_MS,
): Promise<Told> {
  const pod = reach.pods.get(node)
  if (pod === undefined) return { silent: `no pod of an agent is on it (Service ${reach.namespace}/${AGENTS_SERVICE})` }
  const signal = AbortSignal.timeout(withinMs)
  let answer: Answer
  try {
    answer = await answerOf(reach, { pod, path, signal })
  } catch (error) {
    if (signal.aborted) return { silent: `no answer within ${withinMs} ms` }
    const { message } = error as Error
    if (error instanceof KubeError && (error.status === 401 || error.status === 403)) {
      throw new Error(`cannot reach the agents (get and create pods/portforward): ${message}`)
    }
    return { silent: message }
  }
  const { status, body } = answer
  if (status === 200) return { body }
  const words = body.trim().slice(0, WORDS_LIMIT)
  if (status === 401 || status === 403) throw new Error(`the agent refuses (get agents of ${ACCESS_GROUP}): ${words}`)
  return { silent: `its port ${AGENT_PORT} answers HTTP ${status}${words === '' ? '' : `: ${words}`}` }
}

interface Answer {
  readonly status: number
  readonly body: string
}

interface Question {
  readonly pod: string
  readonly path: string
  readonly signal: AbortSignal
}

async function answerOf(reach: Reach, { pod, path, signal }: Question): Promise<Answer> {
  const { client, namespace, token } = reach
  const stream = await client.forward({ namespace, pod, port: AGENT_PORT }, signal)
  try {
    return await getOver(stream, path, { host: 'localhost', accept: '*/*', authorization: `Bearer ${token}` })
  } finally {
    stream.destroy()
  }
}

async function getOver(stream: Duplex, path: string, headers: http.OutgoingHttpHeaders): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>()
  http.get({ path, headers, createConnection: () => stream }, resolve).on('error', reject)
  const response = await promise
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > ANSWER_LIMIT_BYTES) throw new Error(`its answer exceeds ${ANSWER_LIMIT_BYTES} bytes`)
    chunks.push(chunk)
  }
  return { status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }
}
