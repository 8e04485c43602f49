// What control side and data side say to each other: plain values only, so that they cross between threads.

import type { Flow } from '../../kernel/accounts.ts'
import type { Captured, Handles } from '../../kernel/kernel.ts'
import type { Refusal } from '../../model/build.ts'
import type { Piece } from '../../model/delta.ts'
import type { Counters } from '../../telemetry/series.ts'
import type { BreakerMemory } from './breaker-cells.ts'
import type { SharedCounts } from './counts.ts'
import type { IdentityCredentials } from './identities.ts'
import type { KeySet } from './key-sets.ts'
import type { Limits } from './limits.ts'
import type { ClientTlsMaterial } from './materials.ts'

export type { Counters } from '../../telemetry/series.ts'

/** The first message to a worker. */
export interface Start {
  readonly type: 'start'
  readonly handles: Handles
  /** What moves bytes: the addon if not said otherwise. */
  readonly transport?: 'native' | 'node'
  /** Whether a record a request is written to standard output. */
  readonly accessLog: boolean
  /** Where they are other than the defaults. */
  readonly limits?: Partial<Limits>
  /** What all workers of the node count together, and the column that is this one's. */
  readonly counts: SharedCounts
  readonly breakers: BreakerMemory
  readonly column: number
}

/** Which row of the shared counts is whose: endpoints by `ip:port`; null: its row is no longer its own. */
export type RowChanges = readonly (readonly [endpoint: string, row: number | null])[]

export type ToWorker =
  | Start
  /** A part of what changed; the next comes once this one is answered by `next`. */
  | { readonly type: 'piece'; readonly piece: Piece; readonly rows: RowChanges }
  /** `row`: where the pod's connections are counted; null: this worker counts for itself. */
  | { readonly type: 'capture'; readonly pod: Captured; readonly row: number | null }
  /** `gone`: the pod itself has ended, so what is open of it ends too. */
  | { readonly type: 'release'; readonly uid: string; readonly gone: boolean }
  /** What pods of an identity show and believe from now on. */
  | { readonly type: 'identity'; readonly credentials: IdentityCredentials }
  /** No pod of the identity is left. */
  | { readonly type: 'no-identity'; readonly uri: string }
  /** What TLS that rules ask for is made of from now on. */
  | { readonly type: 'material'; readonly material: ClientTlsMaterial }
  /** No rule asks for it any more. */
  | { readonly type: 'no-material'; readonly name: string }
  /** What tokens are verified by from now on. */
  | { readonly type: 'keys'; readonly keySet: KeySet }
  /** No rule asks for it any more. */
  | { readonly type: 'no-keys'; readonly name: string }
  | { readonly type: 'flows'; readonly flows: readonly Flow[] }
  | { readonly type: 'scrape'; readonly id: number }
  /** Stop accepting; end what is open when it is done, or after `graceMs`; then end the thread. */
  | { readonly type: 'stop'; readonly graceMs: number }

export type FromWorker =
  | { readonly type: 'ready' }
  /** The next piece is wanted. */
  | { readonly type: 'next' }
  /** This version of the inventory now decides. */
  | { readonly type: 'applied'; readonly version: number }
  /** This version cannot be indexed; the one before stays in force. */
  | { readonly type: 'rejected'; readonly version: number; readonly why: string }
  /** One object of it cannot be in force; its last good form stays, and so does all else of the version. */
  | { readonly type: 'refused'; readonly version: number; readonly refusal: Refusal }
  | { readonly type: 'counters'; readonly id: number; readonly counters: Counters }
  /** A set of keys does not have the one of a token, or is none: there may be a newer one. */
  | { readonly type: 'stale-keys'; readonly name: string }
  /** Something that should not happen, for the log. */
  | { readonly type: 'fault'; readonly why: string }
  | { readonly type: 'heartbeat' }
