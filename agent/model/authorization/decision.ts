// What comes of a decision, and the table that makes it.

import type { ObjectRef } from '../workload.ts'
import type { Facts } from './facts.ts'
import type { AuthorizationPolicy } from './policy.ts'

/** A rule that matched, by its place in the object (0-based). */
export interface MatchedRule {
  readonly policy: ObjectRef
  readonly rule: number
}

/** What is known of a call by the policies for its callee. The same object where nothing particular is to be told. */
export interface Decision {
  /**
   * Null: it is allowed. `by` is null where no rule of an ALLOW policy matched, though there are some.
   */
  readonly denied: { readonly by: MatchedRule | null } | null
  /** The rule that allowed it; null: nobody had to. */
  readonly allowedBy: MatchedRule | null
  /** First rules of AUDIT policies that matched. */
  readonly audited: readonly MatchedRule[]
  /** What policies in dry run would make of it; null where there are none. */
  readonly dryRun: Pick<Decision, 'denied' | 'allowedBy'> | null
}

/** An authorizer to be asked, and why. */
export interface Consultation {
  readonly provider: string
  readonly by: MatchedRule
}

/** All policies for one pod's port, put together so that a call is judged by few of them. */
export interface DecisionTable {
  /** In the order in which they were put together. */
  readonly policies: readonly AuthorizationPolicy[]
  /** Whether there is a CUSTOM policy. */
  readonly consults: boolean
  /** Whether a policy looks at the server name that a connection's TLS asks for. */
  readonly looksAtServerName: boolean
  /**
   * Who is to be asked before all else, each provider once. Of a connection whose bytes are not read nobody can be asked:
   * whoever would be is told all the same, and the call may not go on.
   */
  consultations(facts: Facts): readonly Consultation[]
  /** What DENY, ALLOW and AUDIT policies say, in this order. */
  decide(facts: Facts): Decision
}
