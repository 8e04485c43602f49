// What agents leave on a node so that the next one can go on, and the end of it where none will come.

import { rmdirSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { pinRootOf, runDirOf } from '../config.ts'
import { pinsAt } from '../kernel/programs/pins.ts'

/**
 * Removes pinned captures, of older agents too, and the folder in which agents meet, with the keys in it. Idempotent.
 * Throws what fs throws, or KernelError, behind all that it could do.
 */
export function removeTraces(places: Parameters<typeof pinRootOf>[0]): void {
  try {
    pinsAt(pinRootOf(places)).remove()
    removeIfEmpty(dirname(pinRootOf(places)))
  } finally {
    rmSync(runDirOf(places), { recursive: true, force: true })
  }
}

/** A folder that agents of other nodes share on a machine of several, or that is a mount, stays. */
function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder)
  } catch {
    // it is not empty, or not there
  }
}
