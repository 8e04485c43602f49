// Rules of certificate signing requests: what one must say, and how its conditions and its certificate may change. Pure.
// Source: Kubernetes API reference certificates.k8s.io/v1; documentation "Certificates and Certificate Signing Requests".
import { copyOf, isRecord, sameJson } from '../object.ts'
import { isSubdomain } from './metadata-rules.ts'
import type { User } from '../auth/user.ts'
import type { KubeObject, ObjectDraft } from '../object.ts'
import type { Fault } from '../status.ts'

export const CERTIFICATE_REQUESTS = 'certificatesigningrequests.certificates.k8s.io'

/** Set through /approval alone. */
const DECISIONS = ['Approved', 'Denied']
/** Once there, they stay. */
const LASTING = [...DECISIONS, 'Failed']
const SHORTEST_SECONDS = 600
const SIGNER_LIMIT = 571
// KeyUsage of the API reference.
const USAGES = [
  'signing',
  'digital signature',
  'content commitment',
  'key encipherment',
  'key agreement',
  'data encipherment',
  'cert sign',
  'crl sign',
  'encipher only',
  'decipher only',
  'any',
  'server auth',
  'client auth',
  'code signing',
  'email protection',
  's/mime',
  'ipsec end system',
  'ipsec tunnel',
  'ipsec user',
  'timestamping',
  'ocsp signing',
  'microsoft sgc',
  'netscape sgc',
]

/** A new request in the name of who sends it, whatever it says itself. */
export function requestedBy(draft: ObjectDraft, { username, uid, groups, extra }: User): ObjectDraft {
  const { username: _name, uid: _uid, groups: _groups, extra: _extra, ...spec } = isRecord(draft.spec) ? draft.spec : {}
  const user = { username, ...(uid === undefined ? {} : { uid }), groups, ...(extra === undefined ? {} : { extra }) }
  return { ...draft, spec: copyOf({ ...spec, ...user }) }
}

/** What is wrong with a request, on its own and beside what it was. */
export function certificateFaults(object: KubeObject, previous: KubeObject | null): Fault[] {
  const { spec, status } = object
  if (!isRecord(spec)) return [{ kind: 'required', field: 'spec' }]
  const faults = [...requestFaults(spec), ...conditionFaults(status?.conditions)]
  for (const type of LASTING) {
    if (ofType(object, type).length >= (previous ? ofType(previous, type).length : 0)) continue
    faults.push(notAllowed('conditions', `updates may not remove a condition of type "${type}"`))
  }
  if (status?.certificate && pemOf(status.certificate, 'CERTIFICATE') === undefined) {
    const text = 'expected PEM blocks of type CERTIFICATE'
    faults.push({ kind: 'invalid', field: 'status.certificate', shown: '<certificate data>', text })
  }
  return faults
}

/** What a signer may not do: decide for the approver, or take back what it signed. */
export function signingFaults(object: KubeObject, previous: KubeObject): Fault[] {
  const faults: Fault[] = []
  for (const type of DECISIONS) {
    const [now, before] = [ofType(object, type), ofType(previous, type)]
    if (now.length > before.length) {
      faults.push(notAllowed('conditions', `updates may not add a condition of type "${type}"`))
    } else if (now.length === before.length && !sameJson(now, before)) {
      faults.push(notAllowed('conditions', `updates may not modify a condition of type "${type}"`))
    }
  }
  const before = previous.status?.certificate
  if (before && object.status?.certificate !== before) {
    faults.push(notAllowed('certificate', 'updates may not modify existing certificate content'))
  }
  return faults
}

/** Conditions with the times that a client left out: of the same condition before, or now. */
export function timedConditions(conditions: unknown, previous: KubeObject, now: string): unknown {
  if (!Array.isArray(conditions)) return conditions
  return conditions.map((condition: unknown) => {
    if (!isRecord(condition)) return condition
    const before = ofType(previous, condition['type']).find(({ status }) => status === condition['status'])
    return {
      ...condition,
      lastUpdateTime: condition['lastUpdateTime'] ?? now,
      lastTransitionTime: condition['lastTransitionTime'] ?? before?.['lastTransitionTime'] ?? now,
    }
  })
}

function requestFaults({ request, signerName, usages, expirationSeconds }: Record<string, unknown>): Fault[] {
  const faults: Fault[] = [...signerFaults(signerName)]
  if (!request) faults.push({ kind: 'required', field: 'spec.request' })
  else if (pemOf(request, 'CERTIFICATE REQUEST') === undefined) {
    const text = 'PEM block type must be CERTIFICATE REQUEST'
    faults.push({ kind: 'invalid', field: 'spec.request', shown: request, text })
  }
  const list: unknown[] = Array.isArray(usages) ? usages : []
  if (list.length === 0) faults.push({ kind: 'required', field: 'spec.usages' })
  for (const [at, usage] of list.entries()) {
    const field = `spec.usages[${at}]`
    if (!USAGES.some((each) => each === usage)) {
      const text = `supported values: ${USAGES.map((each) => JSON.stringify(each)).join(', ')}`
      faults.push({ kind: 'unsupported', field, shown: usage, text })
    } else if (list.indexOf(usage) < at) faults.push({ kind: 'duplicate', field, shown: usage })
  }
  if (expirationSeconds !== undefined && expirationSeconds !== null) {
    const isLong = Number.isInteger(expirationSeconds) && Number(expirationSeconds) >= SHORTEST_SECONDS
    const text = 'may not specify a duration less than 600 seconds (10 minutes)'
    if (!isLong) faults.push({ kind: 'invalid', field: 'spec.expirationSeconds', shown: expirationSeconds, text })
  }
  return faults
}

function signerFaults(name: unknown): Fault[] {
  const field = 'spec.signerName'
  if (!name) return [{ kind: 'required', field }]
  const [domain, path, ...rest] = typeof name === 'string' && name.length <= SIGNER_LIMIT ? name.split('/') : []
  const isSound = isSubdomain(domain) && isSubdomain(path) && rest.length === 0
  if (!isSound) {
    const text = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
    return [{ kind: 'invalid', field, shown: name, text }]
  }
  if (domain!.includes('.')) return []
  return [
    { kind: 'invalid', field, shown: name, text: 'should be a domain with at least two segments separated by dots' },
  ]
}

function conditionFaults(conditions: unknown): Fault[] {
  const field = 'status.conditions'
  if (conditions === undefined || conditions === null) return []
  if (!Array.isArray(conditions)) return [{ kind: 'invalid', field, shown: conditions, text: 'must be a list' }]
  const faults: Fault[] = []
  const seen = new Set<unknown>()
  for (const [at, condition] of conditions.entries()) {
    const path = `${field}[${at}]`
    const { type, status } = isRecord(condition) ? condition : {}
    if (!type) faults.push({ kind: 'required', field: `${path}.type` })
    else if (seen.has(type)) faults.push({ kind: 'duplicate', field: `${path}.type`, shown: type })
    if (DECISIONS.includes(type) && DECISIONS.some((other) => other !== type && seen.has(other))) {
      const text = 'Approved and Denied conditions are mutually exclusive'
      faults.push({ kind: 'invalid', field: `${path}.type`, shown: type, text })
    }
    seen.add(type)
    const allowed = LASTING.includes(type) ? ['True'] : ['True', 'False', 'Unknown']
    if (!status) faults.push({ kind: 'required', field: `${path}.status` })
    else if (!allowed.includes(status)) {
      const text = `supported values: ${allowed.map((each) => JSON.stringify(each)).join(', ')}`
      faults.push({ kind: 'unsupported', field: `${path}.status`, shown: status, text })
    }
  }
  return faults
}

/** The text of a PEM file in base64 whose first block is of this type. */
function pemOf(data: unknown, label: string): string | undefined {
  if (typeof data !== 'string' || !/^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(data)) return undefined
  const text = Buffer.from(data, 'base64').toString('latin1')
  const [, type] = /-----BEGIN ([A-Z0-9 ]+)-----\r?\n/.exec(text) ?? []
  return type === label && text.includes(`-----END ${label}-----`) ? text : undefined
}

function ofType({ status }: KubeObject, type: unknown): Record<string, unknown>[] {
  const conditions: unknown = status?.conditions
  return (Array.isArray(conditions) ? conditions : []).filter((each) => isRecord(each) && each['type'] === type)
}

function notAllowed(member: string, text: string): Fault {
  return { kind: 'forbidden', field: `status.${member}`, text }
}
