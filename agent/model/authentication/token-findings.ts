// What comes of looking at a request's tokens.

import type { HeaderChanges } from '../policy.ts'
import type { Token } from './request-authentication.ts'

/** All of its tokens are good, or it has none and needs none. */
export interface Authenticated {
  readonly tokens: readonly Token[]
  /** What is changed in the request that the application gets; null: nothing. */
  readonly changes: HeaderChanges | null
  /** Request target without the tokens that were parameters of it; null where it had none. */
  readonly target: string | null
}

/** It is refused. `reason` is what the caller reads, in the words of Envoy: `Jwt is expired`. */
export interface Unauthenticated {
  /** 503: too many tokens wait to be verified. */
  readonly status: 401 | 403 | 503
  readonly reason: string
  /** Value of the answer's WWW-Authenticate (RFC 6750 §3); null for none. */
  readonly challenge: string | null
}
