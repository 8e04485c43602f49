// Who asks: the bearer of a token of this API, or, without one, the lab's administrator.
// Source: Kubernetes documentation "Authenticating", UserInfo of authentication.k8s.io/v1.
import { ApiError } from '../status.ts'
import { accountName, API_AUDIENCE, type Claims, type Tokens } from './tokens.ts'
import type { Store } from '../store.ts'

export interface User {
  readonly username: string
  readonly uid?: string
  readonly groups: readonly string[]
  readonly extra: Readonly<Record<string, readonly string[]>>
}

export const ADMINISTRATOR: User = {
  username: 'kubernetes-admin',
  groups: ['system:masters', 'system:authenticated'],
  extra: {},
}

const EXTRA = 'authentication.kubernetes.io'

/** The user of a request by its Authorization header. Throws 401. */
export function userOf(header: string | undefined, { store, tokens }: { store: Store; tokens: Tokens }): User {
  if (header === undefined) return ADMINISTRATOR
  const token = /^Bearer +(\S+)$/i.exec(header)?.[1]
  const claims = token === undefined ? null : tokens.read(token)
  if (claims === null || !holds(claims, store)) throw new ApiError(401, 'Unauthorized', 'Unauthorized')
  const { namespace, serviceaccount: account, pod, node } = claims.bearer
  const bound = { 'pod-name': pod?.name, 'pod-uid': pod?.uid, 'node-name': node?.name, 'node-uid': node?.uid }
  const extra = Object.entries({ 'credential-id': `JTI=${claims.id}`, ...bound })
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => [`${EXTRA}/${key}`, [value as string]])
  return {
    username: accountName(claims.bearer),
    uid: account.uid,
    groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
    extra: Object.fromEntries(extra) as Record<string, string[]>,
  }
}

/** Whether it is for this API, in its time, and all that it is bound to is still there. */
function holds({ audiences, notBefore, expires, bearer }: Claims, store: Store): boolean {
  const now = Date.now() / 1000
  if (!audiences.includes(API_AUDIENCE) || now < notBefore || now >= expires) return false
  const { namespace, serviceaccount, pod } = bearer
  const isThere = (resource: string, { name, uid }: { name: string; uid: string }): boolean =>
    store.get(resource, namespace, name)?.metadata.uid === uid
  return isThere('serviceaccounts', serviceaccount) && (pod === undefined || isThere('pods', pod))
}
