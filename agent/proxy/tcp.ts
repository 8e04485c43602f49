// A connection carried as bytes: routed, picked, permitted and connected once, then relayed.

import { pickFor } from '../model/affinity.ts'
import { exhausted } from '../model/balance.ts'
import { failureOf, MeshError } from '../model/failure.ts'
import { type Caller, namespaceOf } from '../model/identity.ts'
import { type Backends, keptFrom, routeTcp } from '../model/route.ts'
import { nameOf } from '../model/service.ts'
import type { Snapshot } from '../model/snapshot.ts'
import { plaintextRefusal } from './authenticate.ts'
import { type Call, current } from './classify.ts'
import { connect, type Leg, legTo, permitFor, refusalOf } from './connect.ts'
import { firstWord, type Said } from './opening.ts'
import type { Term } from './plane/identities.ts'
import type { Walk } from './plane/node.ts'
import { type Ahead, relay, type Relay } from './relay.ts'
import type { Reaching } from './secure.ts'
import type { Channel } from './transport/transport.ts'

interface Connected {
  readonly upstream: Reaching
  readonly leg: Leg
}

/**
 * Carries a connection to its end, and returns null. Of one that was silent, and then begins the mesh's TLS before a byte was
 * passed on, it returns how it begins: nothing has been done with it then. Throws the MeshError that it ended by; the
 * caller's end is reset then.
 */
export async function carry(call: Call, caller: Caller, walk: Walk): Promise<(Said & { kind: 'hello' }) | null> {
  const { node, ledger, place } = walk
  const world = node.snapshot
  ledger.snapshot = world.version
  const target = call.target.kind === 'service' ? current(world, call.target) : call.target // sniffing took its time
  const kept = keptFromCall(world, call, 'BLACK_HOLE_FLOW')
  if (kept !== null) throw kept
  const backends = routeTcp(world, target, consumerOf(call, caller))
  ledger.routed(backends, null)
  const { upstream, leg } = await connectOne(backends, { call, caller, world }, walk)
  const { channel } = upstream
  let ahead: Ahead = { fromCaller: call.first, fromUpstream: null }
  if (call.silent) {
    const heard = firstWord(call.channel, channel, {
      ...{ limits: node.limits, place },
      forbidden: (snapshot) => plaintextRefusal(snapshot, call),
    })
    const word = await place
      .until(heard, () => channel.reset())
      .catch((thrown: unknown) => {
        channel.reset()
        throw thrown
      })
    if (word.hello !== null) {
      channel.reset()
      return word.hello
    }
    ;({ ahead } = word)
  }
  const name = nameOf(leg.endpoint)
  node.load.begin(name)
  try {
    ledger.upstreamLocal = channel.ends?.local ?? null
    ledger.established(leg)
    const judge = judgeOf({ call, caller, leg, backends })
    // what came into force since it was judged last found nobody in this place to judge, and no byte has passed yet
    const refusal = judge(node.snapshot)
    if (refusal !== null) {
      channel.reset()
      throw refusal
    }
    const flow = relay(call.channel, channel, ledger, ahead)
    const ends = { channels: [call.channel, channel], terms: [call.term, upstream.term] }
    place.occupant = occupant(flow, ends, judge, node.limits)
    await flow.done
    return null
  } finally {
    node.load.end(name)
  }
}

/** Namespace whose policies speak for the caller: its own, else that of what it dialled. */
export function consumerOf(call: Call, caller: Caller): string {
  return namespaceOf(caller) ?? call.service?.service.namespace ?? ''
}

/** Tries endpoints until one is connected. No byte has been sent, so trying another is safe. */
async function connectOne(
  backends: Backends,
  { call, caller, world }: { readonly call: Call; readonly caller: Caller; readonly world: Snapshot },
  { node, ledger, place }: Walk,
): Promise<Connected> {
  const tried = new Set<string>()
  let refusal: MeshError | null = null
  let dials = 0
  for (;;) {
    const endpoint = pickFor(call.peer.ip, backends, node, tried)
    if (endpoint === null) throw refusal ?? new MeshError('NO_ENDPOINT', exhausted(backends))
    const leg = legTo({ endpoint, wish: backends }, call, node, world)
    ledger.reached = leg
    const permit = permitFor(caller, leg)
    if (permit instanceof MeshError) {
      refusal = permit
      tried.add(nameOf(endpoint)) // of others' nodes another may take it
      continue
    }
    try {
      const upstream = await place.until(connect(permit, leg, node, 'opaque'), ({ channel }) => channel.reset())
      return { upstream, leg }
    } catch (thrown) {
      const failure = failureOf(thrown)
      tried.add(nameOf(endpoint))
      if (!failure.kind.retry || ++dials > node.limits.connectRetries || tried.size >= backends.endpoints.length) {
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
    const refusal = refusalOf(flow.caller, flow.leg, snapshot) ?? plaintextRefusal(snapshot, flow.call)
    if (refusal !== null) return refusal
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

/** A flow whose certificate is over is ended once it has been silent for so long: it is not broken off amid its work. */
const PAUSE_MS = 60_000

/** What the register may ask of a relay. */
export function occupant(
  flow: Relay,
  { channels, terms }: { readonly channels: readonly Channel[]; readonly terms: readonly Term[] },
  judge: (snapshot: Snapshot) => MeshError | null,
  limits: { readonly idleMs: number },
): Walk['place']['occupant'] {
  return {
    overdue: (nowMs) => {
      const silentMs = nowMs - Math.max(...channels.map(({ activeAt }) => activeAt))
      if (silentMs > limits.idleMs) return new MeshError('IDLE_TIMEOUT', 'no byte passed for too long')
      if (silentMs < PAUSE_MS || !terms.some((term) => term.isOver(nowMs))) return null
      return new MeshError('IDLE_TIMEOUT', 'what secured it is over, and it pauses')
    },
    forbidden: judge,
    stop: (reason) => flow.stop(reason),
    drain: () => {},
  }
}
