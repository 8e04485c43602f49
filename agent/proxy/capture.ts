// Step 1: who dialled, and whom. The kernel knows; without its word nothing is forwarded.

import { familyOf, isLoopback, type SocketAddress } from '../model/address.ts'
import { isSelfDial } from '../model/self-dial.ts'
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
 * already, and SOCKET_LIMIT where its pod has too many connections. A self-dial is nobody's connection.
 */
export function capture(arrival: Arrival, node: Pick<MeshNode, 'sockets' | 'limits'>): Captured | 'self-dial' {
  const { pod, direction, fd } = arrival
  if (pod.nodeConnections > node.limits.podConnections)
    throw new MeshError('SOCKET_LIMIT', 'too many connections of one pod')
  const ends = endsOf(fd, node)
  const dialled = direction === 'inbound' ? ends.local : node.sockets.origin(fd)
  if (dialled === null) throw new MeshError('NO_ORIGINAL_DESTINATION', 'the kernel does not know where it was going')
  const ofOurs = isOwnListener(dialled, pod)
  // from outside that port can be dialled only while the agent looks whether capture works
  if (isSelfDial(dialled) || (ofOurs && direction === 'inbound')) return 'self-dial'
  if (ofOurs) throw new MeshError('OWN_LISTENER', "a listener of the mesh's own was dialled")
  return { ...arrival, dialled, peer: direction === 'inbound' ? ends.remote : selfOf(pod, dialled, ends.remote) }
}

/**
 * On the wire an application dials from loopback; it takes itself to be at its pod's address of the family that it dials,
 * and so does the record. A pod without such an address is told as the wire has it.
 */
function selfOf({ captured }: JoinedPod, dialled: SocketAddress, onWire: SocketAddress): SocketAddress {
  const family = familyOf(dialled.ip)
  return { ip: captured.ips.find((ip) => familyOf(ip) === family) ?? onWire.ip, port: onWire.port }
}

function endsOf(fd: number, node: Pick<MeshNode, 'sockets'>): Ends {
  try {
    return node.sockets.ends(fd)
  } catch (thrown) {
    throw new MeshError('CALLER_RESET', 'the caller was gone before it was served', thrown)
  }
}

function isOwnListener({ ip, port }: SocketAddress, { captured }: JoinedPod): boolean {
  return captured.listeners.some((own) => own.port === port) && (isLoopback(ip) || captured.ips.includes(ip))
}
