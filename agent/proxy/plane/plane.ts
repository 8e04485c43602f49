// The data path of one worker: holds the captured pods, takes their connections, and keeps the node's state.

import type { Flow } from '../../kernel/accounts.ts'
import type { Captured, Sockets } from '../../kernel/kernel.ts'
import { Affinity } from '../../model/affinity.ts'
import { DEFAULT_MESH_SETTINGS } from '../../model/mesh-settings.ts'
import { hasLeft } from '../../model/serving.ts'
import { compile, type Inventory, type Snapshot } from '../../model/snapshot.ts'
import type { Random } from '../../model/route.ts'
import type { AccessLog } from '../../telemetry/access.ts'
import { Cells } from '../../telemetry/cells.ts'
import { Account, type Clock, type Direction } from '../../telemetry/ledger.ts'
import type { Counters } from '../../telemetry/series.ts'
import { serve } from '../connection.ts'
import { accountFlows } from './flows.ts'
import { DEFAULT_LIMITS, type Limits } from './limits.ts'
import { Live } from './live.ts'
import { NodeLoad } from './load.ts'
import type { JoinedPod, MeshNode } from './node.ts'
import { Pools } from './pool.ts'
import { requestIds } from './request-id.ts'
import type { Transport } from '../transport/transport.ts'
import { nodeTransport } from '../transport/transport-node.ts'

export interface PlaneOptions {
  readonly sockets: Sockets
  readonly access: AccessLog
  /** Hears of what should not happen. */
  readonly onFault: (why: string) => void
  readonly limits?: Partial<Limits>
  readonly random?: Random
  /** Stands in for the transport on node:net. */
  readonly transport?: Transport
}

/** Before the first inventory nothing is known; destinations are then gone to as they were dialled. */
const NOTHING: Inventory = {
  version: 0,
  node: '',
  settings: DEFAULT_MESH_SETTINGS,
  rootNamespace: '',
  workloads: [],
  services: [],
  virtualServices: [],
  destinationRules: [],
}

const CLOCK: Clock = { wall: () => Date.now(), ms: () => performance.now() }

export class DataPlane {
  readonly node: MeshNode
  readonly #onFault: (why: string) => void
  #sweptAt = 0

  constructor({ sockets, access, onFault, limits, random = Math.random, transport }: PlaneOptions) {
    const bounds = { ...DEFAULT_LIMITS, ...limits }
    this.#onFault = onFault
    this.node = {
      sockets,
      transport: transport ?? nodeTransport((thrown) => onFault(textOf(thrown))),
      pods: new Map(),
      live: new Live(),
      pools: new Pools(bounds),
      load: new NodeLoad(),
      affinity: new Affinity(bounds.affinityCallers),
      account: new Account(new Cells(), access, CLOCK),
      random,
      limits: bounds,
      requestId: requestIds(random),
      snapshot: compile(NOTHING),
      draining: false,
    }
    this.node.transport.tick(performance.now())
  }

  /** Puts an inventory in force: swapped whole. Returns why it cannot be, and keeps the one before. */
  apply(inventory: Inventory): string | null {
    const { node } = this
    const before = node.snapshot
    try {
      node.snapshot = compile(inventory)
    } catch (thrown) {
      return textOf(thrown)
    }
    node.account.edges.forget()
    node.live.recheck(node.snapshot)
    node.pools.drainEndpoints((endpoint) => hasLeft(before, node.snapshot, endpoint))
    for (const pod of node.pods.values()) pod.leaving = isLeaving(pod, node.snapshot)
    return null
  }

  /** Takes a pod's connections from now on. One that is gone already is passed over, and said. */
  capture(captured: Captured): void {
    if (this.node.draining) return
    this.release(captured.uid)
    using undo = new DisposableStack()
    try {
      const held = this.node.sockets.hold(captured)
      undo.defer(() => held.close())
      const acceptors: JoinedPod['acceptors'][number][] = []
      const pod: JoinedPod = { captured, sockets: held, acceptors, connections: 0, leaving: false, released: false }
      for (const direction of ['outbound', 'inbound'] as const) {
        acceptors.push(
          held.accept(direction, {
            onAccept: (fd) => this.#accept(fd, direction, pod),
            onFault: (error) => this.#onFault(textOf(error)),
          }),
        )
      }
      undo.move()
      this.node.pods.set(captured.uid, pod)
      pod.leaving = isLeaving(pod, this.node.snapshot)
    } catch (thrown) {
      this.#onFault(`pod ${captured.uid} cannot be taken: ${textOf(thrown)}`)
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
    if (gone) this.node.live.stopPod(pod)
    if (pod.connections === 0) pod.sockets.close()
  }

  /** Moves the coarse clock, and looks over what is idle. */
  tick(): void {
    const { node } = this
    const nowMs = performance.now()
    node.transport.tick(nowMs)
    if (nowMs - this.#sweptAt < node.limits.sweepMs) return
    this.#sweptAt = nowMs
    node.live.sweep(nowMs)
    node.pools.sweep(nowMs)
  }

  /** Adds what pods' connections carried past the proxy to the series. */
  account(flows: readonly Flow[]): void {
    accountFlows(flows, this.node.snapshot, this.node.account.edges)
  }

  /** Every series, as plain data. */
  counters(): Counters {
    const { account, live, pools, snapshot } = this.node
    live.settle()
    account.cells.plain('weft_proxy_upstreams_idle').value = pools.size
    account.cells.plain('weft_access_records_dropped_total').value = account.access.dropped
    return account.cells.dump(Date.now(), (uid) => snapshot.workloadByUid.has(uid))
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
    node.pools.drain()
    await delay(0)
    await node.account.access.close()
  }

  #accept(fd: number, direction: Direction, pod: JoinedPod): void {
    const channel = this.node.transport.adopt(fd)
    serve({ fd, channel, direction, pod }, this.node).catch((thrown: unknown) => this.#onFault(textOf(thrown)))
  }
}

/** How often a stopping worker looks whether all connections have ended. */
const STOP_POLL_MS = 50

function isLeaving({ captured }: JoinedPod, snapshot: Snapshot): boolean {
  return snapshot.workloadByUid.get(captured.uid)?.terminating ?? false
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function textOf(thrown: unknown): string {
  return thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)
}
