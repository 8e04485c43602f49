// A connection carried as bytes: routed, picked, permitted and connected once, then relayed.

import { addressText } from '../model/address.ts'
import { pickFor } from '../model/affinity.ts'
import { exhausted } from '../model/balance.ts'
import { failureOf, MeshError } from '../model/failure.ts'
import { type Caller, workloadOf } from '../model/identity.ts'
import type { Permit } from '../model/permit.ts'
import { type Backends, routeTcp } from '../model/route.ts'
import { isBlocked } from '../model/route-address.ts'
import { BLACK_HOLE } from '../model/service.ts'
import type { Snapshot } from '../model/snapshot.ts'
import { authorize } from '../model/permit.ts'
import { type Call, current } from './classify.ts'
import { allow, connectToPod, type Leg, legTo } from './connect.ts'
import type { Walk } from './plane/node.ts'
import { relay, type Relay } from './relay.ts'
import type { Channel } from './transport/transport.ts'

interface Connected {
  readonly upstream: Channel
  readonly leg: Leg
}

/** Carries a connection to its end. Throws the MeshError that it ended by; the caller's end is reset then. */
export async function carry(call: Call, caller: Caller, walk: Walk): Promise<void> {
  const { node, ledger, place } = walk
  const world = node.snapshot
  ledger.snapshot = world.version
  const target = call.target.kind === 'service' ? current(world, call.target) : call.target // sniffing took its time
  if (call.direction === 'outbound' && isBlocked(world, target)) {
    ledger.service = BLACK_HOLE
    throw new MeshError('BLACKHOLE_TCP', `nothing in the mesh stands for ${addressText(call.dialled)}`)
  }
  const backends = routeTcp(world, target, consumerOf(call, caller))
  ledger.routed(backends, null)
  const { upstream, leg } = await connectOne(backends, { call, caller, world }, walk)
  const name = addressText(leg.endpoint.address)
  node.load.begin(name)
  try {
    ledger.upstreamLocal = upstream.ends?.local ?? null
    ledger.established(leg)
    const flow = relay(call.channel, upstream, ledger, {
      fromCaller: call.first,
      fromUpstream: null,
      ended: call.ended,
    })
    place.occupant = occupant(
      flow,
      [call.channel, upstream],
      (snapshot) => forbidden(snapshot, caller, leg),
      node.limits,
    )
    // a snapshot that came while it was connecting found nobody in this place to judge
    const refusal = node.snapshot === world ? null : forbidden(node.snapshot, caller, leg)
    if (refusal !== null) flow.stop(refusal)
    await flow.done
  } finally {
    node.load.end(name)
  }
}

/** Namespace whose policies speak for the caller: its own, else that of what it dialled. */
export function consumerOf(call: Call, caller: Caller): string {
  return workloadOf(caller)?.namespace ?? call.service?.service.namespace ?? ''
}

/** Whom session affinity knows a caller by: its address. */
export function asker({ peer }: Call, { transport }: Walk['node']): { readonly ip: string; readonly nowMs: number } {
  return { ip: peer.ip, nowMs: transport.nowMs }
}

/** Tries endpoints until one is connected. No byte has been sent, so trying another is safe. */
async function connectOne(
  backends: Backends,
  { call, caller, world }: { readonly call: Call; readonly caller: Caller; readonly world: Snapshot },
  walk: Walk,
): Promise<Connected> {
  const { node, ledger, place } = walk
  const tried = new Set<string>()
  for (;;) {
    const endpoint = pickFor(backends, asker(call, node), node, tried)
    if (endpoint === null) throw new MeshError('NO_ENDPOINT', exhausted(backends))
    const permit: Permit = allow(caller, endpoint)
    const leg = legTo(endpoint, call, node, world)
    ledger.reached = leg
    try {
      const upstream = await place.until(connectToPod(permit, leg, walk), (late) => late.reset())
      return { upstream, leg }
    } catch (thrown) {
      const failure = failureOf(thrown)
      tried.add(addressText(endpoint.address))
      if (!failure.kind.retry || tried.size > node.limits.connectRetries || tried.size >= backends.endpoints.length) {
        throw failure
      }
      node.account.cells.plain('weft_retries_total', failure.code).value++
    } finally {
      place.asking = null
    }
  }
}

/** A flow's permit is judged again by each new snapshot; one to a pod that is gone has ended, though no packet says so. */
function forbidden(snapshot: Snapshot, caller: Caller, { endpoint, callee }: Leg): MeshError | null {
  if (callee !== null && !snapshot.workloadByUid.has(callee.uid))
    return new MeshError('UPSTREAM_RESET', 'its pod is gone')
  const verdict = authorize(caller, endpoint)
  return 'denied' in verdict ? new MeshError('DENIED', verdict.denied) : null
}

/** What the register may ask of a relay. */
export function occupant(
  flow: Relay,
  ends: readonly Channel[],
  judge: (snapshot: Snapshot) => MeshError | null,
  limits: { readonly idleMs: number },
): Walk['place']['occupant'] {
  return {
    overdue: (nowMs) => {
      const activeAt = Math.max(...ends.map((end) => end.activeAt))
      return nowMs - activeAt > limits.idleMs ? new MeshError('IDLE_TIMEOUT', 'no byte passed for too long') : null
    },
    forbidden: judge,
    stop: (reason) => flow.stop(reason),
    drain: () => {},
  }
}
