// When a peer that says nothing is asked whether it still lives (tcp(7): TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT).

import type { ConnectionPool } from '../../model/traffic-policy.ts'

/** After how much silence, how often again, and how many of these go unanswered before it is dead. */
export interface Keepalive {
  readonly idleSeconds: number
  readonly intervalSeconds: number
  readonly probes: number
}

/** The mesh's own. */
export const IDLE_SECONDS = 60
/** Linux's own. */
const INTERVAL_SECONDS = 75
const PROBES = 9
/** The most that the kernel takes. */
const SECONDS_MOST = 32_767
const PROBES_MOST = 127

/** What a rule asks for, within what the kernel takes; what it leaves out is as without it. */
export function keepaliveOf({ timeMs, intervalMs, probes }: NonNullable<ConnectionPool['keepalive']>): Keepalive {
  return {
    idleSeconds: timeMs === null ? IDLE_SECONDS : secondsOf(timeMs),
    intervalSeconds: intervalMs === null ? INTERVAL_SECONDS : secondsOf(intervalMs),
    probes: Math.min(PROBES_MOST, Math.max(1, probes ?? PROBES)),
  }
}

function secondsOf(ms: number): number {
  return Math.min(SECONDS_MOST, Math.max(1, Math.ceil(ms / 1000)))
}
