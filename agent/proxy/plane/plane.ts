// The data path of one worker: holds the captured pods, takes their connections, and keeps the node's state.

import { performance } from 'node:perf_hooks' // the global is a getter, and this is asked with every request
import type { Flow } from '../../kernel/accounts.ts'
import type { Captured, Sockets } from '../../kernel/kernel.ts'
import type { RequestAuthentication } from '../../model/authentication/request-authentication.ts'
import { nothing, type Refusal } from '../../model/build.ts'
import { MeshError } from '../../model/failure.ts'
import type { Piece } from '../../model/delta.ts'
import { accessLogOf } from '../../model/mesh-settings.ts'
import { hasLeft } from '../../model/serving.ts'
import { compile, type Inventory, type Snapshot } from '../../model/snapshot.ts'
import type { Random } from '../../model/chance.ts'
import type { AccessLog } from '../../telemetry/access.ts'
import { Cells } from '../../telemetry/cells.ts'
import { Account, type Clock, type Direction } from '../../telemetry/ledger.ts'
import type { Counters } from '../../telemetry/series.ts'
import { Authorizers } from '../authorizer.ts'
import { serve } from '../connection.ts'
import { accountFlows } from './flows.ts'
import { breakerMemory } from './breaker-cells.ts'
import { Breakers, type BreakersOptions } from './breakers.ts'
import { breakerSeries } from './breaker-series.ts'
import type { Counts } from './counts.ts'
import type { RowChanges } from './feed.ts'
import { Handshakes } from './handshakes.ts'
import { Identities, type IdentityCredentials } from './identities.ts'
import { DEFAULT_LIMITS, type Limits } from './limits.ts'
import { Deadlines } from './deadlines.ts'
import { Live } from './live.ts'
import { type ClientTlsMaterial, Materials } from './materials.ts'
import { NodeAffinities } from './affinities.ts'
import { NodeLoad } from './load.ts'
import type { JoinedPod, MeshNode } from './node.ts'
import { Pools } from './pool.ts'
import { requestIds } from './request-id.ts'
import { MIRRORS_PER_POD, SideRequests } from './side-requests.ts'
import { Budget } from '../transport/budget.ts'
import { inSlices } from './slices.ts'
import { Swap, type Taken } from './swap.ts'
import { Tokens } from '../tokens.ts'
import type { Transport } from '../transport/transport.ts'
import { nodeTransport } from '../transport/transport-node.ts'

export interface PlaneOptions {
  readonly sockets: Sockets
  readonly access: AccessLog
  /** Whether it is written to where the mesh's settings do not say. */
  readonly records?: boolean
  /** Hears of what should not happen. */
  readonly onFault: (why: string) => void
  readonly limits?: Partial<Limits>
  readonly random?: Random
  /** The one on node:net if not given. */
  readonly transport?: Transport
  /** What all workers of the node count together; without it this is the only one. */
  readonly counts?: Counts
  /** What they bound and eject together, and which of them this is. */
  readonly breakers?: Pick<BreakersOptions, 'memory' | 'column'>
  /** Hears that a token wants a newer set of keys. */
  readonly onStaleKeys?: (name: string) => void
  /** Hears of an object that cannot be in force. */
  readonly onRefused?: (refusal: Refusal) => void
}

/** Connections taken in one wake-up where several workers wait for them: what is left, others take. */
const SHARED_BATCH = 2

/** Ends that were looked up are forgotten so often where snapshots came meanwhile: some are of pods that are gone. */
const FORGET_MS = 60_000

const CLOCK: Clock = { wall: () => Date.now(), ms: () => performance.now() }

export class DataPlane {
  readonly node: MeshNode
  readonly #onFault: (why: string) => void
  readonly #onRefused: (refusal: Refusal) => void
  readonly #swap: Swap
  readonly #records: boolean
  readonly #pace: { readonly batch?: number }
  #sweptAt = 0
  #forgotAt = 0
  #isSwapped = false

  constructor(options: PlaneOptions) {
    const { sockets, access, onFault, limits, random = Math.random, transport, counts = null } = options
    const bounds = { ...DEFAULT_LIMITS, ...limits }
    this.#onFault = onFault
    this.#records = options.records ?? true
    this.#pace = counts !== null && counts.workers > 1 ? { batch: SHARED_BATCH } : {}
    this.#onRefused = options.onRefused ?? ((refusal) => onFault(`${refusal.object.name}: ${refusal.why}`))
    const clocks = [() => CLOCK.wall(), () => carrier.nowMs] as const
    const carrier = transport ?? nodeTransport((thrown) => onFault(faultText(thrown)))
    const account = new Account(new Cells(), access, CLOCK)
    const breakers = new Breakers({
      ...(options.breakers ?? { memory: breakerMemory(1), column: 0 }),
      ...breakerSeries(account.cells),
    })
    this.node = {
      sockets,
      transport: carrier,
      pods: new Map(),
      live: new Live(counts),
      pools: new Pools(bounds),
      load: new NodeLoad(counts, random),
      breakers,
      affinities: new NodeAffinities(() => carrier.nowMs),
      health: breakers,
      nowMs: () => CLOCK.wall(),
      identities: new Identities(...clocks),
      materials: new Materials(...clocks),
      tokens: new Tokens({ limits: bounds, nowMs: () => CLOCK.wall(), onStale: options.onStaleKeys ?? (() => {}) }),
      deadlines: new Deadlines(),
      mirrors: new SideRequests(MIRRORS_PER_POD),
      authorizers: new Authorizers(bounds.podQuestions),
      account,
      random,
      limits: bounds,
      requestId: requestIds(random),
      snapshot: nothing(),
      draining: false,
    }
    this.#aimRecords(null)
    this.#swap = new Swap(this.node, (refusal) => this.#onRefused(refusal))
    this.node.transport.tick(performance.now())
  }

  /** Takes a piece of what changed; with the last the snapshot is swapped. The next may come once this has resolved. */
  async take(piece: Piece, rows: RowChanges): Promise<Taken> {
    if (piece.from === 0 && piece.first) this.node.load.forgetRows()
    this.node.load.setRows(rows)
    const before = this.node.snapshot
    const taken = await this.#swap.take(piece)
    if (taken === 'applied') this.#swapped(before)
    return taken
  }

  /** Puts a whole inventory in force at once. Returns why it cannot be, and keeps the one before. */
  apply(inventory: Inventory): string | null {
    const before = this.node.snapshot
    try {
      this.node.snapshot = compile(inventory, this.#onRefused)
    } catch (thrown) {
      return faultText(thrown)
    }
    this.#swapped(before)
    return null
  }

  #swapped(before: Snapshot): void {
    this.#isSwapped = true
    const { pools, snapshot, identities } = this.node
    this.#aimRecords(before)
    if (snapshot.settings !== before.settings) identities.know(snapshot.settings.mesh)
    this.node.live.recheck(() => this.node.snapshot)
    void inSlices(pools.drainEndpoints((endpoint) => hasLeft(before, snapshot, endpoint)))
  }

  #aimRecords(before: Snapshot | null): void {
    const { account, snapshot } = this.node
    if (snapshot.requestAuthentications !== before?.requestAuthentications) {
      account.recorder.hide(parametersIn(snapshot.requestAuthentications.values()))
    }
    const faults = account.recorder.configure(accessLogOf(snapshot.settings.mesh, this.#records))
    for (const why of faults) this.#onFault(`ConfigMap weft: ${why}`)
  }

  /** Takes a pod's connections from now on. One that is gone already is passed over, and said. */
  capture(captured: Captured, row: number | null = null): void {
    if (this.node.draining) return
    this.release(captured.uid)
    using undo = new DisposableStack()
    try {
      const held = this.node.sockets.hold(captured)
      undo.defer(() => held.close())
      const acceptors: JoinedPod['acceptors'][number][] = []
      const pod: JoinedPod = {
        captured,
        sockets: held,
        acceptors,
        budget: new Budget(this.node.limits.podBufferBytes),
        handshakes: { inbound: new Handshakes(this.node.limits), outbound: new Handshakes(this.node.limits) },
        connections: 0,
        nodeConnections: 0,
        row,
        released: false,
        isHeldOff: false,
      }
      for (const direction of ['outbound', 'inbound'] as const) {
        acceptors.push(
          held.accept(direction, {
            onAccept: (fd) => this.#accept(fd, direction, pod),
            onFault: (error) => this.#onFault(faultText(error)),
            ...this.#pace,
          }),
        )
      }
      undo.move()
      this.node.pods.set(captured.uid, pod)
    } catch (thrown) {
      this.#onFault(`pod ${captured.uid} cannot be taken: ${faultText(thrown)}`)
    }
  }

  /** Takes the credentials of an identity; those that cannot be used are told, and the ones before stay. */
  identify(credentials: IdentityCredentials): void {
    try {
      this.node.identities.set(credentials)
    } catch (thrown) {
      this.#onFault(`credentials of ${credentials.uri} cannot be used: ${(thrown as Error).message}`)
    }
  }

  /** Takes what TLS by a rule is made of; what cannot be used is told, and what was there before stays. */
  equip(material: ClientTlsMaterial): void {
    try {
      this.node.materials.set(material)
    } catch (thrown) {
      this.#onFault(`TLS of rules ${material.name} cannot be had: ${(thrown as Error).message}`)
    }
  }

  /** Takes no more of a pod's connections; those that are open go on, unless the pod itself is gone. */
  release(uid: string, gone = false): void {
    const pod = this.node.pods.get(uid)
    if (pod === undefined) return
    this.node.pods.delete(uid)
    for (const acceptor of pod.acceptors) acceptor.close()
    this.node.pools.drainPod(uid)
    pod.released = true
    if (gone) {
      this.node.live.stopPod(pod)
      for (const side of [this.node.mirrors, this.node.authorizers]) {
        side.stopPod(pod, new MeshError('SHUTDOWN', 'its pod is gone'))
      }
    }
    if (pod.connections === 0) pod.sockets.close()
  }

  /** Moves the coarse clock, and looks over what is idle. */
  tick(): void {
    const { node } = this
    const nowMs = performance.now()
    node.transport.tick(nowMs)
    node.deadlines.tick(nowMs)
    node.breakers.tick()
    if (nowMs - this.#sweptAt < node.limits.sweepMs) return
    this.#sweptAt = nowMs
    if (this.#isSwapped && nowMs - this.#forgotAt > FORGET_MS) {
      this.#isSwapped = false
      this.#forgotAt = nowMs
      node.account.edges.forget()
    }
    node.live.sweep(nowMs)
    node.pools.sweep(nowMs)
  }

  /** Adds what pods' connections carried past the proxy to the series. */
  account(flows: readonly Flow[]): void {
    accountFlows(flows, this.node.snapshot, this.node.account.edges)
  }

  /** Every series, as plain data. */
  counters(): Counters {
    const { account, breakers, live, pools, snapshot, transport } = this.node
    transport.tick(performance.now()) // what flows under way have carried by now
    live.settle()
    account.cells.plain('weft_proxy_upstreams_idle').value = pools.idle
    account.cells.plain('weft_breaker_cells_exhausted_total').value = breakers.exhausted
    account.cells.plain('weft_access_records_dropped_total').value = account.access.dropped
    const nowMs = Date.now()
    return [
      ...account.cells.dump(nowMs, (uid) => snapshot.workloadByUid.has(uid)),
      ...account.judgements.dump(nowMs, ({ namespace, name }) => {
        return snapshot.authorizationPolicies.get(namespace)?.some(({ source }) => source.ref.name === name) === true
      }),
    ]
  }

  /** Stops accepting, ends connections with their next answer or as they fall silent, and all of them after `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    const { node } = this
    node.draining = true
    for (const uid of [...node.pods.keys()]) this.release(uid)
    const until = performance.now() + graceMs
    for (let nowMs = performance.now(); node.live.size > 0 && nowMs < until; nowMs = performance.now()) {
      node.live.drain(nowMs)
      await delay(Math.min(STOP_POLL_MS, graceMs))
    }
    node.live.stop()
    for (const side of [node.mirrors, node.authorizers]) side.stop(new MeshError('SHUTDOWN', 'the agent stops'))
    node.pools.drain()
    node.breakers.close()
    await delay(0)
    await node.account.access.close()
  }

  #accept(fd: number, direction: Direction, pod: JoinedPod): void {
    const { sockets, limits } = this.node
    if (direction === 'inbound') sockets.setUserTimeout(fd, limits.userTimeoutMs)
    const channel = this.node.transport.adopt(fd, pod.budget)
    serve({ fd, channel, direction, pod }, this.node).catch((thrown: unknown) => this.#onFault(faultText(thrown)))
    if (pod.nodeConnections > limits.podConnections) holdOff(pod)
  }
}

/** How long a pod that has all the connections it may have is not asked for more. */
const HOLD_OFF_MS = 50

/** Refusing costs time that is the neighbours' too: what the pod dials meanwhile waits in its own queue. */
function holdOff(pod: JoinedPod): void {
  if (pod.isHeldOff) return
  pod.isHeldOff = true
  for (const acceptor of pod.acceptors) acceptor.pause()
  setTimeout(() => {
    pod.isHeldOff = false
    if (!pod.released) for (const acceptor of pod.acceptors) acceptor.resume()
  }, HOLD_OFF_MS).unref()
}

/** Parameters that tokens are taken from, anywhere in the mesh: a caller's node records them too. */
function parametersIn(all: Iterable<readonly RequestAuthentication[]>): readonly string[] {
  return [...all].flat().flatMap(({ rules }) => rules.flatMap(({ fromParams }) => fromParams))
}

/** How often a stopping worker looks whether all connections have ended. */
const STOP_POLL_MS = 50

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** What is told of something that was thrown and should not have been. */
export function faultText(thrown: unknown): string {
  return thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)
}
