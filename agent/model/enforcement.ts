// Where a PeerAuthentication that demands Weft TLS is kept: of the pods that it decides for, which are not captured, so
// that nobody refuses plaintext in front of them. Pure.

import { type Ground, losesKey } from './conflict.ts'
import { type PeerAuthentication, peerModesOf, peersByNamespace, saysStrict } from './peer-authentication.ts'

/** The joined pods that one object makes STRICT, at one port at least. */
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
  const told = [...found].map(([key, { pods: count, missing }]): [string, Enforcement] => [
    key,
    { pods: count, uncaptured: missing.length, named: missing.sort().slice(0, NAMED) },
  ])
  return new Map(told)
}
