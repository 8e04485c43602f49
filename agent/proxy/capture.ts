// Step 1: who dialled, and whom. The kernel knows; without its word nothing is forwarded.

import { isLoopback, type SocketAddress } from '../model/address.ts'
import { MeshError } from '../model/failure.ts'
import type { Arrival, JoinedPod, MeshNode } from './plane/node.ts'
import type { Ends } from './transport/transport.ts'

/** An accepted connection, and where it was going. */
export interface Captured extends Arrival {
  readonly dialled: SocketAddress
  readonly peer: SocketAddress
}

/**
 * Reads the original destination. Throws NO_ORIGINAL_DESTINATION, OWN_LISTENER, CALLER_RESET where the caller has gone
 * already, and SOCKET_LIMIT where its pod has too many connections.
 */
export function capture(arrival: Arrival, node: MeshNode): Captured {
  const { pod, direction, fd } = arrival
  if (pod.connections > node.limits.podConnections)
    throw new MeshError('SOCKET_LIMIT', 'too many connections of one pod')
  const ends = endsOf(fd, node)
  const dialled = direction === 'inbound' ? ends.local : node.sockets.origin(fd)
  if (dialled === null) throw new MeshError('NO_ORIGINAL_DESTINATION', 'the kernel does not know where it was going')
  if (isOwnListener(dialled, pod)) throw new MeshError('OWN_LISTENER', "a listener of the mesh's own was dialled")
  // on the wire the application dials from loopback; it takes itself to be at its pod's address, and so does the record
  const peer = direction === 'inbound' ? ends.remote : { ip: pod.captured.ip, port: ends.remote.port }
  return { ...arrival, dialled, peer }
}

function endsOf(fd: number, node: MeshNode): Ends {
  try {
    return node.sockets.ends(fd)
  } catch (thrown) {
    throw new MeshError('CALLER_RESET', 'the caller was gone before it was served', thrown)
  }
}

function isOwnListener({ ip, port }: SocketAddress, { captured }: JoinedPod): boolean {
  if (port !== captured.outbound.port && port !== captured.inbound.port) return false
  return ip === captured.ip || isLoopback(ip)
}
