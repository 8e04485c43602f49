// The proof that a connection may be made. Only authorize() makes one; connect cannot be called without.

import { addressText, isLoopback } from './address.ts'
import type { FailureCode } from './failure.ts'
import type { Caller } from './identity.ts'
import type { Link } from './link.ts'
import type { Endpoint } from './service.ts'

declare const granted: unique symbol

/** Proof for one pair of caller and endpoint, and the way that it is reached. */
export interface Permit {
  readonly [granted]: true
  readonly caller: Caller
  readonly endpoint: Endpoint
  readonly link: Exclude<Link, { kind: 'refused' }>
}

export interface Denial {
  readonly denied: string
  readonly code: FailureCode
}

/**
 * Judges whether `caller` may reach `endpoint` by `link`. An endpoint on loopback is refused: the connection is made inside
 * the caller's own network namespace, where it would reach what the caller keeps to itself, and no Service may name one
 * (Kubernetes refuses it in EndpointSlices too).
 */
export function authorize(caller: Caller, endpoint: Endpoint, link: Link): Permit | Denial {
  if (isLoopback(endpoint.address.ip)) {
    return { denied: `${addressText(endpoint.address)} is a loopback address`, code: 'DENIED' }
  }
  if (link.kind === 'refused') return { denied: link.why, code: 'UPSTREAM_NOT_SECURED' }
  return { caller, endpoint, link } as Permit
}
