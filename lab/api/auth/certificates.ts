// /approval and /status of certificate signing requests: an approver decides through one, a signer answers through the other.
// Source: Kubernetes documentation "Certificates and Certificate Signing Requests".
import { CERTIFICATE_REQUESTS, certificateFaults, signingFaults, timedConditions } from '../admit/certificate-rules.ts'
import { found, get, sendObject } from '../http/read.ts'
import { checked } from '../http/body.ts'
import { wanted } from '../http/write.ts'
import { copyOf, isRecord, sameJson, timestamp } from '../object.ts'
import { forbidden, invalid } from '../status.ts'
import { rolesIn } from './access.ts'
import { mayDo } from './authorize.ts'
import type { Exchange } from '../http/exchange.ts'
import type { Place } from '../http/path.ts'
import type { KubeObject } from '../object.ts'
import type { Store } from '../store.ts'

/** Whether a place is one that `certificateSubresource` answers for. */
export function isOfCertificate({ type, subresource }: Place): boolean {
  return type.key === CERTIFICATE_REQUESTS && (subresource === 'approval' || subresource === 'status')
}

export async function certificateSubresource(exchange: Exchange, place: Place, store: Store): Promise<void> {
  if (exchange.method === 'GET') return get(exchange, place, store)
  const sent = checked(place, await wanted(exchange, place, () => found(store, place)))
  const current = found(store, place)
  const given = isRecord(sent['status']) ? copyOf(sent['status']) : {}
  const conditions = timedConditions(given['conditions'], current, timestamp(new Date()))
  const status =
    place.subresource === 'approval'
      ? { ...current.status, conditions }
      : { ...given, ...(conditions === undefined ? {} : { conditions }) }
  const next: KubeObject = copyOf({ ...current, status })
  checkSigner(exchange, place, [current, next], store)
  const faults = certificateFaults(next, current)
  if (place.subresource === 'status') faults.push(...signingFaults(next, current))
  if (faults.length > 0) throw invalid(place.type, current.metadata.name, faults)
  next.metadata.resourceVersion = sent.metadata.resourceVersion ?? current.metadata.resourceVersion
  const { dryRun, writer } = exchange
  const { type, version, subresource } = place
  const attributes = { type, version, subresource, namespace: undefined, name: current.metadata.name, writer, dryRun }
  store.admit({ operation: 'UPDATE', ...attributes, object: next, oldObject: current })
  const object = store.update(type.key, next, { dryRun, writer, subresource: 'status', isAdmitted: true })
  sendObject(exchange, place, 200, object)
}

// Whoever may write the subresource must besides be trusted with the signer: by its name, or with all of its domain.
function checkSigner({ user }: Exchange, place: Place, [before, after]: [KubeObject, KubeObject], store: Store): void {
  const verb = place.subresource === 'approval' ? 'approve' : 'sign'
  if (verb === 'sign' && sameJson(before.status, after.status)) return
  const { signerName } = before.spec as { signerName: string }
  const names = [signerName, `${signerName.split('/')[0]}/*`]
  const roles = rolesIn(store)
  const isTrusted = names.some((name) =>
    mayDo(user, { verb, group: place.type.group, resource: 'signers', name }, roles),
  )
  if (isTrusted) return
  const why = `user not permitted to ${verb} requests with signerName ${JSON.stringify(signerName)}`
  throw forbidden(place.type, before.metadata.name, why)
}
