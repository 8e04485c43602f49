// What a captured pod's closed connections carried, as the programs summed it.
import { isSelfDial } from '../../model/self-dial.ts'
import type { Tally } from '../kernel.ts'
import { TALLY_BYTES, TALLY_KEY_BYTES, readTally, readTallyKey, spillKey } from '../layout.ts'
import { DIRECTIONS, PASSAGES } from '../layout.ts'
import { must, native } from '../native.ts'

/** Makes sure that there is room for what will find none of its own. */
export function keepSpill(tallies: number): void {
  const none = new Uint8Array(TALLY_BYTES)
  const there = new Uint8Array(TALLY_BYTES)
  for (const direction of DIRECTIONS) {
    for (const passage of PASSAGES) {
      const key = spillKey(direction, passage)
      if (native().mapGet(tallies, key, there) < 0) must(native().mapPut(tallies, key, none), 'keep a tally')
    }
  }
}

/** All sums of a pod, but that of the agent's own dials. Throws KernelError. */
export function readTallies(tallies: number, uid: string): Tally[] {
  const bound = native().readMap(tallies).entries // of a map that was pinned, an earlier agent's choice
  const keys = new Uint8Array(bound * TALLY_KEY_BYTES)
  const values = new Uint8Array(bound * TALLY_BYTES)
  const count = must(native().mapList(tallies, keys, values, bound), 'read the tallies')
  return Array.from({ length: count }, (_, i) => ({
    uid,
    ...readTallyKey(keys, i * TALLY_KEY_BYTES),
    ...readTally(values, i * TALLY_BYTES),
  })).filter(({ opened, closed, remote }) => opened + closed > 0 && !(remote !== null && isSelfDial(remote)))
}
