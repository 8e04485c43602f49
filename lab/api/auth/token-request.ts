// POST /api/v1/namespaces/NAMESPACE/serviceaccounts/NAME/token: a token for a service account, bound to a pod on demand.
// Source: Kubernetes API reference authentication.k8s.io/v1 TokenRequest; KEP-1205, KEP-4193.
import { found } from '../http/read.ts'
import { isRecord, timestamp } from '../object.ts'
import { badRequest, conflict, invalid, notFound } from '../status.ts'
import { ISSUER } from './tokens.ts'
import type { Exchange } from '../http/exchange.ts'
import type { Place } from '../http/path.ts'
import type { KubeObject } from '../object.ts'
import type { Fault, Named } from '../status.ts'
import type { Store } from '../store.ts'
import type { Binding, Tokens } from './tokens.ts'

const GROUP = 'authentication.k8s.io'
const API_VERSION = `${GROUP}/v1`
const REQUEST: Named = { group: GROUP, plural: 'tokenrequests', kind: 'TokenRequest' }
const POD: Named = { group: '', plural: 'pods', kind: 'Pod' }
const DEFAULT_SECONDS = 3_600
const SHORTEST_SECONDS = 600
const LONGEST_SECONDS = 2 ** 32

export async function requestToken(
  exchange: Exchange,
  place: Place,
  { store, tokens }: { readonly store: Store; readonly tokens: Tokens },
): Promise<void> {
  const body = (await exchange.json()) ?? {}
  if (!isRecord(body)) throw badRequest('the body is not a TokenRequest')
  if ((body['apiVersion'] ?? API_VERSION) !== API_VERSION || (body['kind'] ?? REQUEST.kind) !== REQUEST.kind) {
    throw badRequest(`the body is ${body['kind']} of ${body['apiVersion']}, not a TokenRequest of ${API_VERSION}`)
  }
  const { metadata } = found(store, place)
  checkMetadata(body['metadata'], metadata)
  const sent = isRecord(body['spec']) ? body['spec'] : {}
  const spec = {
    audiences: Array.isArray(sent['audiences']) && sent['audiences'].length > 0 ? sent['audiences'] : [ISSUER],
    expirationSeconds: sent['expirationSeconds'] ?? DEFAULT_SECONDS,
    boundObjectRef: sent['boundObjectRef'] ?? null,
  }
  const faults = faultsOf(spec)
  if (faults.length > 0) throw invalid(REQUEST, '', faults)
  const { namespace = '', name, uid } = metadata
  const { dryRun, writer } = exchange
  const object = { apiVersion: API_VERSION, kind: REQUEST.kind, metadata: { name, namespace }, spec }
  const { type, version } = place
  const below = { type, version, namespace, name, subresource: 'token' }
  store.admit({ operation: 'CREATE', ...below, object, oldObject: null, writer, dryRun })
  const binding = { namespace, serviceaccount: { name, uid }, ...boundTo(spec.boundObjectRef, metadata, store) }
  const { token, claims } = tokens.issue({ ...spec, binding })
  exchange.sendJson(201, {
    kind: REQUEST.kind,
    apiVersion: API_VERSION,
    metadata: { name, namespace, creationTimestamp: timestamp(new Date(claims.iat * 1000)) },
    spec,
    status: { token, expirationTimestamp: timestamp(new Date(claims.exp * 1000)) },
  })
}

function checkMetadata(sent: unknown, { namespace, name }: KubeObject['metadata']): void {
  if (!isRecord(sent)) return
  const faults: Fault[] = []
  for (const [field, own] of Object.entries({ name, namespace })) {
    if (!sent[field] || sent[field] === own) continue
    const text = `must match the service account ${field} if specified`
    faults.push({ kind: 'invalid', field: `metadata.${field}`, shown: sent[field], text })
  }
  if (faults.length > 0) throw invalid(REQUEST, name, faults)
}

function faultsOf({ audiences, expirationSeconds }: { audiences: unknown[]; expirationSeconds: unknown }): Fault[] {
  const faults: Fault[] = []
  for (const [at, audience] of audiences.entries()) {
    if (typeof audience === 'string' && audience !== '') continue
    faults.push({
      kind: 'invalid',
      field: `spec.audiences[${at}]`,
      shown: audience,
      text: 'must be a non-empty string',
    })
  }
  const field = 'spec.expirationSeconds'
  const wrong = (text: string): void => void faults.push({ kind: 'invalid', field, shown: expirationSeconds, text })
  if (!Number.isInteger(expirationSeconds)) wrong('must be a whole number')
  else if (Number(expirationSeconds) < SHORTEST_SECONDS) wrong('may not specify a duration less than 10 minutes')
  else if (Number(expirationSeconds) > LONGEST_SECONDS) wrong('may not specify a duration larger than 2^32 seconds')
  return faults
}

/** The pod a reference names, and its node. Throws 404, 400 for a pod of another account, 409 for one made anew. */
function boundTo(
  reference: unknown,
  account: KubeObject['metadata'],
  store: Store,
): Pick<Binding, 'pod' | 'node'> | undefined {
  if (reference === null) return undefined
  if (!isRecord(reference)) throw badRequest('spec.boundObjectRef is not an object')
  const { apiVersion = 'v1', kind, name, uid: wanted } = reference
  if (kind !== 'Pod' || apiVersion !== 'v1') {
    throw badRequest(`cannot bind token to object of type ${apiVersion}, Kind=${kind}: this API binds to pods`)
  }
  const pod = store.get('pods', account.namespace ?? '', String(name ?? ''))
  if (!pod) throw notFound(POD, String(name ?? ''))
  if (pod.spec.serviceAccountName !== account.name) {
    const why = 'to pod running with different serviceaccount name.'
    throw badRequest(`cannot bind token for serviceaccount ${JSON.stringify(account.name)} ${why}`)
  }
  const { uid } = pod.metadata
  if (wanted && wanted !== uid) {
    const why =
      `the UID in the bound object reference (${wanted}) does not match the UID in record. ` +
      'The object might have been deleted and then recreated'
    throw conflict(POD, pod.metadata.name, why)
  }
  const { nodeName } = pod.spec
  const nodeUid = nodeName ? store.get('nodes', null, nodeName)?.metadata.uid : undefined
  const node = { name: nodeName, ...(nodeUid === undefined ? {} : { uid: nodeUid }) }
  return { pod: { name: pod.metadata.name, uid }, ...(nodeName ? { node } : {}) }
}
