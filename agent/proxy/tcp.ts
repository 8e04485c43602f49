// A connection carried as bytes: routed, picked, permitted and connected once, then relayed.

import { pickFor } from '../model/affinity.ts'
import { exhausted } from '../model/balance.ts'
import { failureOf, MeshError } from '../model/failure.ts'
import { type Caller, workloadOf } from '../model/identity.ts'
import type { Permit } from '../model/permit.ts'
import { type Backends, keptFrom, routeTcp } from '../model/route.ts'
import { nameOf } from '../model/service.ts'
import type { Snapshot } from '../model/snapshot.ts'
import { authorize } from '../model/permit.ts'
import { type Call, current } from './classify.ts'
import { allow, connect, type Leg, legTo } from './connect.ts'
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
  const kept = keptFromCall(world, call, 'BLACK_HOLE_FLOW')
  if (kept !== null) throw kept
  const backends = routeTcp(world, target, consumerOf(call, caller))
  ledger.routed(backends, null)
  const { upstream, leg } = await connectOne(backends, { call, caller, world }, walk)
  const name = nameOf(leg.endpoint)
  node.load.begin(name)
  try {
    ledger.upstreamLocal = upstream.ends?.local ?? null
    ledger.established(leg)
    const flow = relay(call.channel, upstream, ledger, {
      fromCaller: call.first,
      fromUpstream: null,
    })
    const judge = judgeOf({ call, caller, leg, backends })
    place.occupant = occupant(flow, [call.channel, upstream], judge, node.limits)
    // a snapshot that came while it was connecting found nobody in this place to judge
    const refusal = node.snapshot === world ? null : judge(node.snapshot)
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

/** Tries endpoints until one is connected. No byte has been sent, so trying another is safe. */
async function connectOne(
  backends: Backends,
  { call, caller, world }: { readonly call: Call; readonly caller: Caller; readonly world: Snapshot },
  { node, ledger, place }: Walk,
): Promise<Connected> {
  const tried = new Set<string>()
  for (;;) {
    const endpoint = pickFor(call.peer.ip, backends, node, tried)
    if (endpoint === null) throw new MeshError('NO_ENDPOINT', exhausted(backends))
    const permit: Permit = allow(caller, endpoint)
    const leg = legTo(endpoint, call, node, world)
    ledger.reached = leg
    try {
      const upstream = await place.until(connect(permit, leg, node), (late) => late.reset())
      return { upstream, leg }
    } catch (thrown) {
      const failure = failureOf(thrown)
      tried.add(nameOf(endpoint))
      if (!failure.kind.retry || tried.size > node.limits.connectRetries || tried.size >= backends.endpoints.length) {
        throw failure
      }
      node.account.cells.plain('weft_retries_total', failure.code).value++
    }
  }
}

/** Judges a flow, or a tunnel, again by each new snapshot: its permit, and whether what was dialled may be reached at all. */
export function judgeOf(flow: {
  readonly call: Call
  readonly caller: Caller
  readonly leg: Leg
  readonly backends: Backends
}): (snapshot: Snapshot) => MeshError | null {
  return (snapshot) => {
    const verdict = authorize(flow.caller, flow.leg.endpoint)
    if ('denied' in verdict) return new MeshError('DENIED', verdict.denied)
    return flow.backends.isUnknown ? keptFromCall(snapshot, flow.call, 'BLACK_HOLE_FLOW') : null
  }
}

/**
 * Why this snapshot keeps the caller from what it dialled, or null. Asked only of what nobody knew as the connection came,
 * and may know by now: that a pod or Service is gone is no reason to cut off what still comes from it.
 */
export function keptFromCall(
  snapshot: Snapshot,
  { target, direction, dialled }: Call,
  code: Parameters<typeof keptFrom>[2],
): MeshError | null {
  return target.kind === 'unknown' && direction === 'outbound' ? keptFrom(snapshot, dialled, code) : null
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
