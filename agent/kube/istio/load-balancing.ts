// How endpoints are picked.

import type { Balancer, LoadBalancing, Warmup } from '../../model/traffic-policy.ts'
import type { GivenBalancing } from '../istio.ts'
import { Rejected } from '../translate.ts'
import { duration, optional, percent, type Reading } from './checked.ts'
import { consistentHash } from './consistent-hash.ts'
import { localityPreference } from './locality.ts'

/** Balancers by Istio's name; LEAST_CONN is its old name of LEAST_REQUEST. The schema knows no other. */
const BALANCERS: Readonly<Record<string, Balancer | null>> = {
  UNSPECIFIED: null,
  ROUND_ROBIN: 'ROUND_ROBIN',
  LEAST_REQUEST: 'LEAST_REQUEST',
  LEAST_CONN: 'LEAST_REQUEST',
  RANDOM: 'RANDOM',
  PASSTHROUGH: 'PASSTHROUGH',
}

/** Those whose picks can be weighed: those of Envoy's slow start, and RANDOM, which it leaves out. */
const WEIGHED: readonly (Balancer | null)[] = [null, 'ROUND_ROBIN', 'LEAST_REQUEST', 'RANDOM']

export function loadBalancing(given: GivenBalancing, path: string, reading: Reading): LoadBalancing {
  const { report } = reading
  const simple = BALANCERS[given.simple ?? 'UNSPECIFIED'] ?? null
  const hash = optional(given.consistentHash, `${path}.consistentHash`, consistentHash)
  const warmup = warmupOf(given, path, report)
  if (warmup !== null && (hash !== null || !WEIGHED.includes(simple))) {
    const at = given.warmup === undefined ? `${path}.warmupDurationSecs` : `${path}.warmup`
    report(at, `has no effect with ${hash === null ? (simple ?? '') : 'consistentHash'}`)
  }
  const locality = optional(given.localityLbSetting, `${path}.localityLbSetting`, (one, at) => {
    return localityPreference(one, at, reading)
  })
  if (locality !== null && simple === 'PASSTHROUGH') {
    report(`${path}.localityLbSetting`, 'has no effect with PASSTHROUGH')
  }
  return { simple, hash, locality, warmup }
}

/** Istio's and Envoy's defaults. */
const LEAST_SHARE = 10
const AGGRESSION = 1

function warmupOf(given: GivenBalancing, path: string, report: Reading['report']): Warmup | null {
  const old = optional(given.warmupDurationSecs, `${path}.warmupDurationSecs`, duration)
  if (given.warmup === undefined) {
    return old === null ? null : { durationMs: old, minimumPercent: LEAST_SHARE, aggression: AGGRESSION }
  }
  if (old !== null) report(`${path}.warmupDurationSecs`, 'has no effect beside warmup')
  const { minimumPercent = LEAST_SHARE, aggression = AGGRESSION } = given.warmup
  if (!(aggression > 0)) throw new Rejected(`${path}.warmup.aggression`, 'must be more than 0')
  return {
    durationMs: duration(given.warmup.duration, `${path}.warmup.duration`),
    minimumPercent: percent(minimumPercent, `${path}.warmup.minimumPercent`),
    aggression,
  }
}
