// All that decides, as JSON, for whoever may look at it: less what is a secret, which it is not for them to know.

import type { JwtRule } from '../model/authentication/request-authentication.ts'
import type { HttpAuthorizer } from '../model/authorization/provider.ts'
import { withoutUser } from '../model/explain/authorization-words.ts'
import type { Problem } from '../model/policy.ts'
import type { Inventory } from '../model/snapshot.ts'

/** Stands for what is not told. */
const UNTOLD = '…'

/**
 * The document. Keys that stand in an object are left out, for they may be symmetric, or have their private part; so are
 * values that authorizers are told that it is the mesh that asks, and what a URL has before its host.
 */
export function snapshotPage(inventory: Inventory, problems: readonly Problem[]): string {
  const { mesh, requestAuthentications } = inventory
  return JSON.stringify({
    ...inventory,
    mesh: { ...mesh, authorizers: mesh.authorizers.map(toldAuthorizer) },
    requestAuthentications: requestAuthentications.map((one) => ({ ...one, rules: one.rules.map(toldRule) })),
    problems,
  })
}

function toldRule(rule: JwtRule): JwtRule {
  const { keys } = rule
  if (keys.kind === 'inline') return { ...rule, keys: { ...keys, jwks: UNTOLD } }
  return keys.kind === 'uri' ? { ...rule, keys: { ...keys, uri: withoutUser(keys.uri) } } : rule
}

function toldAuthorizer(authorizer: HttpAuthorizer): HttpAuthorizer {
  const { includeAdditionalHeadersInCheck: added } = authorizer
  return { ...authorizer, includeAdditionalHeadersInCheck: added.map(([name]) => [name, UNTOLD] as const) }
}
