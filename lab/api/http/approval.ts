// The two subresources that share a CertificateSigningRequest's status: /approval, and /status with the certificate.
// Source: Kubernetes documentation "Certificates and Certificate Signing Requests", certificates.k8s.io/v1.
import { SIGNING_REQUESTS } from '../admit/signing-request-rules.ts'
import { isRecord, type KubeObject } from '../object.ts'
import { forbidden, invalid } from '../status.ts'
import { found, sendObject } from './read.ts'
import { wanted } from './write.ts'
import type { Exchange } from './exchange.ts'
import type { Place } from './path.ts'
import type { Store } from '../store.ts'

/** Conditions that /approval alone sets. */
const APPROVALS: readonly unknown[] = ['Approved', 'Denied']

interface Condition extends Record<string, unknown> {
  readonly type?: unknown
}

/** PUT and PATCH of /approval and /status. */
export async function writeStatus(exchange: Exchange, place: Place, store: Store): Promise<void> {
  const current = found(store, place)
  if (exchange.method === 'GET') return sendObject(exchange, place, 200, current)
  const given = await wanted(exchange, place, current)
  const sent = isRecord(given) ? given : {}
  const status = isRecord(sent['status']) ? sent['status'] : {}
  const merged = place.subresource === 'approval' ? approved(place, current, status) : signed(current, status)
  const version: unknown = isRecord(sent['metadata']) ? sent['metadata']['resourceVersion'] : undefined
  const metadata = { ...current.metadata, ...(typeof version === 'string' ? { resourceVersion: version } : {}) }
  const options = { dryRun: exchange.dryRun, subresource: 'status' } as const
  sendObject(exchange, place, 200, store.update(SIGNING_REQUESTS, { ...current, metadata, status: merged }, options))
}

function approved(
  place: Place,
  { metadata, status }: KubeObject,
  sent: Record<string, unknown>,
): Record<string, unknown> {
  const [before, after] = [conditionsOf(status), conditionsOf(sent)]
  const types = after.map(({ type }) => type).filter((type) => APPROVALS.includes(type))
  if (new Set(types).size > 1) {
    const text = 'Approved and Denied conditions are mutually exclusive'
    throw invalid(place.type, metadata.name, [{ kind: 'invalid', field: 'status.conditions', shown: types, text }])
  }
  const lost = before.find(({ type }) => APPROVALS.includes(type) && !types.includes(type))
  if (lost)
    throw forbidden(place.type, metadata.name, `updates may not remove a condition of type ${String(lost.type)}`)
  return { ...(isRecord(status) ? status : {}), conditions: after }
}

/** Approvals stay as they are. */
function signed({ status }: KubeObject, sent: Record<string, unknown>): Record<string, unknown> {
  const isApproval = ({ type }: Condition): boolean => APPROVALS.includes(type)
  const others = conditionsOf(sent).filter((each) => !isApproval(each))
  return { ...sent, conditions: [...conditionsOf(status).filter(isApproval), ...others] }
}

function conditionsOf(status: unknown): readonly Condition[] {
  const conditions = isRecord(status) ? status['conditions'] : undefined
  return Array.isArray(conditions) ? conditions.filter(isRecord) : []
}
