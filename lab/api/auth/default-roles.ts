// The roles that every cluster has from the start, as far as this API serves what they are about. Pure data.
// Source: Kubernetes documentation "Using RBAC Authorization: default roles and role bindings".
import { AUTHENTICATED, MASTERS, UNAUTHENTICATED } from './user.ts'
import type { ObjectDraft } from '../object.ts'

const GROUP = 'rbac.authorization.k8s.io'
export const ROLES = `roles.${GROUP}`
export const CLUSTER_ROLES = `clusterroles.${GROUP}`
export const ROLE_BINDINGS = `rolebindings.${GROUP}`
export const CLUSTER_ROLE_BINDINGS = `clusterrolebindings.${GROUP}`

const DISCOVERY = ['/api', '/api/*', '/apis', '/apis/*', '/openapi', '/openapi/*']
const HEALTH = ['/healthz', '/livez', '/readyz', '/version', '/version/']

const RULES: Readonly<Record<string, readonly Record<string, readonly string[]>[]>> = {
  'cluster-admin': [
    { apiGroups: ['*'], resources: ['*'], verbs: ['*'] },
    { nonResourceURLs: ['*'], verbs: ['*'] },
  ],
  'system:auth-delegator': [
    { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
    { apiGroups: ['authorization.k8s.io'], resources: ['subjectaccessreviews'], verbs: ['create'] },
  ],
  'system:basic-user': [
    { apiGroups: ['authorization.k8s.io'], resources: ['selfsubjectaccessreviews'], verbs: ['create'] },
    { apiGroups: ['authentication.k8s.io'], resources: ['selfsubjectreviews'], verbs: ['create'] },
  ],
  'system:public-info-viewer': [{ nonResourceURLs: HEALTH, verbs: ['get'] }],
  'system:discovery': [{ nonResourceURLs: [...DISCOVERY, ...HEALTH], verbs: ['get'] }],
}

const BOUND: Readonly<Record<string, string>> = {
  'cluster-admin': MASTERS,
  'system:basic-user': AUTHENTICATED,
  'system:discovery': AUTHENTICATED,
  'system:public-info-viewer': UNAUTHENTICATED,
}

function metadataOf(name: string): ObjectDraft['metadata'] {
  return { name, labels: { 'kubernetes.io/bootstrapping': 'rbac-defaults' } }
}

/** What a new cluster begins with: resource and object. */
export const DEFAULT_ROLES: readonly (readonly [resource: string, draft: ObjectDraft])[] = [
  ...Object.entries(RULES).map(([name, rules]) => [CLUSTER_ROLES, { metadata: metadataOf(name), rules }] as const),
  ...Object.entries(BOUND).map(([name, group]) => {
    const subjects = [{ kind: 'Group', apiGroup: GROUP, name: group }]
    const roleRef = { kind: 'ClusterRole', apiGroup: GROUP, name }
    return [CLUSTER_ROLE_BINDINGS, { metadata: metadataOf(name), subjects, roleRef }] as const
  }),
]
