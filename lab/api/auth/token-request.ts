// The subresource by which service accounts get tokens: TokenRequest of authentication.k8s.io/v1.
import { isRecord, type KubeObject, timestamp } from '../object.ts'
import { badRequest, conflict, invalid, notFound } from '../status.ts'
import { API_AUDIENCE, type Bearer, type Reference, type Tokens } from './tokens.ts'
import type { Exchange } from '../http/exchange.ts'
import type { Store } from '../store.ts'

const REQUESTS = { plural: 'tokenrequests', group: 'authentication.k8s.io', kind: 'TokenRequest' }
const PODS = { plural: 'pods', group: '', kind: 'Pod' }
const SECONDS = 3600
const SECONDS_LEAST = 600
const SECONDS_MOST = 2 ** 32

/** Answers 201 with the token. Throws 400, 404, 409 and 422. */
export async function requestToken(exchange: Exchange, account: KubeObject, served: { store: Store; tokens: Tokens }) {
  const body = await exchange.json()
  const spec: unknown = isRecord(body) ? (body['spec'] ?? {}) : undefined
  if (!isRecord(spec)) throw badRequest('the body is not a TokenRequest')
  const { metadata } = account
  const seconds: unknown = spec['expirationSeconds'] ?? SECONDS
  if (typeof seconds !== 'number' || !Number.isInteger(seconds) || seconds < SECONDS_LEAST || seconds > SECONDS_MOST) {
    const text = `may not specify a duration less than 10 minutes or larger than 2^32 seconds`
    throw invalid(REQUESTS, metadata.name, [{ kind: 'invalid', field: 'spec.expirationSeconds', shown: seconds, text }])
  }
  const asked: unknown = spec['audiences']
  const audiences = Array.isArray(asked) && asked.length > 0 ? asked.map(String) : [API_AUDIENCE]
  const bound = spec['boundObjectRef'] ? boundTo(spec['boundObjectRef'], account, served.store) : {}
  const bearer: Bearer = { namespace: metadata.namespace ?? '', serviceaccount: referenceTo(account), ...bound }
  const now = Date.now()
  const expirationTimestamp = timestamp(new Date(now + seconds * 1000))
  exchange.sendJson(201, {
    kind: 'TokenRequest',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: { name: metadata.name, namespace: metadata.namespace },
    spec: { ...spec, audiences, expirationSeconds: seconds },
    status: { token: served.tokens.issue(bearer, audiences, { now, seconds }), expirationTimestamp },
  })
}

/** The pod that a token is to end with, and the node that it is on. */
function boundTo(asked: unknown, { metadata }: KubeObject, store: Store): Pick<Bearer, 'pod' | 'node'> {
  const { kind, name, uid } = (isRecord(asked) ? asked : {}) as Record<string, unknown>
  if (kind !== 'Pod' || typeof name !== 'string')
    throw badRequest('boundObjectRef: tokens are bound to a Pod, by its name')
  const pod = store.get('pods', metadata.namespace ?? null, name)
  if (!pod) throw notFound(PODS, name)
  if (typeof uid === 'string' && uid !== '' && uid !== pod.metadata.uid) {
    const why = `the UID in the bound object reference (${uid}) does not match the UID in record`
    throw conflict(PODS, name, why)
  }
  if ((pod.spec.serviceAccountName ?? 'default') !== metadata.name) {
    throw badRequest(
      `cannot bind token for serviceaccount ${metadata.name} to pod running with different serviceaccount name`,
    )
  }
  const node = pod.spec.nodeName ? store.get('nodes', null, pod.spec.nodeName as string) : undefined
  return { pod: referenceTo(pod), ...(node ? { node: referenceTo(node) } : {}) }
}

function referenceTo({ metadata }: KubeObject): Reference {
  return { name: metadata.name, uid: metadata.uid }
}
