// Where an object that guards pods is kept: of the pods that it is for, which are not captured, so that nobody refuses
// anything in front of them. Pure.

import type { RequestAuthentication } from './authentication/request-authentication.ts'
import type { Aim, AuthorizationPolicy } from './authorization/policy.ts'
import { isAimedAt } from './authorization/protection.ts'
import { type Ground, losesKey } from './conflict.ts'
import { type PeerAuthentication, peerModesOf, peersByNamespace, saysStrict } from './peer-authentication.ts'

/** The joined pods that one object is for; of a PeerAuthentication those that it makes STRICT, at one port at least. */
export interface Enforcement {
  readonly pods: number
  /** Those that are not captured, as `namespace/name`: how many, and the first few in order. */
  readonly uncaptured: number
  readonly named: readonly string[]
}

/** Pods that are named of those that are not captured. */
const NAMED = 5

/** How it stands with every object that says STRICT, by `losesKey`. An object that another overrides makes no pod so. */
export function enforcements(
  all: readonly PeerAuthentication[],
  { pods, rootNamespace }: Pick<Ground, 'pods' | 'rootNamespace'>,
): ReadonlyMap<string, Enforcement> {
  const demanding = all.filter(saysStrict)
  if (demanding.length === 0) return new Map()
  const ground = { byNamespace: peersByNamespace(all), rootNamespace }
  const found = new Map(demanding.map(({ ref }) => [losesKey(ref), { pods: 0, missing: [] as string[] }]))
  for (const pod of pods) {
    const { others, ports } = peerModesOf(pod, ground)
    const strict = [others, ...ports.values()].filter(({ mode }) => mode === 'STRICT')
    for (const key of new Set(strict.flatMap(({ by }) => (by === null ? [] : [losesKey(by)])))) {
      const under = found.get(key)
      if (under === undefined) continue
      under.pods++
      if (pod.captured === null) under.missing.push(`${pod.namespace}/${pod.name}`)
    }
  }
  return toldOf(found)
}

/** How it stands with every AuthorizationPolicy that is to have an effect, by `losesKey`. */
export function authorizationEnforcements(
  all: readonly AuthorizationPolicy[],
  ground: Pick<Ground, 'pods' | 'rootNamespace'>,
): ReadonlyMap<string, Enforcement> {
  return guarding(
    all.filter(({ action, dryRun, rules }) => !dryRun && (action === 'ALLOW' || rules.length > 0)),
    ground,
  )
}

/** How it stands with every RequestAuthentication that has a rule, by `losesKey`. */
export function authenticationEnforcements(
  all: readonly RequestAuthentication[],
  ground: Pick<Ground, 'pods' | 'rootNamespace'>,
): ReadonlyMap<string, Enforcement> {
  return guarding(
    all.filter(({ rules }) => rules.length > 0),
    ground,
  )
}

/** Which pods are behind a Service is not known here: of what is attached to Services nothing is said. */
function guarding(
  all: readonly Aim[],
  { pods, rootNamespace }: Pick<Ground, 'pods' | 'rootNamespace'>,
): ReadonlyMap<string, Enforcement> {
  const byNamespace = Map.groupBy(pods, ({ namespace }) => namespace)
  const found = new Map<string, Found>()
  for (const aim of all) {
    if (aim.targets !== null) continue
    const { namespace } = aim.ref
    const near = namespace === rootNamespace ? pods : (byNamespace.get(namespace) ?? [])
    const under = near.filter((pod) => isAimedAt(aim, pod, []))
    const missing = under.filter(({ captured }) => captured === null)
    found.set(losesKey(aim.ref), {
      pods: under.length,
      missing: missing.map((pod) => `${pod.namespace}/${pod.name}`),
    })
  }
  return toldOf(found)
}

interface Found {
  readonly pods: number
  readonly missing: string[]
}

function toldOf(found: ReadonlyMap<string, Found>): ReadonlyMap<string, Enforcement> {
  const told = [...found].map(([key, { pods: count, missing }]): [string, Enforcement] => [
    key,
    { pods: count, uncaptured: missing.length, named: missing.sort().slice(0, NAMED) },
  ])
  return new Map(told)
}
