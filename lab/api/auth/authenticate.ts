// Who sent a request: a service account by its bearer token, or the administrator of the lab where there is no header.
// Source: Kubernetes documentation "Authenticating"; KEP-1205 (bound objects), KEP-4193 (what `extra` says of a token).
import { ApiError } from '../status.ts'
import { ISSUER, TokenError, accountGroups } from './tokens.ts'
import { ADMINISTRATOR, AUTHENTICATED } from './user.ts'
import type { Binding, Bound, Claims, Tokens } from './tokens.ts'
import type { Store } from '../store.ts'
import type { User } from './user.ts'

const EXTRA = 'authentication.kubernetes.io'

/** What tokens are held against. */
export interface Proof {
  readonly tokens: Tokens
  readonly store: Store
  /** The administrator's, as in the file of `--token-auth-file`. */
  readonly administratorToken?: string | undefined
}

/** The user of a request with this Authorization header. Throws 401: no bad credential ever makes an administrator. */
export function authenticate(header: string | undefined, proof: Proof): User {
  if (header === undefined) return ADMINISTRATOR
  const token = /^bearer +(\S+) *$/i.exec(header)?.[1]
  if (token === undefined) throw unauthorized()
  try {
    return userOfToken(token, [ISSUER], proof).user
  } catch (error) {
    if (error instanceof TokenError) throw unauthorized()
    throw error
  }
}

/** Whom a token meant for one of `audiences` stands for, and for which of them. Throws TokenError. */
export function userOfToken(
  token: string,
  audiences: readonly string[],
  { tokens, store, administratorToken }: Proof,
): { user: User; audiences: readonly string[] } {
  // a token of a file says nothing of audiences: it is for the API itself
  if (token === administratorToken) return { user: ADMINISTRATOR, audiences: meantFor([ISSUER], audiences) }
  const claims = tokens.read(token)
  const meant = meantFor(claims.aud, audiences)
  checkBound(claims['kubernetes.io'], store)
  return { user: userOf(claims), audiences: meant }
}

function meantFor(own: readonly string[], audiences: readonly string[]): readonly string[] {
  const meant = audiences.filter((audience) => own.includes(audience))
  if (meant.length > 0) return meant
  throw new TokenError(`token audiences ${shown(own)} is invalid for the target audiences ${shown(audiences)}`)
}

function checkBound({ namespace, serviceaccount, pod }: Binding, store: Store): void {
  const isSame = (resource: string, { name, uid }: Bound): boolean =>
    store.get(resource, namespace, name)?.metadata.uid === uid
  if (!isSame('serviceaccounts', serviceaccount)) throw new TokenError('service account token has been invalidated')
  if (pod && !isSame('pods', pod)) throw new TokenError('service account token has been invalidated')
}

function userOf({ sub, jti, 'kubernetes.io': { namespace, serviceaccount, pod, node } }: Claims): User {
  const extra = {
    'credential-id': `JTI=${jti}`,
    'node-name': node?.name,
    'node-uid': node?.uid,
    'pod-name': pod?.name,
    'pod-uid': pod?.uid,
  }
  const told = Object.entries(extra).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return {
    username: sub,
    uid: serviceaccount.uid,
    groups: [...accountGroups(namespace), AUTHENTICATED],
    extra: Object.fromEntries(told.map(([name, value]) => [`${EXTRA}/${name}`, [value]])),
  }
}

function unauthorized(): ApiError {
  return new ApiError(401, 'Unauthorized', 'Unauthorized')
}

function shown(list: readonly string[]): string {
  return JSON.stringify(list)
}
