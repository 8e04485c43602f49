// Who a request is from. Source: Kubernetes documentation "Authenticating"; authentication.k8s.io/v1 UserInfo.

export interface User {
  readonly username: string
  readonly uid?: string
  readonly groups: readonly string[]
  readonly extra?: Readonly<Record<string, readonly string[]>>
}

/** Its members may do everything. */
export const MASTERS = 'system:masters'
export const AUTHENTICATED = 'system:authenticated'
export const UNAUTHENTICATED = 'system:unauthenticated'

/** Whoever reaches the lab's API without a token: the person who started the lab. */
export const ADMINISTRATOR: User = { username: 'kubernetes-admin', groups: [MASTERS, AUTHENTICATED] }

/** Nobody yet: what a request is before it was looked at. */
export const ANONYMOUS: User = { username: 'system:anonymous', groups: [UNAUTHENTICATED] }
