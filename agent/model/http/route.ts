// What is decided of a request: where it goes and how, or what it is answered.

import type { Backends } from '../backends.ts'
import type { FailureCode } from '../failure.ts'
import type { RequestFacts } from './match.ts'
import type { DirectResponse, Field, HeaderChanges, HttpRule, Redirect } from '../policy.ts'
import { RETRY_DEFAULT, type RetryPolicy } from './retry.ts'
import type { CompiledMatch, RuleRef } from '../snapshot.ts'
import type { Workload } from '../workload.ts'

/** What is changed in the head of a request on its way, and in that of the response. Applied in order; mostly none. */
export interface HeadChanges {
  readonly request: readonly HeaderChanges[]
  readonly response: readonly HeaderChanges[]
}

export interface Forward {
  readonly kind: 'forward'
  readonly by: RuleRef | null
  readonly backends: Backends
  /** Fault: wait so long before anything else; 0 for none. */
  readonly delayMs: number
  /** Request target to send, or null to keep it. */
  readonly target: string | null
  /** Authority to send, or null to keep it. */
  readonly authority: string | null
  /** Milliseconds for the whole request, retries included; 0: no limit; null: no rule says. */
  readonly timeoutMs: number | null
  readonly retries: RetryPolicy
  readonly changes: HeadChanges
  /** Where copies of the request go. */
  readonly mirrors: readonly Backends[]
}

export type HttpRoute =
  | Forward
  /** Answered here, by a rule that says so. */
  | {
      readonly kind: 'answer'
      readonly by: RuleRef
      readonly delayMs: number
      readonly how: Redirect['kind'] | DirectResponse['kind'] | 'preflight'
      readonly status: number
      readonly fields: readonly Field[]
      readonly body: Uint8Array | null
      readonly changes: HeadChanges
    }
  | {
      readonly kind: 'abort'
      readonly by: RuleRef
      readonly delayMs: number
      readonly status: number
      readonly grpcStatus: number | null
      readonly changes: HeadChanges
    }
  | { readonly kind: 'none'; readonly code: FailureCode; readonly why: string }

/** A request and who sends it. */
export interface Asked {
  readonly request: RequestFacts
  readonly caller: Workload | null
}

/** What a destination stands for that names the very host that was asked for. */
export interface Own {
  readonly hosts: readonly string[]
  readonly backends: Backends
}

/** The rule that decides, and the entry of its `match` that does (null where it takes every request). */
export interface Matched {
  readonly rule: HttpRule
  readonly by: RuleRef
  readonly match: CompiledMatch['match'] | null
}

/** What records call a rule, given the name of the entry of its `match` that decided; '' for none (Istio joins them so). */
export function ruleName(rule: string, match: string): string {
  return match === '' ? rule : `${rule}.${match}`
}

export const NO_CHANGES: HeadChanges = { request: [], response: [] }
export const NOWHERE: readonly Backends[] = []

/** Nothing but the backends. */
export function forward(backends: Backends, by: RuleRef | null): Forward {
  return {
    kind: 'forward',
    by,
    backends,
    delayMs: 0,
    target: null,
    authority: null,
    timeoutMs: null,
    retries: RETRY_DEFAULT,
    changes: NO_CHANGES,
    mirrors: NOWHERE,
  }
}
