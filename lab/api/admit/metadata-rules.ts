// Rules of names, labels and annotations, the same for every kind. Pure.
// Source: Kubernetes documentation "Object Names and IDs", "Labels and Selectors", "Annotations".
import { isRecord } from '../object.ts'
import type { KubeObject } from '../object.ts'
import type { ResourceType } from '../resources.ts'
import type { Fault } from '../status.ts'

const LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?'
export const DNS_LABEL = new RegExp(`^${LABEL}$`)
const DNS_SUBDOMAIN = new RegExp(`^${LABEL}(\\.${LABEL})*$`)
const DNS_1035 = /^[a-z]([-a-z0-9]*[a-z0-9])?$/
const QUALIFIED = /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/
export const NAME_LIMIT = 253
export const LABEL_LIMIT = 63
const ANNOTATIONS_LIMIT_BYTES = 256 * 1024

export const LABEL_TEXT =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an " +
  "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
export const SUBDOMAIN_TEXT =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end " +
  "with an alphanumeric character (e.g. 'example.com', regex used for validation is " +
  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
const DNS_1035_TEXT =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and " +
  "end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is " +
  "'[a-z]([-a-z0-9]*[a-z0-9])?')"

/** Whether a value is a DNS subdomain (RFC 1123), as most names of objects are. */
export function isSubdomain(value: unknown): boolean {
  return typeof value === 'string' && value.length <= NAME_LIMIT && DNS_SUBDOMAIN.test(value)
}

/** What is wrong with the name of a new object; an old one keeps its name. */
export function nameFaults(type: ResourceType, { metadata }: KubeObject, previous: KubeObject | null): Fault[] {
  const { name } = metadata
  const fault = (text: string): Fault[] => [{ kind: 'invalid', field: 'metadata.name', shown: name, text }]
  if (previous !== null) return []
  if (typeof name !== 'string') return fault('must be a string')
  if (type.key === 'services') {
    return name.length <= LABEL_LIMIT && DNS_1035.test(name) ? [] : fault(DNS_1035_TEXT)
  }
  if (type.key === 'namespaces') return name.length <= LABEL_LIMIT && DNS_LABEL.test(name) ? [] : fault(LABEL_TEXT)
  // Roles are named like 'system:node'.
  if (type.group === 'rbac.authorization.k8s.io') {
    const isSegment = name !== '' && name !== '.' && name !== '..' && !/[/%]/.test(name)
    return isSegment ? [] : fault("may not be '.' or '..' or contain '/' or '%'")
  }
  return isSubdomain(name) ? [] : fault(SUBDOMAIN_TEXT)
}

/** What is wrong with labels, annotations, owners and finalizers. */
export function metadataFaults({ metadata }: KubeObject): Fault[] {
  const faults = [...labelFaults(metadata.labels, 'metadata.labels'), ...ownerFaults(metadata.ownerReferences)]
  const finalizers: unknown = metadata.finalizers ?? []
  if (!Array.isArray(finalizers) || finalizers.some((each) => typeof each !== 'string')) {
    faults.push({ kind: 'invalid', field: 'metadata.finalizers', shown: finalizers, text: 'must be a list of strings' })
  }
  const annotations = metadata.annotations ?? {}
  let bytes = 0
  for (const [key, value] of Object.entries(annotations)) {
    if (!isQualified(key))
      faults.push({ kind: 'invalid', field: 'metadata.annotations', shown: key, text: QUALIFIED_TEXT })
    if (typeof value !== 'string') faults.push(notText(`metadata.annotations[${key}]`, value))
    else bytes += Buffer.byteLength(key) + Buffer.byteLength(value)
  }
  if (bytes > ANNOTATIONS_LIMIT_BYTES) {
    const text = `must have at most ${ANNOTATIONS_LIMIT_BYTES} bytes`
    faults.push({ kind: 'too long', field: 'metadata.annotations', text })
  }
  return faults
}

function ownerFaults(owners: unknown): Fault[] {
  const field = 'metadata.ownerReferences'
  if (owners === undefined) return []
  if (!Array.isArray(owners)) return [{ kind: 'invalid', field, shown: owners, text: 'must be a list' }]
  return owners.flatMap((owner, at): Fault[] =>
    ['apiVersion', 'kind', 'name', 'uid']
      .filter((name) => !isRecord(owner) || typeof owner[name] !== 'string' || owner[name] === '')
      .map((name) => ({ kind: 'required', field: `${field}[${at}].${name}` })),
  )
}

const QUALIFIED_TEXT =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric " +
  "character (e.g. 'MyName',  or 'my.name',  or '123-abc')"

/** What is wrong with a map of labels at `field`; nothing when there is none. */
export function labelFaults(labels: unknown, field: string): Fault[] {
  if (labels === undefined) return []
  if (!isRecord(labels)) return [{ kind: 'invalid', field, shown: labels, text: 'must be an object of strings' }]
  return Object.entries(labels).flatMap(([key, value]): Fault[] => {
    if (!isQualified(key)) return [{ kind: 'invalid', field, shown: key, text: QUALIFIED_TEXT }]
    if (typeof value !== 'string') return [notText(`${field}[${key}]`, value)]
    if (value === '' || (value.length <= LABEL_LIMIT && QUALIFIED.test(value))) return []
    const text = `a valid label must be an empty string or at most 63 alphanumeric characters, '-', '_' or '.'`
    return [{ kind: 'invalid', field, shown: value, text }]
  })
}

/** The fault of a value that should be a string. */
export function notText(field: string, shown: unknown): Fault {
  return { kind: 'invalid', field, shown, text: 'must be a string' }
}

function isQualified(key: string): boolean {
  const slash = key.indexOf('/')
  const name = key.slice(slash + 1)
  const isPrefixGood = slash < 0 || (slash <= NAME_LIMIT && DNS_SUBDOMAIN.test(key.slice(0, slash).toLowerCase()))
  return isPrefixGood && name.length <= LABEL_LIMIT && QUALIFIED.test(name)
}
