// The snapshot that questions are answered from: compiled of the node's inventory when somebody asks, and kept for the next
// one, for most come while nothing changes.

import { compile, type Inventory, type Snapshot } from '../model/snapshot.ts'

export class KnownSnapshot {
  readonly #inventory: () => Inventory
  #known: Snapshot | null = null

  /** `inventory` has it as it stands; it has a version. */
  constructor(inventory: () => Inventory) {
    this.#inventory = inventory
  }

  /** Of the inventory as it is now. */
  now(): Snapshot {
    const inventory = this.#inventory()
    if (this.#known?.version !== inventory.version) this.#known = compile(inventory)
    return this.#known
  }
}
