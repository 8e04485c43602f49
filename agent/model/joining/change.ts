// What of a namespace's own words changes as it joins or leaves.

import type { Deed, Wishes } from './scene.ts'

/** The word that joins. */
const ENABLED = 'enabled'

/** What is written. Each part null: it stays as it is. */
export interface Change {
  readonly annotation: { readonly from: string | null; readonly to: string | null } | null
  readonly label: { readonly from: string; readonly to: null } | null
  /** What is worth knowing of it, a sentence each. */
  readonly notes: readonly string[]
}

/** Whether somebody with these words asks for the mesh: the annotation counts before the label. */
export function asksFor({ annotation, label }: Wishes): boolean {
  return (annotation ?? label) === ENABLED
}

/** The least that makes a namespace join or leave. Nothing where it is so already. */
export function changeOf(deed: Deed, wishes: Wishes): Change {
  const { annotation, label } = wishes
  if (asksFor(wishes) === (deed === 'join')) return unchanged(deed, wishes)
  if (deed === 'join') return { annotation: { from: annotation, to: ENABLED }, label: null, notes: overridden(wishes) }
  const isLabelled = label === ENABLED
  return {
    annotation: annotation === null ? null : { from: annotation, to: null },
    label: isLabelled ? { from: label, to: null } : null,
    notes: isLabelled ? ['it joined by its label, too, which is taken away with the annotation'] : [],
  }
}

function unchanged(deed: Deed, { annotation, label }: Wishes): Change {
  const nothing = { annotation: null, label: null }
  if (deed === 'leave') return { ...nothing, notes: ['it is not in the mesh'] }
  if (annotation === null) return { ...nothing, notes: ['it has joined already, by its label'] }
  const isAgainst = label !== null && label !== ENABLED
  const against = isAgainst ? [`its label weft.dev/mesh says '${label}': the annotation counts before it`] : []
  return { ...nothing, notes: ['it has joined already', ...against] }
}

/** What the namespace says today that no longer counts. */
function overridden({ annotation, label }: Wishes): readonly string[] {
  if (annotation !== null) return [`its annotation weft.dev/mesh says '${annotation}' today`]
  if (label !== null) return [`its label weft.dev/mesh says '${label}': the annotation counts before it`]
  return []
}
