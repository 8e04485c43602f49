// Who has an address where several claim it: the first in an order that every node agrees on, whichever came first.

import { type Edit, Layered } from './layered.ts'

export interface Claims<T> {
  /** Who has it. */
  readonly owner: Layered<T>
  /** All who claim it, where that is more than one. */
  readonly rivals: Layered<readonly T[]>
}

export function noClaims<T>(): Claims<T> {
  return { owner: Layered.empty(), rivals: Layered.empty() }
}

/** The claims after these. */
export class ClaimsEdit<T> {
  readonly #owner: Edit<T>
  readonly #rivals: Edit<readonly T[]>
  readonly #nameOf: (claimant: T) => string

  /** `nameOf` gives the order; the least name wins. */
  constructor(before: Claims<T>, nameOf: (claimant: T) => string) {
    this.#owner = before.owner.edit()
    this.#rivals = before.rivals.edit()
    this.#nameOf = nameOf
  }

  claim(key: string, claimant: T): void {
    this.#put(key, insertedByName(this.#all(key), claimant, this.#nameOf))
  }

  /** Takes back what a claimant of this name claims. */
  withdraw(key: string, name: string): void {
    this.#put(
      key,
      this.#all(key).filter((one) => this.#nameOf(one) !== name),
    )
  }

  *done(): Generator<void, Claims<T>> {
    return { owner: yield* this.#owner.done(), rivals: yield* this.#rivals.done() }
  }

  #all(key: string): readonly T[] {
    const rivals = this.#rivals.get(key)
    if (rivals !== undefined) return rivals
    const owner = this.#owner.get(key)
    return owner === undefined ? [] : [owner]
  }

  #put(key: string, all: readonly T[]): void {
    const [first] = all
    if (first === undefined) this.#owner.delete(key)
    else this.#owner.set(key, first)
    if (all.length > 1) this.#rivals.set(key, all)
    else if (this.#rivals.get(key) !== undefined) this.#rivals.delete(key)
  }
}

/** A list in order of names with one more in it, behind those of its own name. */
export function insertedByName<T>(list: readonly T[], one: T, nameOf: (one: T) => string): readonly T[] {
  const name = nameOf(one)
  const at = list.findIndex((other) => nameOf(other) > name)
  return at < 0 ? [...list, one] : list.toSpliced(at, 0, one)
}
