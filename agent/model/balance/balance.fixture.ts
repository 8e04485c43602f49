// What picking stands on, for tests: what is not said is a node without work, where nobody is ejected.

import type { Ground, PickFor } from './affinity.ts'
import type { Backends } from '../backends.ts'
import { NO_POLICY } from '../destination.ts'
import type { Endpoint } from '../service.ts'
import type { LoadBalancing, OutlierDetection } from '../traffic-policy.ts'
import { ALL_HEALTHY } from './tiers.ts'
import { seeded } from '../request.fixture.ts'

/** Turns are counted by key from 0; nothing is remembered of clients. */
export function footing(wish: Partial<Ground> = {}): Ground {
  const turns = new Map<string, number>()
  const turn = (key: string): number => {
    const now = turns.get(key) ?? 0
    turns.set(key, now + 1)
    return now
  }
  return {
    load: { active: () => 0, turn },
    affinities: { recall: () => null, remember: () => undefined },
    random: seeded(1),
    health: ALL_HEALTHY,
    nowMs: () => 1_800_000_000_000,
    ...wish,
  }
}

/** For nobody in particular. */
export const ANYONE: PickFor = { client: '10.0.0.1', hash: null }

/** Endpoints at 10.0.0.0, .1, …, port 80. */
export function endpointsOf(count: number, each: (index: number) => Partial<Endpoint> = () => ({})): Endpoint[] {
  return Array.from({ length: count }, (_, index) => ({
    address: { ip: `10.0.${index >> 8}.${index & 255}`, port: 80 },
    ...{ workload: null, ready: true, serving: true, terminating: false },
    ...{ node: null, locality: null, readySinceMs: null },
    ...each(index),
  }))
}

/** What a DestinationRule may say, beside all else that backends have. */
export interface BackendsWish extends Partial<Omit<Backends, 'policy'>>, Partial<LoadBalancing> {
  readonly outliers?: OutlierDetection | null
}

/** Backends of one service. */
export function backendsWith(wish: BackendsWish): Backends {
  const { simple, hash = null, warmup = null, outliers = null, ...rest } = wish
  const balancing = { simple: simple ?? 'LEAST_REQUEST', hash, warmup, locality: null } as const
  return {
    ...{ key: 'web', host: 'web', subset: null, port: 80, family: 4, groups: null, isUnknown: false },
    affinitySeconds: null,
    endpoints: endpointsOf(3),
    ...rest,
    policy: { ...NO_POLICY, balancing, outliers },
  }
}

/** Who fails is ejected, and nobody counts in spite of it. */
export const OUTLIERS: OutlierDetection = {
  ...{ consecutive5xx: 5, consecutiveGateway: 0, consecutiveLocal: 5, splitsLocal: false, codes: [] },
  ...{ intervalMs: 10_000, baseEjectionMs: 30_000, maxEjectionPercent: 100, minHealthPercent: 0 },
}
