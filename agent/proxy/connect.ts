// Step 7: a connection to the endpoint, made in the caller's own network namespace. Not without a permit.

import type { MatchedRule } from '../model/authorization/decision.ts'
import { addressText, familyOf, type SocketAddress } from '../model/address.ts'
import { type HostPolicy, NO_POLICY } from '../model/destination.ts'
import { failureOf, MeshError } from '../model/failure.ts'
import { type Caller, identityOf, workloadOf } from '../model/identity.ts'
import { type Link, linkNear, linkTo, plainLink, type Wish } from '../model/link.ts'
import { authorize, type Cargo, type Denial, type Permit, type Way } from '../model/permit.ts'
import { alpnOf, type Protocol } from '../model/protocol.ts'
import { type ProxyHeader, proxyHeader } from '../model/proxy-header.ts'
import { type Endpoint, nameOf } from '../model/service.ts'
import { type Snapshot, workloadAt } from '../model/snapshot.ts'
import type { Reached } from '../telemetry/ledger.ts'
import type { Call } from './classify.ts'
import { forwardedFor } from './forwarded.ts'
import { ENDLESS, type Term } from './plane/identities.ts'
import type { JoinedPod, MeshNode } from './plane/node.ts'
import type { Pool } from './plane/pool.ts'
import { type Fresh, originate, type Reaching, secure } from './secure.ts'
import { keepaliveOf } from './transport/keepalive.ts'
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
  /** What else the policy says of it. Nobody's says anything of what arrives at a pod. */
  readonly policy: HostPolicy
  /** What is told ahead of the first byte of who called, or null. */
  readonly header: ProxyHeader | null
  /** What the application is told of who calls (x-forwarded-client-cert); null: nothing, or it is another node's to tell. */
  readonly clientCert: string | null
}

/** Whether whoever a leg leads to was about to go already as it was chosen. */
export function isEnding({ endpoint, callee }: Leg): boolean {
  return endpoint.terminating || callee?.terminating === true
}

/** Judges, and gives the permit; or why this endpoint is not to be had, where another may be. Throws DENIED with the reason. */
export function permitted(snapshot: Snapshot, way: Way, cargo: Cargo): Permit | MeshError {
  const verdict = authorize(snapshot, way, cargo)
  if (!('denied' in verdict)) return verdict
  const failure = deniedBy(verdict)
  if (failure.kind.retry) return failure
  throw failure
}

/** Judges a leg that is in use by another snapshot; null: it may stay. What is secured stays so, whoever is announced by now. */
export function refusalOf(caller: Caller, leg: Leg, snapshot: Snapshot, cargo: Cargo): MeshError | null {
  const stays = isNear(leg) || leg.link.kind === 'tls'
  const link = stays ? leg.link : linkTo(snapshot, leg.endpoint, leg.wish)
  const verdict = authorize(snapshot, { ...wayOf(caller, leg, snapshot), link }, cargo)
  return 'denied' in verdict ? deniedBy(verdict) : null
}

function deniedBy({ code, denied, by, decision }: Denial): MeshError {
  return new MeshError(code, denied, undefined, code === 'DENIED' ? { by, decision, details: detailsOf(by) } : {})
}

/** In Envoy's words, as users of Istio know them. */
function detailsOf(by: MatchedRule | null): string {
  const rule = by === null ? 'none' : `ns[${by.policy.namespace}]-policy[${by.policy.name}]-rule[${by.rule}]`
  return `rbac_access_denied_matched_policy[${rule}]`
}

/**
 * Who wants to go where by a leg. Whose policies are judged here is told by the network namespace that a connection arrived
 * in, and by no address; of a pod that has gone meanwhile by what was known of it last.
 */
export function wayOf(caller: Caller, leg: Leg, { workloadByUid }: Snapshot): Way {
  const { endpoint, link, pod, callee } = leg
  if (!isNear(leg)) return { caller, endpoint, link, callee: undefined }
  const uid = leg.both ? callee?.uid : pod.captured.uid
  return { caller, endpoint, link, callee: (uid === undefined ? undefined : workloadByUid.get(uid)) ?? callee }
}

/** Whether it goes to an application of this very node. */
function isNear({ both, client }: Leg): boolean {
  return both || client !== undefined
}

/**
 * The way to an endpoint, as a policy wants its host reached. Where the callee is captured here too, this one walk stands
 * for both ends.
 */
export function legTo(
  to: { readonly endpoint: Endpoint; readonly wish: Wish & { readonly policy: HostPolicy } },
  call: Call,
  node: MeshNode,
  snapshot: Snapshot,
): Leg {
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
    const policy = NO_POLICY
    const header = null
    return {
      endpoint,
      callee,
      both: false,
      principal,
      pod,
      cookie,
      client: peer,
      link,
      wish,
      policy,
      header,
      clientCert,
    }
  }
  const { policy } = wish
  const header = headerOf(policy, call)
  const client = undefined
  const local = callee === null ? undefined : node.pods.get(callee.uid)
  if (local === undefined) {
    const link = linkTo(snapshot, endpoint, wish)
    const principal = link.kind === 'tls' ? link.identity : null
    const cookie = undefined
    const clientCert = null
    return { endpoint, callee, both: false, principal, pod, cookie, client, link, wish, policy, header, clientCert }
  }
  const { cookie } = local.captured
  const link = linkNear(snapshot, endpoint, wish)
  const clientCert = forwardedFor(caller, identity, mesh)
  const principal = identity
  return { endpoint, callee, both: true, principal, pod, cookie, client, link, wish, policy, header, clientCert }
}

function headerOf({ proxyProtocol: version }: HostPolicy, { peer, dialled }: Call): ProxyHeader | null {
  return version === null ? null : { version, source: peer, destination: dialled }
}

/** Whether a failure says that an endpoint could not be connected, and not that it may not be. */
export function isUnreached({ kind, code }: MeshError): boolean {
  return kind.step === 'connect' && kind.blame === 'upstream' && code !== 'OVERFLOW'
}

/** The pool of HTTP connections by this leg, for the pod that the call is one of. Not to be kept. `key`: see Towards. */
export function poolOf(leg: Leg, { pod }: Call, { pools }: MeshNode, key: string): Pool {
  const towards = { endpoint: nameOf(leg.endpoint), key, told: leg.header?.source ?? null }
  return pools.of(pod.captured.uid, towards, leg.client)
}

/** Gets what gives up the work under way, as often as that is another one. */
type Begun = (giveUp: () => void) => void

/**
 * Connects, and goes on by TLS where the permit says so. Throws SOCKET_LIMIT, CONNECT_REFUSED, CONNECT_TIMEOUT,
 * UPSTREAM_NOT_SECURED or UPSTREAM_TLS_FAILED. The channel is held until its owner resumes it.
 */
export async function connect(
  permit: Permit,
  leg: Leg,
  node: MeshNode,
  { protocol, begun }: { readonly protocol: Protocol; readonly begun?: Begun },
): Promise<Reaching> {
  const { maxDurationMs } = leg.policy.pool
  const reaching = await reach(permit, leg, node, { protocol, begun })
  // a flow is ended by then (tcp.ts); a connection of requests gets no further one
  if (maxDurationMs === null || protocol !== 'http') return reaching
  return { ...reaching, term: until(node.transport.nowMs + maxDurationMs, reaching.term) }
}

function until(endMs: number, term: Term): Term {
  return { isOver: (nowMs) => nowMs >= endMs || term.isOver(nowMs) }
}

async function reach(
  permit: Permit,
  leg: Leg,
  node: MeshNode,
  { protocol, begun }: { readonly protocol: Protocol; readonly begun: Begun | undefined },
): Promise<Reaching> {
  const { link } = permit
  switch (link.kind) {
    case 'plain': {
      const channel = await dial(permit, leg, node, begun)
      tell(leg, channel)
      return { channel, term: ENDLESS }
    }
    case 'tls': {
      const caller = workloadOf(permit.caller)
      const credentials = caller === null ? null : node.identities.ofPod(caller, node.snapshot.settings.mesh)
      if (credentials === null) throw new MeshError('UPSTREAM_NOT_SECURED', 'there is no certificate for the caller')
      const channel = await dial(permit, leg, node, begun)
      const endpoint = nameOf(permit.endpoint)
      // a header is for the application: what it stands ahead of is no HTTP to the node between
      const alpn = alpnOf(leg.header === null ? protocol : 'opaque')
      const reaching = await secure(freshOf(channel, leg, node), {
        credentials,
        alpn,
        endpoint,
        identity: link.identity,
      })
      tell(leg, reaching.channel)
      return reaching
    }
    case 'originated': {
      const material = node.materials.of(link.material) // before anything is dialled: without it nothing can come of it
      const channel = await dial(permit, leg, node, begun)
      tell(leg, channel) // ahead of TLS: who ends that is to know
      return originate(freshOf(channel, leg, node), { material, link, alpn: protocol === 'http' ? ['http/1.1'] : [] })
    }
  }
}

/** Whose connect time-out is short has no longer patience for a handshake. */
function freshOf(channel: Channel, { pod, policy }: Leg, node: MeshNode): Fresh {
  const { helloMs } = node.limits
  return { channel, node, pod, timeoutMs: Math.min(helloMs, policy.pool.connectTimeoutMs ?? helloMs) }
}

/** Tells who called, where a policy has it so. */
function tell({ header }: Leg, channel: Channel): void {
  if (header === null) return
  const bytes = Buffer.from(proxyHeader(header))
  channel.write(bytes, 0, bytes.length, null)
}

async function dial(permit: Permit, leg: Leg, node: MeshNode, begun?: Begun): Promise<Channel> {
  const { address } = permit.endpoint
  const { keepalive, connectTimeoutMs } = leg.policy.pool
  const fd = socketFor(leg, address)
  if (leg.client === undefined) {
    // the kernel would ask by this time-out, and not by the probes, whether an idle peer is dead (tcp(7))
    const asksProbes = keepalive !== null && (keepalive.probes !== null || keepalive.intervalMs !== null)
    node.sockets.setUserTimeout(fd, asksProbes ? 0 : node.limits.userTimeoutMs)
  }
  const channel = await node.transport.connect(fd, address, {
    timeoutMs: connectTimeoutMs ?? node.limits.connectTimeoutMs,
    budget: leg.pod.budget,
    keepalive: keepalive === null ? null : keepaliveOf(keepalive),
    begun,
  })
  begun?.(() => channel.reset()) // amid a handshake, mostly
  return channel
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
