// What the captures of a node are made with.

import type { AnnouncementsOptions } from './announcements.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Find } from '../kernel/reconcile.ts'
import type { Workload } from '../model/workload.ts'
import type { PodStatus } from '../telemetry/status.ts'
import type { DataSide } from './workers.ts'

export interface CapturesOptions extends AnnouncementsOptions {
  readonly kernel: Kernel
  readonly data: Pick<DataSide, 'capture' | 'release'>
  /** Finds pods' network namespaces: findPods of kernel/discover.ts, at the right directory. */
  readonly find: Find
  /** How long to wait before a pod that could not be captured, proved or announced, is tried again. Milliseconds. */
  readonly retryMs: number
  /**
   * How long what dials a pod is still taken after its announcement was withdrawn: others may not have heard of it yet.
   * Milliseconds.
   */
  readonly leaveMs: number
  /** Why what a pod does cannot be secured now, or null. */
  readonly lackOf: (pod: Workload) => string | null
  /** How it stands with what secures a pod. */
  readonly securityOf: (pod: Workload) => Pick<PodStatus, 'modes' | 'certificate'>
  /** Open connections of a captured pod that are older than its capture. */
  readonly older: (uid: string) => number
  /** Captures that began before any process of their pod, kept where the next agent finds them. Absent: this agent's. */
  readonly fromStart?: StartMarks
  readonly log: {
    info(fields: object, message: string): void
    warn(fields: object, message: string): void
  }
}

/** Which captures began before any process of their pod: names, each a uid and its namespace's cookie. */
export interface StartMarks {
  has(mark: string): boolean
  add(mark: string): unknown
}
