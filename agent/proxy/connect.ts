// Step 7: a connection to the endpoint, made in the caller's own network namespace. Not without a permit.

import { addressText, familyOf, type SocketAddress } from '../model/address.ts'
import { failureOf, MeshError } from '../model/failure.ts'
import { authorize, type Permit } from '../model/permit.ts'
import type { Caller } from '../model/identity.ts'
import type { Endpoint } from '../model/service.ts'
import { type Snapshot, workloadAt } from '../model/snapshot.ts'
import type { Reached } from '../telemetry/ledger.ts'
import type { Call } from './classify.ts'
import type { JoinedPod, MeshNode, Walk } from './plane/node.ts'
import type { Channel } from './transport/transport.ts'

/** How an endpoint is reached from this node. */
export interface Leg extends Reached {
  /** In whose network namespace the socket is made. */
  readonly pod: JoinedPod
  /** Cookie of a callee that is captured on this node: its application gets the connection directly. */
  readonly cookie: string | undefined
  /** Whom the application is to see as its client; undefined: who dials is who called. */
  readonly client: SocketAddress | undefined
}

/** Judges, and gives the permit. Throws DENIED with the policy's reason. */
export function allow(caller: Caller, endpoint: Endpoint): Permit {
  const verdict = authorize(caller, endpoint)
  if ('denied' in verdict) throw new MeshError('DENIED', verdict.denied)
  return verdict
}

/** The way to an endpoint. Where the callee is captured here too, this one walk stands for both ends. */
export function legTo(endpoint: Endpoint, call: Call, node: MeshNode, snapshot: Snapshot): Leg {
  const { pod, direction, peer } = call
  const callee = workloadAt(snapshot, endpoint)
  if (direction === 'inbound') {
    const cookie = pod.released ? undefined : pod.captured.cookie // released: nothing stands in the way any more
    return { endpoint, callee, both: false, pod, cookie, client: peer }
  }
  const local = callee === null ? undefined : node.pods.get(callee.uid)
  return { endpoint, callee, both: local !== undefined, pod, cookie: local?.captured.cookie, client: undefined }
}

/**
 * Connects. Throws SOCKET_LIMIT, CONNECT_REFUSED or CONNECT_TIMEOUT. The channel is held until its owner
 * resumes it.
 */
export async function connect(permit: Permit, leg: Leg, node: MeshNode): Promise<Channel> {
  const { address } = permit.endpoint
  return node.transport.connect(socketFor(leg, address), address, node.limits.connectTimeoutMs)
}

/**
 * Connects as `connect` does, and gives up as soon as the pod is gone (CONNECT_REFUSED): where its network was, nothing
 * answers a SYN, and it would be sent again until the time is up.
 */
export function connectToPod(permit: Permit, leg: Leg, { node, place }: Walk): Promise<Channel> {
  const connecting = connect(permit, leg, node)
  const callee = leg.callee?.uid
  if (callee === undefined) return connecting
  return new Promise((resolve, reject) => {
    let isGone = false
    place.asking = {
      callee,
      lost: (cause) => {
        isGone = true
        reject(new MeshError('CONNECT_REFUSED', cause.message))
      },
    }
    connecting.then(
      (channel) => (isGone ? channel.reset() : resolve(channel)),
      (thrown: unknown) => reject(failureOf(thrown)),
    )
  })
}

function socketFor({ pod, cookie, client }: Leg, address: SocketAddress): number {
  try {
    return pod.sockets.socket({
      family: familyOf(address.ip),
      ...(cookie === undefined ? {} : { callee: cookie }),
      ...(client === undefined ? {} : { client }),
    })
  } catch (thrown) {
    const { message } = failureOf(thrown)
    throw new MeshError('SOCKET_LIMIT', `no socket towards ${addressText(address)}: ${message}`, thrown)
  }
}
