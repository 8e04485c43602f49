// Acting as somebody else: `kubectl --as`. Who may act as whom, roles say.
// Source: Kubernetes documentation "User impersonation".
import { badRequest } from '../status.ts'
import { forbiddenAccess, mayDo } from './authorize.ts'
import { accountGroups } from './tokens.ts'
import { AUTHENTICATED } from './user.ts'
import type { ResourceAccess, RoleBook } from './authorize.ts'
import type { User } from './user.ts'

const USER = 'impersonate-user'
const GROUP = 'impersonate-group'
const ACCOUNT = /^system:serviceaccount:([^:]+):([^:]+)$/

/** The user that a request is for: who sent it, or whom its headers name. Throws 403, and 400 for what is not served. */
export function impersonated(user: User, headers: NodeJS.Dict<string[]>, roles: RoleBook): User {
  const asked = Object.keys(headers).filter((name) => name.startsWith('impersonate-'))
  if (asked.length === 0) return user
  const other = asked.find((name) => name !== USER && name !== GROUP)
  if (other !== undefined) throw badRequest(`the header ${other} is not served by this API`)
  const username = headers[USER]?.[0]
  if (!username) throw badRequest('requested groups without impersonating a user')
  const [, namespace, name] = ACCOUNT.exec(username) ?? []
  const own = namespace === undefined ? [] : accountGroups(namespace)
  const groups = headers[GROUP] ?? own
  const wanted = [
    namespace === undefined ? accessTo('users', username) : { ...accessTo('serviceaccounts', name ?? ''), namespace },
    ...(headers[GROUP] ?? []).map((group) => accessTo('groups', group)),
  ]
  for (const access of wanted) if (!mayDo(user, access, roles)) throw forbiddenAccess(user, access)
  return { username, groups: [...new Set([...groups, AUTHENTICATED])] }
}

function accessTo(resource: string, name: string): ResourceAccess {
  return { verb: 'impersonate', group: '', resource, name }
}
