// A connection carried as bytes: routed, picked, permitted and connected once, then relayed.

import { pickFor } from '../model/balance/affinity.ts'
import { candidates, exhausted } from '../model/balance/balance.ts'
import { hashOf } from '../model/balance/hash-policy.ts'
import type { Consumer } from '../model/destination.ts'
import { failureOf, MeshError } from '../model/failure.ts'
import { type Caller, namespaceOf, workloadOf } from '../model/identity.ts'
import { type Backends } from '../model/backends.ts'
import { type FlowRoute, routeFlow } from '../model/flow-route.ts'
import { type Cargo, type Permit, UNASKED } from '../model/permit.ts'
import { keptFrom, routeTcp } from '../model/route.ts'
import { nameOf } from '../model/service.ts'
import type { Snapshot } from '../model/snapshot.ts'
import { localPart } from '../telemetry/record.ts'
import { plaintextRefusal } from './authenticate.ts'
import { type Call, current } from './classify.ts'
import { connect, isUnreached, type Leg, legTo, permitted, refusalOf, wayOf } from './connect.ts'
import { firstWord, type Said } from './opening.ts'
import type { Breaker } from './plane/breakers.ts'
import type { Term } from './plane/identities.ts'
import type { Walk } from './plane/node.ts'
import { type Ahead, relay, type Relay } from './relay.ts'
import type { Reaching } from './secure.ts'
import type { Channel } from './transport/transport.ts'
import { askTunnel } from './tunnel.ts'

interface Connected extends Opened {
  readonly leg: Leg
}

interface Opened {
  readonly upstream: Reaching
  /** What the upstream has said meanwhile. */
  readonly fromUpstream: Buffer | null
}

/**
 * Carries a connection to its end, and returns null. Of one that was silent, and then begins the mesh's TLS before a byte was
 * passed on, it returns how it begins: nothing has been done with it then. Throws the MeshError that it ended by; the
 * caller's end is reset then.
 */
export async function carry(call: Call, caller: Caller, walk: Walk): Promise<(Said & { kind: 'hello' }) | null> {
  const { node, ledger } = walk
  const world = node.snapshot
  ledger.snapshot = world.version
  const route = routeOf(call, caller, walk, world)
  if (route.kind === 'none') throw new MeshError(route.code, route.why)
  const { backends } = route
  ledger.routed(backends, route.by)
  ledger.service = world.serviceByHost.get(backends.host) ?? ledger.service
  const breaker = call.direction === 'outbound' ? node.breakers.of(backends) : null
  const ticket = breaker?.connections?.take()
  if (ticket === null) throw new MeshError('OVERFLOW', `as many connections to ${backends.host} are open as may be`)
  try {
    return await carryTo({ backends, breaker }, { call, caller, world }, walk)
  } finally {
    ticket?.release()
  }
}

/** Where a connection goes, and what counts how it fares there. */
interface Destined {
  readonly backends: Backends
  readonly breaker: Breaker | null
}

/** A connection with who makes it, and what it is judged by. */
interface Carried {
  readonly call: Call
  readonly caller: Caller
  readonly world: Snapshot
}

async function carryTo(
  to: Destined,
  { call, caller, world }: Carried,
  walk: Walk,
): Promise<(Said & { kind: 'hello' }) | null> {
  const { node, ledger, place } = walk
  const { backends } = to
  const { upstream, leg, fromUpstream } = await connectOne(to, { call, caller, world }, walk)
  const { channel } = upstream
  let ahead: Ahead = { fromCaller: call.first, fromUpstream }
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
    ledger.upstreamLocal = localPart(channel.ends?.local ?? null)
    ledger.established(leg)
    const judge = judgeOf({ call, caller, leg, cargo: cargoOf(call), backends })
    // what came into force since it was judged last found nobody in this place to judge, and no byte has passed yet
    const refusal = judge(node.snapshot)
    if (refusal !== null) {
      channel.reset()
      throw refusal
    }
    const flow = relay(call.channel, channel, ledger, ahead)
    const ends = { channels: [call.channel, channel], terms: [call.term, upstream.term] }
    place.occupant = occupant(flow, ends, judge, boundsOf(leg, node))
    await flow.done
    return null
  } finally {
    node.load.end(name)
  }
}

/** What a caller dialled has routes; what arrives at a pod goes to its application as it is. */
function routeOf(call: Call, caller: Caller, { node }: Walk, world: Snapshot): FlowRoute {
  const target = call.target.kind === 'service' ? current(world, call.target) : call.target // sniffing took its time
  if (call.direction === 'inbound') {
    return { kind: 'forward', by: null, backends: routeTcp(world, target, consumerOf(call, caller)) }
  }
  const { dialled, peer, serverName } = call
  return routeFlow(world, target, { caller: workloadOf(caller), dialled, peer, serverName }, node.random)
}

/** Connects and, where a policy leads through a forward proxy, has that connect. Throws as these two. */
async function open(permit: Permit, leg: Leg, { node, place }: Walk): Promise<Opened> {
  const upstream = await place.until(connect(permit, leg, node, { protocol: 'opaque' }), ({ channel }) =>
    channel.reset(),
  )
  const { channel } = upstream
  const { tunnel, pool } = leg.policy
  if (tunnel === null) return { upstream, fromUpstream: null }
  const { limits } = node
  const timeoutMs = pool.connectTimeoutMs ?? limits.connectTimeoutMs
  const asking = askTunnel(channel, tunnel, { timeoutMs, limits })
  const answered = place.until(asking.answered, () => {})
  const fromUpstream = await answered.catch((thrown: unknown) => {
    asking.stop()
    throw thrown
  })
  return { upstream, fromUpstream }
}

/** How long a flow may be silent, and when it ends whatever it does. */
function boundsOf({ policy: { pool } }: Leg, { limits, transport }: Walk['node']): FlowBounds {
  return {
    idleMs: pool.idleMs === 0 ? Infinity : (pool.idleMs ?? limits.idleMs),
    endMs: pool.maxDurationMs === null ? Infinity : transport.nowMs + pool.maxDurationMs,
  }
}

/** Whose policies speak for the caller: those of its own namespace, else of that of what it dialled. */
export function consumerOf(call: Call, caller: Caller): Consumer {
  return { consumer: namespaceOf(caller) ?? call.service?.service.namespace ?? '', caller: workloadOf(caller) }
}

/** Bytes that nobody reads. */
function cargoOf({ peer, serverName }: Call): Cargo {
  return { client: peer.ip, serverName, request: null, consented: UNASKED }
}

/** Tries endpoints until one is connected. No byte has been sent, so trying another is safe. */
async function connectOne(
  { backends, breaker }: Destined,
  { call, caller, world }: Carried,
  walk: Walk,
): Promise<Connected> {
  const { node, ledger } = walk
  const hashed = hashOf(backends, { client: call.peer.ip, request: null, seed: node.requestId })
  const asked = { client: call.peer.ip, hash: hashed?.hash ?? null }
  const tried = new Set<string>()
  let refusal: MeshError | null = null
  let last: MeshError | null = null
  let dials = 0
  for (;;) {
    const endpoint = pickFor(asked, backends, node, tried)
    if (endpoint === null) throw refusal ?? last ?? new MeshError('NO_ENDPOINT', exhausted(backends))
    const leg = legTo({ endpoint, wish: backends }, call, node, world)
    ledger.reached = leg
    const permit = permitted(world, wayOf(caller, leg, world), cargoOf(call))
    if (permit instanceof MeshError) {
      refusal = permit
      tried.add(nameOf(endpoint)) // of others' nodes another may take it
      continue
    }
    ledger.decided(permit.decision)
    try {
      const opened = await open(permit, leg, walk)
      breaker?.result(nameOf(endpoint), 'carried')
      return { ...opened, leg }
    } catch (thrown) {
      const failure = failureOf(thrown)
      if (isUnreached(failure)) breaker?.result(nameOf(endpoint), 'failed')
      tried.add(nameOf(endpoint))
      last = failure
      if (!failure.kind.retry || ++dials > node.limits.connectRetries) throw failure
      if (candidates(backends, node, tried).length === 0) throw failure
      node.account.cells.plain('weft_retries_total', failure.code).value++
    }
  }
}

/** Judges a flow, or a tunnel, again by each new snapshot: its permit, and whether what was dialled may be reached at all. */
export function judgeOf(flow: {
  readonly call: Call
  readonly caller: Caller
  readonly leg: Leg
  readonly cargo: Cargo
  readonly backends: Backends
}): (snapshot: Snapshot) => MeshError | null {
  return (snapshot) => {
    const refusal = refusalOf(flow.caller, flow.leg, snapshot, flow.cargo) ?? plaintextRefusal(snapshot, flow.call)
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

/** Times of the transport's coarse clock, in milliseconds. */
interface FlowBounds {
  readonly idleMs: number
  readonly endMs?: number
}

/** What the register may ask of a relay. */
export function occupant(
  flow: Relay,
  { channels, terms }: { readonly channels: readonly Channel[]; readonly terms: readonly Term[] },
  judge: (snapshot: Snapshot) => MeshError | null,
  { idleMs, endMs = Infinity }: FlowBounds,
): Walk['place']['occupant'] {
  return {
    overdue: (nowMs) => {
      const silentMs = nowMs - Math.max(...channels.map(({ activeAt }) => activeAt))
      if (nowMs >= endMs) return new MeshError('DURATION_LIMIT', 'it has lasted for as long as its rule allows')
      if (silentMs > idleMs) return new MeshError('IDLE_TIMEOUT', 'no byte passed for too long')
      if (silentMs < PAUSE_MS || !terms.some((term) => term.isOver(nowMs))) return null
      return new MeshError('IDLE_TIMEOUT', 'what secured it is over, and it pauses')
    },
    forbidden: judge,
    stop: (reason) => flow.stop(reason),
    drain: () => {},
  }
}
