// What a request does, in the terms of roles, and the door that it goes through.
// Source: Kubernetes documentation "Authorization Overview: determine the request verb".
import { parseFieldSelector, pinned } from '../selector.ts'
import { forbiddenAccess, mayDo } from './authorize.ts'
import { CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS, ROLES, ROLE_BINDINGS } from './default-roles.ts'
import type { Exchange } from '../http/exchange.ts'
import type { Place } from '../http/path.ts'
import type { Store } from '../store.ts'
import type { Access, PathAccess, ResourceAccess, RoleBook } from './authorize.ts'

const VERBS: Readonly<Record<string, string>> = {
  POST: 'create',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
  GET: 'get',
  HEAD: 'get',
}

/** Throws 403 when the user of the exchange may not do this. */
export function permit({ user }: Exchange, access: Access, store: Store): void {
  if (!mayDo(user, access, rolesIn(store))) throw forbiddenAccess(user, access)
}

/** The access that a request to a resource is. */
export function resourceAccess(exchange: Exchange, place: Place): ResourceAccess {
  const { type, subresource, name } = place
  const verb = VERBS[exchange.method] ?? exchange.method.toLowerCase()
  return {
    verb: subresource === undefined ? verbOf(exchange, verb, name) : verb,
    group: type.group,
    resource: type.plural,
    subresource,
    // Kubernetes has it so: a role in a namespace may be about the namespace itself.
    namespace: type.key === 'namespaces' ? name : place.namespace,
    name: name ?? (verb === 'get' ? chosenName(exchange) : undefined),
  }
}

function verbOf(exchange: Exchange, verb: string, name: string | undefined): string {
  if (verb === 'get' && exchange.isSet('watch')) return 'watch'
  if (name !== undefined) return verb
  return verb === 'get' ? 'list' : verb === 'delete' ? 'deletecollection' : verb
}

// A list or watch of one name is an access to that name: rules with resourceNames allow it.
function chosenName({ query }: Exchange): string | undefined {
  return pinned(parseFieldSelector(query.get('fieldSelector') ?? ''), 'metadata.name')
}

/** The access that a request through a node's proxy is. */
export function proxyAccess({ method }: Exchange, name: string): ResourceAccess {
  const verb = VERBS[method] ?? method.toLowerCase()
  return { verb, group: '', resource: 'nodes', subresource: 'proxy', name }
}

/** The access that a request to anything else is. */
export function pathAccess({ method, path }: Exchange): PathAccess {
  return { verb: method.toLowerCase(), path }
}

/** The roles of a cluster, as they are now. */
export function rolesIn(store: Store): RoleBook {
  return {
    clusterBindings: () => store.list(CLUSTER_ROLE_BINDINGS),
    bindings: (namespace) => store.list(ROLE_BINDINGS, { namespace }),
    role: (name, namespace) =>
      namespace === undefined ? store.get(CLUSTER_ROLES, null, name) : store.get(ROLES, namespace, name),
  }
}
