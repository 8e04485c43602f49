// Step 7: a connection to the endpoint, made in the caller's own network namespace. Not without a permit.

import { addressText, familyOf, type SocketAddress } from '../model/address.ts'
import { failureOf, MeshError } from '../model/failure.ts'
import { type Caller, identityOf, workloadOf } from '../model/identity.ts'
import { type Link, linkNear, linkTo, plainLink, type Wish } from '../model/link.ts'
import { authorize, type Permit } from '../model/permit.ts'
import { alpnOf, type Protocol } from '../model/protocol.ts'
import { type Endpoint, nameOf } from '../model/service.ts'
import { type Snapshot, workloadAt } from '../model/snapshot.ts'
import type { Reached } from '../telemetry/ledger.ts'
import type { Call } from './classify.ts'
import { forwardedFor } from './forwarded.ts'
import { ENDLESS } from './plane/identities.ts'
import type { JoinedPod, MeshNode } from './plane/node.ts'
import { originate, type Reaching, secure } from './secure.ts'
import type { Channel } from './transport/transport.ts'

/** How an endpoint is reached from this node. */
export interface Leg extends Reached {
  /** In whose network namespace the socket is made. */
  readonly pod: JoinedPod
  /** Cookie of a callee that is captured on this node: its application gets the connection directly. */
  readonly cookie: string | undefined
  /** Whom the application is to see as its client; undefined: who dials is who called. */
  readonly client: SocketAddress | undefined
  readonly link: Link
  /** How a policy wanted the endpoint reached: asked again of each snapshot. */
  readonly wish: Wish
  /** What the application is told of who calls (x-forwarded-client-cert); null: nothing, or it is another node's to tell. */
  readonly clientCert: string | null
}

/** Judges, and gives the permit; or why this endpoint is not to be had, where another may be. Throws DENIED with the reason. */
export function permitFor(caller: Caller, { endpoint, link }: Leg): Permit | MeshError {
  const verdict = authorize(caller, endpoint, link)
  if (!('denied' in verdict)) return verdict
  const failure = new MeshError(verdict.code, verdict.denied)
  if (failure.kind.retry) return failure
  throw failure
}

/** Judges a leg that is in use by another snapshot; null: it may stay. What is secured stays so, whoever is announced by now. */
export function refusalOf(caller: Caller, leg: Leg, snapshot: Snapshot): MeshError | null {
  const stays = isNear(leg) || leg.link.kind === 'tls'
  const verdict = authorize(caller, leg.endpoint, stays ? leg.link : linkTo(snapshot, leg.endpoint, leg.wish))
  return 'denied' in verdict ? new MeshError(verdict.code, verdict.denied) : null
}

/** Whether it goes to an application of this very node. */
function isNear({ both, client }: Leg): boolean {
  return both || client !== undefined
}

/**
 * The way to an endpoint, as a policy wants its host reached. Where the callee is captured here too, this one walk stands
 * for both ends.
 */
export function legTo(to: { endpoint: Endpoint; wish: Wish }, call: Call, node: MeshNode, snapshot: Snapshot): Leg {
  const { endpoint, wish } = to
  const { pod, direction, peer, caller } = call
  const { mesh } = snapshot.settings
  const callee = workloadAt(snapshot, endpoint)
  const identity = callee === null ? null : identityOf(callee, mesh)
  if (direction === 'inbound') {
    const clientCert = forwardedFor(caller, identity, mesh)
    const cookie = pod.released ? undefined : pod.captured.cookie // released: nothing stands in the way any more
    const principal = caller.kind === 'peer' ? identity : null
    const link = plainLink(endpoint)
    return { endpoint, callee, both: false, principal, pod, cookie, client: peer, link, wish, clientCert }
  }
  const local = callee === null ? undefined : node.pods.get(callee.uid)
  if (local === undefined) {
    const link = linkTo(snapshot, endpoint, wish)
    const principal = link.kind === 'tls' ? link.identity : null
    const cookie = undefined
    return { endpoint, callee, both: false, principal, pod, cookie, client: undefined, link, wish, clientCert: null }
  }
  const { cookie } = local.captured
  const link = linkNear(snapshot, endpoint, wish)
  const clientCert = forwardedFor(caller, identity, mesh)
  return { endpoint, callee, both: true, principal: identity, pod, cookie, client: undefined, link, wish, clientCert }
}

/**
 * Connects, and goes on by TLS where the permit says so. Throws SOCKET_LIMIT, CONNECT_REFUSED, CONNECT_TIMEOUT,
 * UPSTREAM_NOT_SECURED or UPSTREAM_TLS_FAILED. The channel is held until its owner resumes it.
 */
export async function connect(permit: Permit, leg: Leg, node: MeshNode, protocol: Protocol): Promise<Reaching> {
  const { link } = permit
  switch (link.kind) {
    case 'plain':
      return { channel: await dial(permit, leg, node), term: ENDLESS }
    case 'tls': {
      const caller = workloadOf(permit.caller)
      const credentials = caller === null ? null : node.identities.ofPod(caller, node.snapshot.settings.mesh)
      if (credentials === null) throw new MeshError('UPSTREAM_NOT_SECURED', 'there is no certificate for the caller')
      const channel = await dial(permit, leg, node)
      const endpoint = nameOf(permit.endpoint)
      return secure(
        { channel, node, pod: leg.pod },
        { credentials, alpn: alpnOf(protocol), endpoint, identity: link.identity },
      )
    }
    case 'originated': {
      const material = node.materials.of(link.material) // before anything is dialled: without it nothing can come of it
      const channel = await dial(permit, leg, node)
      return originate(
        { channel, node, pod: leg.pod },
        { material, link, alpn: protocol === 'http' ? ['http/1.1'] : [] },
      )
    }
  }
}

async function dial(permit: Permit, leg: Leg, node: MeshNode): Promise<Channel> {
  const { address } = permit.endpoint
  const fd = socketFor(leg, address)
  if (leg.client === undefined) node.sockets.setUserTimeout(fd, node.limits.userTimeoutMs)
  return node.transport.connect(fd, address, { timeoutMs: node.limits.connectTimeoutMs, budget: leg.pod.budget })
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
