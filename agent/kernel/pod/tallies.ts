// What a captured pod's connections carried: the closed ones as the programs summed them, the open ones as sock_diag
// tells them.
import { isSelfDial } from '../../model/self-dial.ts'
import type { OpenConnection, Tally } from '../kernel.ts'
import { TALLY_BYTES, TALLY_KEY_BYTES, readConnections, readTally, readTallyKey, spillKey } from '../layout.ts'
import { DIRECTIONS, PASSAGES } from '../layout.ts'
import { must, native } from '../native.ts'
import type { NodePrograms } from '../programs/node.ts'

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

/** The connections now open in a pod that leave it, but the proxy's own. Throws KernelError. */
export function readOpen(netns: number, home: number, programs: NodePrograms): OpenConnection[] {
  const [counted, own] = [programs.map('counted'), programs.map('own')]
  const ids = [native().readMap(counted).id, native().readMap(own).id] as const
  const { status, found } = native().connectionsIn(netns, home, counted, own, ...ids)
  must(status, 'read the connections of a pod')
  return readConnections(found)
    .filter((row) => !row.own && (row.tally !== null || !row.inside))
    .map(({ socket, sentBytes, receivedBytes, tally }) => ({ socket, sentBytes, receivedBytes, tally }))
}
