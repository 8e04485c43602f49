// What the connections of one pod may hold of the mesh's memory: beyond it that pod's connections alone are given up.

import { MeshError } from '../../model/failure.ts'

export class Budget {
  /** Bytes now held: written and not taken by the kernel, or read ahead of their turn. */
  held = 0
  readonly limit: number

  constructor(limit: number) {
    this.limit = limit
  }

  /** Whether nothing more may be held. */
  get spent(): boolean {
    return this.held > this.limit
  }

  /**
   * Whether half of it is held. What can be done without is not kept then: others' connections would be given up for what
   * serves a second try, or a copy.
   */
  get scarce(): boolean {
    return this.held > this.limit / 2
  }

  /** Why a connection that would hold more is given up. */
  failure(): MeshError {
    return new MeshError('BUFFER_LIMIT', `connections of one pod hold ${this.held} bytes, ${this.limit} are allowed`)
  }
}

/** For what belongs to no pod. */
export const UNBOUNDED = new Budget(Infinity)
