// A set of names on disk: a folder with an empty file a name. It outlives the process and the machine's restart, and a
// program without a parser asks it by one access(2).

import { mkdirSync, readdirSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Names in one folder; what is more is not kept. */
export const NAMES_MAX = 16_384
const NAME = /^[A-Za-z0-9][A-Za-z0-9.-]{0,127}$/

/** A set of names; each change is on disk when the call returns. */
export class NameFolder {
  readonly #path: string
  readonly #names: Set<string>

  /** Makes the folder, for root alone. Throws what fs throws where it cannot. */
  constructor(path: string) {
    this.#path = path
    mkdirSync(path, { recursive: true, mode: 0o700 })
    this.#names = new Set(readdirSync(path).filter((name) => NAME.test(name)))
  }

  has(name: string): boolean {
    return this.#names.has(name)
  }

  get size(): number {
    return this.#names.size
  }

  /** Names that could not be file names are left out. Throws what fs throws. */
  add(name: string): void {
    if (this.#names.has(name) || !NAME.test(name) || this.#names.size >= NAMES_MAX) return
    writeFileSync(join(this.#path, name), '', { mode: 0o600 })
    this.#names.add(name)
  }

  /** Keeps what passes, deletes the others. Throws what fs throws. */
  keep(isKept: (name: string) => boolean): void {
    for (const name of this.#names) {
      if (isKept(name)) continue
      try {
        unlinkSync(join(this.#path, name))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      }
      this.#names.delete(name)
    }
  }
}
