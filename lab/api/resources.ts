// The built-in kinds, one row a kind. A row says how a kind is served and stored; what is inside it, defaults.ts and
// validate.ts say. Source: Kubernetes API reference 1.32.
import { resourceKey } from './status.ts'

/** A printer column of a CustomResourceDefinition (apiextensions.k8s.io/v1 CustomResourceColumnDefinition). */
export interface PrinterColumn {
  readonly name: string
  readonly type: string
  readonly jsonPath: string
  readonly format?: string
  readonly description?: string
  readonly priority?: number
}

export interface ServedVersion {
  readonly name: string
  readonly columns?: readonly PrinterColumn[]
  /** OpenAPI v3 schema, for `kubectl explain`. */
  readonly schema?: unknown
}

/** One resource type: built in, or made by a CustomResourceDefinition. */
export interface ResourceType {
  /** 'pods', 'deployments.apps': the name of the resource in the store's seam. */
  readonly key: string
  readonly group: string
  /** Preferred version first. */
  readonly versions: readonly ServedVersion[]
  readonly storageVersion: string
  readonly kind: string
  readonly listKind: string
  readonly plural: string
  readonly singular: string
  readonly shortNames: readonly string[]
  readonly categories: readonly string[]
  readonly namespaced: boolean
  /** Has a /status subresource: then `status` changes there alone. */
  readonly status: boolean
  readonly scale: boolean
  /** Counts changes of the desired state in metadata.generation. */
  readonly generation: boolean
  readonly custom: boolean
  /** The resource whose objects these are in another form (events.k8s.io shows core events). */
  readonly viewOf?: string
  /** Objects of it are asked and answered, never kept: nothing but POST. */
  readonly createOnly?: true
}

interface Row {
  group?: string
  kind: string
  plural?: string
  short?: string[]
  categories?: string[]
  cluster?: true
  status?: true
  scale?: true
  generation?: true
  viewOf?: string
  createOnly?: true
}

const ALL = ['all']
const ADMISSION = 'admissionregistration.k8s.io'
const RBAC = 'rbac.authorization.k8s.io'

const ROWS: readonly Row[] = [
  { kind: 'Namespace', short: ['ns'], cluster: true, status: true },
  { kind: 'Node', short: ['no'], cluster: true, status: true },
  { kind: 'Pod', short: ['po'], categories: ALL, status: true },
  { kind: 'Service', short: ['svc'], categories: ALL, status: true },
  { kind: 'Endpoints', plural: 'endpoints', short: ['ep'] },
  { kind: 'ConfigMap', short: ['cm'] },
  { kind: 'Secret' },
  { kind: 'ServiceAccount', short: ['sa'] },
  { kind: 'Event', short: ['ev'] },
  {
    group: 'apps',
    kind: 'Deployment',
    short: ['deploy'],
    categories: ALL,
    status: true,
    scale: true,
    generation: true,
  },
  { group: 'apps', kind: 'ReplicaSet', short: ['rs'], categories: ALL, status: true, scale: true, generation: true },
  { group: 'apps', kind: 'StatefulSet', short: ['sts'], categories: ALL, status: true, scale: true, generation: true },
  { group: 'apps', kind: 'DaemonSet', short: ['ds'], categories: ALL, status: true, generation: true },
  { group: 'batch', kind: 'Job', categories: ALL, status: true, generation: true },
  { group: 'discovery.k8s.io', kind: 'EndpointSlice', generation: true },
  { group: 'events.k8s.io', kind: 'Event', short: ['ev'], viewOf: 'events' },
  { group: 'coordination.k8s.io', kind: 'Lease' },
  { group: 'certificates.k8s.io', kind: 'CertificateSigningRequest', short: ['csr'], cluster: true, status: true },
  { group: 'policy', kind: 'PodDisruptionBudget', short: ['pdb'], status: true, generation: true },
  {
    group: 'scheduling.k8s.io',
    kind: 'PriorityClass',
    plural: 'priorityclasses',
    short: ['pc'],
    cluster: true,
    generation: true,
  },
  {
    group: ADMISSION,
    kind: 'ValidatingAdmissionPolicy',
    plural: 'validatingadmissionpolicies',
    cluster: true,
    status: true,
    generation: true,
  },
  { group: ADMISSION, kind: 'ValidatingAdmissionPolicyBinding', cluster: true, generation: true },
  { group: RBAC, kind: 'Role' },
  { group: RBAC, kind: 'RoleBinding' },
  { group: RBAC, kind: 'ClusterRole', cluster: true },
  { group: RBAC, kind: 'ClusterRoleBinding', cluster: true },
  { group: 'authentication.k8s.io', kind: 'TokenReview', cluster: true, createOnly: true },
  { group: 'authentication.k8s.io', kind: 'SelfSubjectReview', cluster: true, createOnly: true },
  { group: 'authorization.k8s.io', kind: 'SubjectAccessReview', cluster: true, createOnly: true },
  { group: 'authorization.k8s.io', kind: 'SelfSubjectAccessReview', cluster: true, createOnly: true },
  {
    group: 'apiextensions.k8s.io',
    kind: 'CustomResourceDefinition',
    short: ['crd', 'crds'],
    categories: ['api-extensions'],
    cluster: true,
    status: true,
    generation: true,
  },
]

function typeOf(row: Row): ResourceType {
  const group = row.group ?? ''
  const singular = row.kind.toLowerCase()
  const plural = row.plural ?? `${singular}s`
  return {
    key: resourceKey(plural, group),
    group,
    versions: [{ name: 'v1' }],
    storageVersion: 'v1',
    kind: row.kind,
    listKind: `${row.kind}List`,
    plural,
    singular,
    shortNames: row.short ?? [],
    categories: row.categories ?? [],
    namespaced: row.cluster === undefined,
    status: row.status === true,
    scale: row.scale === true,
    generation: row.generation === true,
    custom: false,
    ...(row.viewOf === undefined ? {} : { viewOf: row.viewOf }),
    ...(row.createOnly === undefined ? {} : { createOnly: row.createOnly }),
  }
}

export const BUILT_IN: readonly ResourceType[] = ROWS.map(typeOf)

/** `apps/v1`, or `v1` for the core group. */
export function groupVersion(group: string, version: string): string {
  return group === '' ? version : `${group}/${version}`
}

/** The group of an apiVersion: '' for `v1`. */
export function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf('/')
  return slash < 0 ? '' : apiVersion.slice(0, slash)
}
