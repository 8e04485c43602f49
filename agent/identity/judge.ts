// Whether a request for a certificate is granted: what the API server says of who asks, against what runs where. Pure.

import { readSpiffeUri, type SpiffeId, spiffeUri } from '../model/spiffe.ts'
import type { CertificateRequest } from './request.ts'

/** The longest that a certificate may last. */
export const LONGEST_SECONDS = 24 * 3600
const USAGES: ReadonlySet<string> = new Set(['digital signature', 'key encipherment', 'client auth', 'server auth'])
// keys of a service account token's claims, as the API server adds them to who asks (KEP-1205, KEP-4193)
const NODE_NAME = 'authentication.kubernetes.io/node-name'
const POD_NAME = 'authentication.kubernetes.io/pod-name'
const POD_UID = 'authentication.kubernetes.io/pod-uid'

/** certificates.k8s.io/v1 CertificateSigningRequest, its spec. All but the request and what is asked of it is the server's word. */
export interface SigningRequest {
  readonly username: string
  readonly extra: Readonly<Record<string, readonly string[]>>
  readonly request: CertificateRequest
  readonly usages: readonly string[]
  readonly expirationSeconds: number | null
}

/** A pod, as far as it bears on identities. */
export interface RunningPod {
  readonly uid: string
  readonly name: string
  readonly namespace: string
  readonly serviceAccount: string
  /** Null while it is not scheduled. */
  readonly node: string | null
  /** Whether it has ended: its phase is Succeeded or Failed. */
  readonly terminal: boolean
}

/** What is known of the cluster. */
export interface Facts {
  readonly trustDomain: string
  /** `system:serviceaccount:NAMESPACE:NAME` of the agents. */
  readonly agentUsername: string
  readonly pods: Iterable<RunningPod>
}

/**
 * Granted, or denied and why. `notYet`: pods that are not known may change that. Who judges may hear of a pod later than
 * its agent does.
 */
export type Judgement = { readonly uri: string } | Denial

interface Denial {
  readonly denied: string
  readonly notYet: boolean
}

/**
 * Judges a request. An agent may ask for the accounts of pods on its node, and which node that is its token says. Whoever
 * else asks may ask for the identity of the very pod that its token is bound to.
 */
export function judge(asked: SigningRequest, facts: Facts): Judgement {
  const id = readSpiffeUri(asked.request.uris[0] ?? '')
  const wrong = fault(asked, id, facts.trustDomain)
  if (wrong !== null || id === null) return { denied: wrong ?? 'it names no identity', notYet: false }
  const why = asked.username === facts.agentUsername ? ofNode(asked, facts, id) : ofOwnPod(asked, facts, id)
  return why ?? { uri: spiffeUri(id) }
}

/** What is wrong with what is asked, whoever asks; or null. */
function fault(
  { request, usages, expirationSeconds }: SigningRequest,
  id: SpiffeId | null,
  domain: string,
): string | null {
  const { uris } = request
  if (uris.length !== 1) return `it names ${uris.length} URIs, not one`
  if (request.otherNames > 0) return 'it has names that are no URIs'
  if (request.isAuthority) return 'it asks for an authority’s certificate'
  if (request.hasSubject) return 'it has a subject'
  const wrong = usages.find((usage) => !USAGES.has(usage))
  if (wrong !== undefined) return `usage ${JSON.stringify(wrong)} is not granted`
  if (expirationSeconds !== null && expirationSeconds > LONGEST_SECONDS) {
    return `it asks for ${expirationSeconds} seconds, and ${LONGEST_SECONDS} is the most`
  }
  return id?.trustDomain === domain ? null : `${uris[0]} is no identity of trust domain ${domain}`
}

interface Account {
  readonly namespace: string
  readonly serviceAccount: string
}

/** Why an agent may not have this identity, or null. */
function ofNode(asked: SigningRequest, facts: Facts, id: Account): Denial | null {
  const pods = [...facts.pods]
  const bound = boundPod(asked, pods)
  const node = only(asked.extra[NODE_NAME]) ?? bound.pod?.node ?? null
  if (node === null) return { denied: 'the token of the agent does not say which node it is on', notYet: bound.notYet }
  const isThere = pods.some((pod) => pod.node === node && !pod.terminal && isOf(pod, id))
  return isThere
    ? null
    : { denied: `no pod on node ${node} runs as ${id.namespace}/${id.serviceAccount}`, notYet: true }
}

/** Why a pod may not have this identity, or null. */
function ofOwnPod(asked: SigningRequest, facts: Facts, id: Account): Denial | null {
  const { pod, notYet } = boundPod(asked, facts.pods)
  if (pod === null)
    return { denied: `${asked.username} is no agent, and its token is bound to no pod that runs`, notYet }
  if (isOf(pod, id)) return null
  return { denied: `${pod.namespace}/${pod.name} runs as ${pod.serviceAccount} of its own namespace`, notYet: false }
}

/**
 * The pod that the token is bound to, if it is there, has not ended, and is the account's that asks; null, and whether it
 * may be one that is not known yet, or not to be on its node.
 */
function boundPod(
  { username, extra }: SigningRequest,
  pods: Iterable<RunningPod>,
): { readonly pod: RunningPod | null; readonly notYet: boolean } {
  const [name, uid] = [only(extra[POD_NAME]), only(extra[POD_UID])]
  if (name === null || uid === null) return { pod: null, notYet: false }
  const known = [...pods].find((pod) => pod.uid === uid)
  if (known === undefined) return { pod: null, notYet: true }
  const isIts =
    known.name === name &&
    !known.terminal &&
    username === `system:serviceaccount:${known.namespace}:${known.serviceAccount}`
  return isIts ? { pod: known, notYet: known.node === null } : { pod: null, notYet: false }
}

function isOf(pod: RunningPod, { namespace, serviceAccount }: Account): boolean {
  return pod.namespace === namespace && pod.serviceAccount === serviceAccount
}

function only(values: readonly string[] | undefined): string | null {
  return values?.length === 1 ? (values[0] as string) : null
}
