// A captured pod's sockets as sock_diag tells them: which connections are open, where it listens; and the end of some.
import type { SocketAddress } from '../../model/address.ts'
import type { OpenConnection } from '../kernel.ts'
import { type ConnectionRow, readConnections, readListening } from '../layout.ts'
import { must, native } from '../native.ts'
import type { NodePrograms } from '../programs/node.ts'

/** Where a pod's sockets are: its network namespace, and the one to return to. */
export interface Place {
  readonly netns: number
  readonly home: number
}

/** The connections now open in a pod that leave it, but the proxy's own. Throws KernelError. */
export function readOpen(place: Place, programs: NodePrograms): OpenConnection[] {
  return rows(place, programs)
    .filter((row) => !row.own && (row.tally !== null || !row.inside))
    .map(({ own: _, inside: __, ...connection }) => connection)
}

/** The pod's ends of all connections that leave it, the proxy's too. Throws KernelError. */
export function readLocalEnds(place: Place, programs: NodePrograms): SocketAddress[] {
  return rows(place, programs)
    .filter(({ inside }) => !inside)
    .map(({ local }) => local)
}

/** Ports that somebody outside could ask for. Throws KernelError. */
export function readListeningPorts({ netns, home }: Place): ReadonlySet<number> {
  const { status, found } = native().listenersIn(netns, home)
  must(status, 'read the listeners of a pod')
  return new Set(readListening(found).map(({ place }) => Number(place & 0xffffn)))
}

/** Resets connections by their sockets' cookies. Returns how many were still there. Throws KernelError. */
export function resetConnections({ netns, home }: Place, sockets: readonly bigint[]): number {
  return must(native().resetIn(netns, home, new BigUint64Array(sockets)), 'reset connections of a pod')
}

function rows({ netns, home }: Place, programs: NodePrograms): ConnectionRow[] {
  const [counted, own] = [programs.map('counted'), programs.map('own')]
  const ids = [native().readMap(counted).id, native().readMap(own).id] as const
  const { status, found } = native().connectionsIn(netns, home, counted, own, ...ids)
  must(status, 'read the connections of a pod')
  return readConnections(found)
}
