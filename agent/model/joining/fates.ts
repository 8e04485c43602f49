// What becomes of each pod of a namespace that joins or leaves.

import type { Deed, Scene, ScenePod } from './scene.ts'

/**
 * `changes`: it is captured, or released. `waits`: it will be once it runs. `cannot`: it is to be captured, and never is.
 * `stays`: its own words keep it where it is. `apart`: it has nothing to do with it.
 */
export type FateKind = 'changes' | 'waits' | 'cannot' | 'stays' | 'apart'

export interface Fate {
  readonly uid: string
  readonly name: string
  /** Null while it is not scheduled. */
  readonly node: string | null
  readonly kind: FateKind
  /** Why, for all but `changes`; the agents' own words where they have some. */
  readonly reason: string | null
  /** Whether an agent has announced to have captured it by now. */
  readonly captured: boolean
}

/** The fate of every pod, in the order of their names. */
export function fatesOf(deed: Deed, { pods, agents }: Scene): readonly Fate[] {
  const { compare } = new Intl.Collator('en', { numeric: true })
  const fate = (pod: ScenePod): Pick<Fate, 'kind' | 'reason'> => (deed === 'join' ? joining(pod, agents) : leaving(pod))
  return pods
    .map((pod) => {
      const { uid, name, node, captured } = pod
      return { uid, name, node, ...fate(pod), captured: captured !== null }
    })
    .sort((one, other) => compare(one.name, other.name))
}

function joining(pod: ScenePod, agents: Scene['agents']): Pick<Fate, 'kind' | 'reason'> {
  const { wish, unfit, node, terminating, isRunning } = pod
  if (wish !== null && wish !== 'enabled') return { kind: 'stays', reason: `its own weft.dev/mesh says '${wish}'` }
  if (unfit !== null) return { kind: 'cannot', reason: unfit }
  if (terminating) return { kind: 'apart', reason: 'it is being ended' }
  if (node === null) return { kind: 'waits', reason: 'not scheduled to a node yet' }
  if (!agents.has(node)) return { kind: 'cannot', reason: 'no agent on its node' }
  if (!isRunning) return { kind: 'waits', reason: 'it does not run yet' }
  return { kind: 'changes', reason: null }
}

function leaving({ wish, unfit, captured, terminating }: ScenePod): Pick<Fate, 'kind' | 'reason'> {
  if (wish === 'enabled') return { kind: 'stays', reason: "its own weft.dev/mesh says 'enabled'" }
  if (wish !== null) return { kind: 'apart', reason: `its own weft.dev/mesh says '${wish}'` }
  if (captured === null) return { kind: 'apart', reason: unfit ?? 'it is not captured' }
  return terminating ? { kind: 'apart', reason: 'it is being ended' } : { kind: 'changes', reason: null }
}
