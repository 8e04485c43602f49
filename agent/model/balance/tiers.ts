// How what is sent now is spread over localities and priorities, given who is ejected: pure.
//
// The arithmetic is Envoy's ("Priority levels", "Panic threshold", "Locality weighted load balancing"): a priority takes as
// much as 1.4 times its healthy part, and the next takes what is left. Where too few are healthy all of a priority count.

import type { Backends } from '../backends.ts'
import type { Group } from './placement.ts'
import { type Endpoint, nameOf } from '../service.ts'

/** Who is not asked for a while. */
export interface Health {
  /** Names (`ip:port`) of the endpoints that are ejected now, or null for none. The same object while nothing changes. */
  ejected(backends: Backends): ReadonlySet<string> | null
}

/** Nobody is ever ejected. */
export const ALL_HEALTHY: Health = { ejected: () => null }

/** A group, and what it gets of what is sent now. */
export interface Tier {
  readonly priority: number
  /** As in Group. */
  readonly locality: string
  /** Those that may be asked: the healthy ones, or in a panic all. May be none. */
  readonly endpoints: readonly Endpoint[]
  /** 0..1; those of all tiers add up to 1, but where nobody may be asked. */
  readonly share: number
  /** All of the group: what hashes are spread over, so that who comes back gets its own again. */
  readonly all: readonly Endpoint[]
  /** Names of those of all that may not be asked; null for none. */
  readonly closed: ReadonlySet<string> | null
}

/** Healthy endpoints of a priority are taken to bear so much more than their part (Envoy's overprovisioning factor). */
const OVERPROVISIONING = 1.4

/** The tiers of a set in order of priority: what each gets now, and of whom it is made. At least one where it has endpoints. */
export function tiersOf(backends: Backends, { health }: { readonly health: Health }): readonly Tier[] {
  return spreadOf(backends, health.ejected(backends)).tiers
}

/** The tiers, and all of them as one for who may go anywhere. */
export interface Spread {
  readonly ejected: ReadonlySet<string> | null
  readonly tiers: readonly Tier[]
  readonly whole: Tier
}

const SPREADS = new WeakMap<Backends, Spread>()

/** Worked out once as long as the same endpoints are ejected. */
export function spreadOf(backends: Backends, ejected: ReadonlySet<string> | null): Spread {
  const known = SPREADS.get(backends)
  if (known !== undefined && known.ejected === ejected) return known
  const tiers = shared(backends, ejected)
  const [only] = tiers
  const whole: Tier =
    tiers.length === 1 && only !== undefined
      ? only
      : {
          ...{ priority: 0, locality: '', share: 1 },
          ...openOf(
            tiers.flatMap(({ endpoints }) => endpoints),
            tiers.flatMap(({ all }) => all),
          ),
        }
  const spread = { ejected, tiers, whole }
  SPREADS.set(backends, spread)
  return spread
}

/** A group with its healthy endpoints. */
interface Judged {
  readonly group: Group
  readonly healthy: readonly Endpoint[]
}

/** A priority with all of its groups. */
interface Level {
  readonly own: readonly Judged[]
  readonly count: number
  readonly healthy: number
}

function shared(backends: Backends, ejected: ReadonlySet<string> | null): readonly Tier[] {
  const { groups, endpoints, policy } = backends
  const all: readonly Group[] = groups ?? [{ priority: 0, locality: '', weight: 1, endpoints }]
  const judged = all.map((group): Judged => {
    return {
      group,
      healthy: ejected === null ? group.endpoints : group.endpoints.filter((one) => !ejected.has(nameOf(one))),
    }
  })
  const levels = [...Map.groupBy(judged, ({ group }) => group.priority).values()].map((own): Level => {
    return {
      own,
      count: sum(own, ({ group }) => group.endpoints.length),
      healthy: sum(own, ({ healthy }) => healthy.length),
    }
  })
  const threshold = (policy.outliers?.minHealthPercent ?? 0) / 100
  const available = levels.map(({ healthy, count }) => availability(healthy, count))
  const total = Math.min(
    1,
    sum(available, (part) => part),
  )
  const panics = levels.map(({ healthy, count }) => total < 1 && healthy < threshold * count)
  const loads = panics.every((isPanic) => isPanic) ? byCount(levels) : byHealth(available, total)
  return levels.flatMap((level, at) => tiersIn(level, loads[at] as number, panics[at] as boolean))
}

/** In a panic of all priorities each gets its part of the endpoints. */
function byCount(levels: readonly Level[]): readonly number[] {
  const all = sum(levels, ({ count }) => count)
  return levels.map(({ count }) => (all === 0 ? 0 : count / all))
}

/** In order, each as much as it can bear; where they cannot bear all of it together, each as much more. */
function byHealth(available: readonly number[], total: number): readonly number[] {
  let left = total === 0 ? 0 : 1
  return available.map((part) => {
    const load = total === 0 ? 0 : Math.min(left, part / total)
    left -= load
    return load
  })
}

/** The groups of a priority by weight, one with ejected endpoints by less; in a panic by how many they are. */
function tiersIn({ own, count }: Level, load: number, isPanic: boolean): readonly Tier[] {
  const weights = own.map(({ group, healthy }) => {
    const { length } = group.endpoints
    return isPanic ? length / count : group.weight * availability(healthy.length, length)
  })
  const total = sum(weights, (weight) => weight)
  return own.map(({ group, healthy }, at): Tier => {
    const { priority, locality, endpoints: all } = group
    const share = total === 0 ? 0 : (load * (weights[at] as number)) / total
    return { priority, locality, share, ...openOf(isPanic ? all : healthy, all) }
  })
}

function openOf(endpoints: readonly Endpoint[], all: readonly Endpoint[]): Pick<Tier, 'endpoints' | 'all' | 'closed'> {
  if (endpoints.length === all.length) return { endpoints, all, closed: null }
  const open = new Set(endpoints)
  return { endpoints, all, closed: new Set(all.filter((one) => !open.has(one)).map(nameOf)) }
}

/** What healthy ones of so many can bear, 0..1. */
function availability(healthy: number, count: number): number {
  return count === 0 ? 0 : Math.min(1, (OVERPROVISIONING * healthy) / count)
}

function sum<T>(of: readonly T[], read: (one: T) => number): number {
  let total = 0
  for (const one of of) total += read(one)
  return total
}
