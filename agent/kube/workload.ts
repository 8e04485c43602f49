// Pods and what is asked of them, as workloads.

import { canonicalIp } from '../model/address.ts'
import type { Problem } from '../model/policy.ts'
import { type CaptureTerms, PLAIN_TERMS } from '../model/terms.ts'
import type { Workload } from '../model/workload.ts'
import type { KubeObject, Metadata, Pod } from './object.ts'
import { readTerms } from './terms.ts'
import { refOf } from './translate.ts'

/** Asks for, or out of, the mesh: on a Namespace `enabled`; on a Pod `enabled` or `disabled`. Annotation or label. */
export const MESH = 'weft.dev/mesh'
/** Written on a pod by the agent that captured it; names that agent. */
export const CAPTURED = 'weft.dev/captured'
/** Written with it: the pod's addresses, which no Service need have. */
export const ADDRESSES = 'weft.dev/addresses'
/** Written beside it: the service account that callers demand of whoever answers for the pod. */
export const SERVICE_ACCOUNT = 'weft.dev/service-account'

/** What `weft.dev/mesh` says on an object; the annotation counts before the label. */
export function meshWish(metadata: Metadata): string | null {
  return metadata.annotations?.[MESH] ?? metadata.labels?.[MESH] ?? null
}

/** Of a pod of another node: which of its ports do not take the mesh's TLS, for they go past its proxy. */
function remoteTerms(pod: KubeObject, namespace: Metadata | undefined): CaptureTerms {
  const { excludeInboundPorts } = readTerms({ metadata: pod.metadata }, namespace, false).terms
  return excludeInboundPorts.length === 0 ? PLAIN_TERMS : { ...PLAIN_TERMS, excludeInboundPorts }
}

/** Addresses that an agent has announced: one, or one of each family. */
function announcedIps({ annotations }: Metadata): string[] {
  const given = annotations?.[ADDRESSES]?.split(',', ADDRESSES_MOST) ?? []
  return given.flatMap((ip) => canonicalIp(ip) ?? [])
}

const ADDRESSES_MOST = 2

/** Whether a pod joins: its own wish first, else its namespace's. */
export function isJoined(pod: Metadata, namespace: Metadata | undefined): boolean {
  const own = meshWish(pod)
  if (own !== null) return own === 'enabled'
  return namespace !== undefined && meshWish(namespace) === 'enabled'
}

/** Name of what owns a pod; a ReplicaSet's is its Deployment's (the name less the template hash). */
export function ownerOf(metadata: Metadata): string {
  const owner = metadata.ownerReferences?.find(({ controller }) => controller === true) ?? metadata.ownerReferences?.[0]
  if (owner === undefined) return metadata.name
  const hash = metadata.labels?.['pod-template-hash']
  const suffix = `-${hash}`
  const isDeployment = owner.kind === 'ReplicaSet' && hash !== undefined && owner.name.endsWith(suffix)
  return isDeployment ? owner.name.slice(0, -suffix.length) : owner.name
}

/** Whether a pod has ended for good: its address is, or will be, another's. */
export function hasEnded(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed'
}

/** Addresses of a pod, canonical: one, or with dual stack one of each family. */
export function podIps({ status }: Pod): string[] {
  const given = status?.podIPs?.map(({ ip }) => ip) ?? [status?.podIP ?? '']
  return given.flatMap((ip) => canonicalIp(ip) ?? [])
}

/** Containers of other meshes, which turn the pod's traffic themselves. */
const FOREIGN_PROXIES = ['istio-proxy', 'linkerd-proxy']

/**
 * Why a pod can never be captured, or null. A sandboxed runtime has a network stack of its own, which no program of the
 * node's kernel sees; `sandboxed` are the beginnings of such runtimes' names.
 */
export function unfitness(pod: Pod, sandboxed: readonly string[]): string | null {
  const { hostNetwork, runtimeClassName = '', containers = [], initContainers = [] } = pod.spec ?? {}
  if (hostNetwork === true) return 'hostNetwork'
  const runtime = runtimeClassName.toLowerCase()
  if (sandboxed.some((name) => runtime.startsWith(name.toLowerCase()))) {
    return `sandboxed runtimeClass ${runtimeClassName}`
  }
  const foreign = [...containers, ...initContainers].find(({ name }) => FOREIGN_PROXIES.includes(name))
  return foreign === undefined ? null : `${foreign.name} sidecar`
}

/** What bears on a pod of this node beside its own words. */
export interface LocalRules {
  /** How names of RuntimeClasses begin whose pods cannot be captured. */
  readonly sandboxed: readonly string[]
  /** Whether it refuses plaintext at one port at least. */
  readonly isStrict: boolean
}

/** A pod of this node, known whole. Its account is its spec's, whatever was announced. */
export function localWorkload(
  pod: Pod,
  namespace: Metadata | undefined,
  { sandboxed, isStrict }: LocalRules,
): Workload {
  return {
    ...remoteWorkload(pod, namespace),
    node: pod.spec?.nodeName ?? null,
    ips: podIps(pod),
    placedBy: 'spec',
    serviceAccount: pod.spec?.serviceAccountName ?? 'default',
    hostNetwork: pod.spec?.hostNetwork === true,
    unfit: unfitness(pod, sandboxed),
    terms: readTerms(pod, namespace, isStrict).terms,
    captured: pod.metadata.annotations?.[CAPTURED] ?? null,
    agentReady: true,
  }
}

/** Capabilities with which a pod can send and turn packets by itself, past every socket. */
const OVER_ITS_NETWORK = /^(CAP_)?(NET_ADMIN|SYS_ADMIN|BPF|ALL)$/i

/**
 * What a pod of this node asks for and does not get, or not as it may think; nothing of one that is not in the mesh.
 */
export function podProblems(pod: Pod, namespace: Metadata | undefined, isStrict: boolean): readonly Problem[] {
  if (!isJoined(pod.metadata, namespace)) return []
  const { terms, problems } = readTerms(pod, namespace, isStrict)
  const { containers = [], initContainers = [] } = pod.spec ?? {}
  const strong = [...containers, ...initContainers].find(
    ({ securityContext }) =>
      securityContext?.privileged === true ||
      securityContext?.capabilities?.add?.some((name) => OVER_ITS_NETWORK.test(name)),
  )
  if (terms.onLoss !== 'closed' || strong === undefined) return problems
  const reason =
    'can rewrite its own packets: what dials it is held to capture, what it sends past its sockets is not (weft.dev/on-agent-loss: closed)'
  const field = `spec.containers[${strong.name}].securityContext`
  return [...problems, { object: refOf('Pod', pod), field, reason }]
}

/**
 * A pod of another node, of which only the metadata is watched. Its addresses are those that its agent has announced, and
 * whether that agent is ready nobody has said yet. One whose account is not announced is not captured for its callers: they
 * could not say whose certificate they want.
 */
export function remoteWorkload(pod: KubeObject, namespace: Metadata | undefined): Workload {
  const { metadata } = pod
  const account = metadata.annotations?.[SERVICE_ACCOUNT] || null
  return {
    uid: metadata.uid,
    name: metadata.name,
    namespace: metadata.namespace ?? '',
    node: null,
    ips: account === null ? [] : announcedIps(metadata),
    placedBy: 'announcement',
    labels: metadata.labels ?? {},
    serviceAccount: account ?? '',
    owner: ownerOf(metadata),
    hostNetwork: false,
    unfit: null,
    terms: remoteTerms(pod, namespace),
    joined: isJoined(metadata, namespace),
    terminating: metadata.deletionTimestamp !== undefined,
    captured: account === null ? null : (metadata.annotations?.[CAPTURED] ?? null),
    agentReady: false,
    announcedAccount: account,
  }
}
