// Takes the pieces of a delta and makes the next snapshot of them, in slices. It is put in force whole, once the last piece
// is in; until then, and where it cannot be made, the one before decides.

import { Draft, nothing, type Refusal } from '../../model/build.ts'
import type { Piece } from '../../model/delta.ts'
import type { MeshNode } from './node.ts'
import { inSlices } from './slices.ts'

/** What became of a piece: the next is wanted, its version is now in force, or cannot be. */
export type Taken = 'next' | 'applied' | { readonly rejected: string }

export class Swap {
  readonly #node: Pick<MeshNode, 'snapshot'>
  readonly #onRefused: (refusal: Refusal) => void
  #draft: Draft | null = null

  constructor(node: Pick<MeshNode, 'snapshot'>, onRefused: (refusal: Refusal) => void) {
    this.#node = node
    this.#onRefused = onRefused
  }

  /** Takes one piece; the next may come once this has resolved. Never rejects. */
  async take(piece: Piece): Promise<Taken> {
    const { version, from, first, last } = piece
    const { snapshot } = this.#node
    if (from !== 0 && from !== snapshot.version) {
      return { rejected: `it changes version ${from}, and ${snapshot.version} is in force` }
    }
    try {
      if (first) this.#draft = new Draft(from === 0 ? nothing(piece.settings) : snapshot, snapshot, this.#onRefused)
      const draft = this.#draft
      if (draft === null) return { rejected: `the beginning of version ${version} is missing` }
      await inSlices(draft.add(piece))
      if (!last) return 'next'
      this.#node.snapshot = await inSlices(draft.done(version))
      this.#draft = null
      return 'applied'
    } catch (thrown) {
      this.#draft = null
      return { rejected: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) }
    }
  }
}
