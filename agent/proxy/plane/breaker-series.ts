// The series of what rules bound and eject.

import type { Streak } from '../../model/balance/outlier.ts'
import type { Cells } from '../../telemetry/cells.ts'
import type { Counters } from '../../telemetry/series.ts'
import type { Ejection } from './breaker-cells.ts'
import type { BreakersOptions } from './breakers.ts'

/** Hosts that have series of their own; those that come later share one. */
const HOSTS = 1000
const OTHER = 'other'

/** What a count of failures in a row is called in the series. */
const CAUSES: Readonly<Record<Streak, string>> = {
  any: 'consecutive_5xx',
  gateway: 'consecutive_gateway',
  local: 'consecutive_local',
}

/** Counts what breakers tell. */
export function breakerSeries(cells: Cells): Pick<BreakersOptions, 'onOverflow' | 'onEjection'> {
  const hosts = new Set<string>()
  return {
    onOverflow: (limit) => void cells.plain('weft_overflow_total', limit).value++,
    onEjection: (host, cause) => {
      if (hosts.size < HOSTS) hosts.add(host)
      const named = hosts.has(host) ? host : OTHER
      cells.plain('weft_outlier_ejections_total', named, CAUSES[cause]).value++
    },
  }
}

/** How many endpoints of each host are ejected. An endpoint that stands behind several scopes of a host counts once. */
export function ejectedSeries(ejections: readonly Ejection[]): Counters {
  const byHost = new Map<string, Set<string>>()
  for (const { scope, endpoint } of ejections) {
    const host = scope.split('|', 1)[0] as string
    const named = byHost.has(host) || byHost.size < HOSTS ? host : OTHER
    const endpoints = byHost.get(named)
    if (endpoints === undefined) byHost.set(named, new Set([endpoint]))
    else endpoints.add(endpoint)
  }
  return [...byHost].map(([host, { size }]) => ({ name: 'weft_outlier_ejected', labels: [host], value: size }))
}
