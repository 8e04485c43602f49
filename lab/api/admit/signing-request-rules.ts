// What is particular to CertificateSigningRequests as they are written: the server says who asks, and it stays so.
// Source: Kubernetes documentation "Certificates and Certificate Signing Requests", certificates.k8s.io/v1.
import { isRecord, sameJson, type KubeObject, type ObjectDraft } from '../object.ts'
import type { Fault } from '../status.ts'
import type { User } from '../auth/user.ts'

export const SIGNING_REQUESTS = 'certificatesigningrequests.certificates.k8s.io'
const PEM = /-----BEGIN CERTIFICATE REQUEST-----[^]*-----END CERTIFICATE REQUEST-----/
const SECONDS_LEAST = 600

/** The draft with who asks in it, whatever it said of that. */
export function askedBy(draft: ObjectDraft, { username, uid, groups, extra }: User): ObjectDraft {
  const said: Record<string, unknown> = isRecord(draft['spec']) ? draft['spec'] : {}
  const { uid: _said, ...spec } = said
  return { ...draft, spec: { ...spec, username, groups, extra, ...(uid === undefined ? {} : { uid }) } }
}

export function signingRequestFaults({ spec }: KubeObject, previous: KubeObject | null): Fault[] {
  const faults: Fault[] = []
  if (previous && !sameJson(spec, previous.spec)) faults.push({ kind: 'immutable', field: 'spec', shown: spec })
  const { request, signerName, usages, expirationSeconds } = (spec ?? {}) as Record<string, unknown>
  const text = typeof request === 'string' ? Buffer.from(request, 'base64').toString('latin1') : ''
  if (!PEM.test(text)) {
    faults.push({
      kind: 'invalid',
      field: 'spec.request',
      shown: request,
      text: 'PEM block type must be CERTIFICATE REQUEST',
    })
  }
  if (typeof signerName !== 'string' || !/^[^/]+\/[^/]+$/.test(signerName)) {
    faults.push({ kind: 'invalid', field: 'spec.signerName', shown: signerName, text: 'must be DOMAIN/NAME' })
  }
  if (!Array.isArray(usages) || usages.length === 0) faults.push({ kind: 'required', field: 'spec.usages' })
  if (expirationSeconds !== undefined && !(Number(expirationSeconds) >= SECONDS_LEAST)) {
    const least = 'may not specify a duration less than 600 seconds (10 minutes)'
    faults.push({ kind: 'invalid', field: 'spec.expirationSeconds', shown: expirationSeconds, text: least })
  }
  return faults
}
