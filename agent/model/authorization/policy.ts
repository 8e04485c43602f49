// Istio's AuthorizationPolicy in the mesh's own words, as plain values: who may call what.

import type { ObjectRef } from '../workload.ts'

/** What an object does with whatever its rules match. */
export type Action = 'ALLOW' | 'DENY' | 'AUDIT' | 'CUSTOM'

/** What a condition looks at. All of one kind are told apart by that alone, but for headers and claims. */
export type Attribute =
  // of the connection
  | { readonly kind: 'source.principal' }
  | { readonly kind: 'source.namespace' }
  | { readonly kind: 'source.serviceAccount' }
  | { readonly kind: 'source.trustDomain' }
  | { readonly kind: 'source.ip' }
  | { readonly kind: 'remote.ip' }
  | { readonly kind: 'destination.ip' }
  | { readonly kind: 'destination.port' }
  | { readonly kind: 'connection.sni' }
  // of the request
  | { readonly kind: 'request.method' }
  | { readonly kind: 'request.host' }
  | { readonly kind: 'request.path' }
  /** `name` in lower case. */
  | { readonly kind: 'request.header'; readonly name: string }
  /** `iss/sub` of its token. */
  | { readonly kind: 'request.principal' }
  | { readonly kind: 'request.audiences' }
  | { readonly kind: 'request.presenter' }
  /** The way to it through the token's payload: `request.auth.claims[a][b]`. */
  | { readonly kind: 'request.claim'; readonly path: readonly string[] }

/**
 * What must hold of one attribute: one of `values` matches, where there are any, and none of `notValues` does. An attribute
 * that is missing matches nothing: `values` fail then, and `notValues` hold.
 */
export interface Condition {
  /** Where it stands: `from[0].source.principals`, `when[1]`. What is said of it names that. */
  readonly field: string
  readonly attribute: Attribute
  readonly values: readonly string[]
  readonly notValues: readonly string[]
}

/** One rule: of each list that is not empty one entry must hold, with all of its conditions; and all of `when`. */
export interface Rule {
  readonly from: readonly (readonly Condition[])[]
  readonly to: readonly (readonly Condition[])[]
  readonly when: readonly Condition[]
}

/** What a policy is attached to by name (Istio targetRefs): a Service of its own namespace. */
export interface TargetService {
  readonly namespace: string
  readonly name: string
}

/** For which pods an object is. */
export interface Aim {
  readonly ref: ObjectRef
  readonly createdMs: number
  /**
   * Labels that a pod must carry; null: all pods of its namespace, and from the root namespace of the mesh. With a selector
   * an object of the root namespace is for pods of all namespaces, too.
   */
  readonly selector: Readonly<Record<string, string>> | null
  /** Where it is attached to Services, and for what arrives at their endpoints alone; null where it is not. */
  readonly targets: readonly TargetService[] | null
}

/** Istio AuthorizationPolicy. No rule at all: nothing matches. */
export interface AuthorizationPolicy extends Aim {
  readonly action: Action
  /** Who is asked, for CUSTOM; '' for every other action. */
  readonly provider: string
  /** Judged and told, and of no effect (annotation `istio.io/dry-run`). */
  readonly dryRun: boolean
  readonly rules: readonly Rule[]
}

/** Whether an attribute is one of a request, and not of the connection that brings it. */
export function isOfRequest({ kind }: Attribute): boolean {
  return kind.startsWith('request.')
}
