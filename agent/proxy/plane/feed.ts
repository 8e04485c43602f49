// What control side and data side say to each other: plain values only, so that they cross between threads.

import type { Flow } from '../../kernel/accounts.ts'
import type { Captured, Handles } from '../../kernel/kernel.ts'
import type { Inventory } from '../../model/snapshot.ts'
import type { Counters } from '../../telemetry/series.ts'

import type { HeadLimits } from '../http1/scan.ts'

export type { Counters } from '../../telemetry/series.ts'

/** The first message to a worker. */
export interface Start {
  readonly type: 'start'
  readonly handles: Handles
  /** Whether a record a request is written to standard output. */
  readonly accessLog: boolean
  /** What a message's head may take. */
  readonly head: HeadLimits
}

export type ToWorker =
  | Start
  | { readonly type: 'inventory'; readonly inventory: Inventory }
  | { readonly type: 'capture'; readonly pod: Captured }
  /** `gone`: the pod itself has ended, so what is open of it ends too. */
  | { readonly type: 'release'; readonly uid: string; readonly gone: boolean }
  | { readonly type: 'flows'; readonly flows: readonly Flow[] }
  | { readonly type: 'scrape'; readonly id: number }
  /** Stop accepting; end what is open when it is done, or after `graceMs`; then end the thread. */
  | { readonly type: 'stop'; readonly graceMs: number }

export type FromWorker =
  | { readonly type: 'ready' }
  /** This version of the inventory now decides. */
  | { readonly type: 'applied'; readonly version: number }
  /** This version cannot be indexed; the one before stays in force. */
  | { readonly type: 'rejected'; readonly version: number; readonly why: string }
  | { readonly type: 'counters'; readonly id: number; readonly counters: Counters }
  /** Something that should not happen, for the log. */
  | { readonly type: 'fault'; readonly why: string }
  | { readonly type: 'heartbeat' }
