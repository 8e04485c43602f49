// Whether a user may do something, by the roles bound to it. Pure.
// Source: Kubernetes documentation "Using RBAC Authorization", "Authorization Overview: request attributes".
import { isRecord } from '../object.ts'
import { ApiError, resourceKey } from '../status.ts'
import { accountName } from './tokens.ts'
import { MASTERS } from './user.ts'
import type { KubeObject } from '../object.ts'
import type { User } from './user.ts'

/** Something done to resources. */
export interface ResourceAccess {
  /** get, list, watch, create, update, patch, delete, deletecollection, or one of a kind's own, such as approve. */
  readonly verb: string
  readonly group: string
  readonly resource: string
  readonly subresource?: string | undefined
  /** Absent: cluster-scoped, or all namespaces. */
  readonly namespace?: string | undefined
  /** Absent: not of one object. */
  readonly name?: string | undefined
}

/** Something done to a path that is no resource: get of /version. */
export interface PathAccess {
  readonly verb: string
  readonly path: string
}

export type Access = ResourceAccess | PathAccess

/** The roles and bindings there are. */
export interface RoleBook {
  clusterBindings(): readonly KubeObject[]
  bindings(namespace: string): readonly KubeObject[]
  /** `namespace` absent: a ClusterRole. */
  role(name: string, namespace?: string): KubeObject | undefined
}

/** Nothing is forbidden: what no role allows is not allowed. */
export function mayDo(user: User, access: Access, roles: RoleBook): boolean {
  if (user.groups.includes(MASTERS)) return true
  const isAllowed = (binding: KubeObject, namespace?: string): boolean =>
    isBoundTo(binding, user, namespace) &&
    rulesOf(binding, roles, namespace).some((rule) => isRecord(rule) && covers(rule, access))
  if (roles.clusterBindings().some((binding) => isAllowed(binding))) return true
  if ('path' in access || !access.namespace) return false
  const { namespace } = access
  return roles.bindings(namespace).some((binding) => isAllowed(binding, namespace))
}

function isBoundTo({ subjects }: KubeObject, user: User, namespace: string | undefined): boolean {
  return listOf(subjects).some((subject) => {
    if (!isRecord(subject)) return false
    const { kind, name } = subject
    if (kind === 'User') return name === user.username
    if (kind === 'Group') return user.groups.includes(name)
    const own: string | undefined = subject['namespace'] || namespace
    return kind === 'ServiceAccount' && own !== undefined && accountName(own, name) === user.username
  })
}

function rulesOf({ roleRef }: KubeObject, roles: RoleBook, namespace: string | undefined): readonly unknown[] {
  const { kind, name } = isRecord(roleRef) ? roleRef : {}
  if (kind === 'ClusterRole') return listOf(roles.role(name)?.['rules'])
  return kind === 'Role' && namespace !== undefined ? listOf(roles.role(name, namespace)?.['rules']) : []
}

/** Whether a PolicyRule allows an access. A binding in a namespace never reaches here with a path. */
function covers(rule: Record<string, unknown>, access: Access): boolean {
  if (!hasOrAll(rule['verbs'], access.verb)) return false
  if ('path' in access) return listOf(rule['nonResourceURLs']).some((pattern) => isPath(pattern, access.path))
  const { group, resource, subresource, name } = access
  const names = listOf(rule['resourceNames'])
  return (
    hasOrAll(rule['apiGroups'], group) &&
    listOf(rule['resources']).some((pattern) => isResource(pattern, resource, subresource)) &&
    (names.length === 0 || (name !== undefined && names.includes(name)))
  )
}

function isResource(pattern: unknown, resource: string, subresource: string | undefined): boolean {
  if (pattern === '*') return true
  if (!subresource) return pattern === resource
  return pattern === `${resource}/${subresource}` || pattern === `*/${subresource}`
}

function isPath(pattern: unknown, path: string): boolean {
  if (typeof pattern !== 'string') return false
  return pattern.endsWith('*') ? path.startsWith(pattern.slice(0, -1)) : pattern === path
}

function hasOrAll(list: unknown, value: string): boolean {
  const values = listOf(list)
  return values.includes('*') || values.includes(value)
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

/** The refusal of an access, in Kubernetes' sentence. */
export function forbiddenAccess({ username }: User, access: Access): ApiError {
  const who = `User ${JSON.stringify(username)} cannot ${access.verb}`
  if ('path' in access) {
    return new ApiError(403, 'Forbidden', `forbidden: ${who} path ${JSON.stringify(access.path)}`, {})
  }
  const { group, resource, subresource, namespace, name } = access
  const what = JSON.stringify(subresource ? `${resource}/${subresource}` : resource)
  const where = namespace ? `in the namespace ${JSON.stringify(namespace)}` : 'at the cluster scope'
  const which = resourceKey(resource, group) + (name ? ` ${JSON.stringify(name)}` : '')
  const message = `${which} is forbidden: ${who} resource ${what} in API group ${JSON.stringify(group)} ${where}`
  const details = { ...(name ? { name } : {}), ...(group === '' ? {} : { group }), kind: resource }
  return new ApiError(403, 'Forbidden', message, details)
}
