// The data side as the control side holds it: the worker threads, what they are told, and what they counted.

import { extname } from 'node:path'
import { CountRows, EndpointRows } from './count-rows.ts'
import type { Flow } from '../kernel/accounts.ts'
import type { Captured } from '../kernel/kernel.ts'
import { addressText } from '../model/address.ts'
import type { Delta } from '../model/delta.ts'
import type { Service } from '../model/service.ts'
import type { Inventory } from '../model/snapshot.ts'
import {
  type BreakerMemory,
  breakerMemory,
  clearWorker,
  type Ejection,
  ejectionsIn,
} from '../proxy/plane/breaker-cells.ts'
import { ejectedSeries } from '../proxy/plane/breaker-series.ts'
import { sharedClock } from '../proxy/plane/breakers.ts'
import { Counts } from '../proxy/plane/counts.ts'
import type { Counters, Start, ToWorker } from '../proxy/plane/feed.ts'
import type { IdentityCredentials } from '../proxy/plane/identities.ts'
import type { KeySet } from '../proxy/plane/key-sets.ts'
import { DEFAULT_LIMITS } from '../proxy/plane/limits.ts'
import type { ClientTlsMaterial } from '../proxy/plane/materials.ts'
import { Seat, type SeatLog } from './seat.ts'
import { addCounters } from '../telemetry/sum.ts'

export interface DataSideOptions {
  /** The first message, less what each worker has for itself. */
  readonly start: Omit<Start, 'type' | 'counts' | 'breakers' | 'column'>
  readonly workers: number
  readonly log: SeatLog
  /** The worker's program. */
  readonly code?: URL
  /** Hears that a token wants a newer set of keys. */
  readonly onStaleKeys?: (name: string) => void
}

const WORKER = new URL(`../worker${extname(import.meta.filename)}`, import.meta.url)

/** The data side. Whatever it was told last is told again to a worker that takes another's place. */
export class DataSide {
  readonly #rows: CountRows
  readonly #endpoints: EndpointRows
  readonly #breakers: BreakerMemory
  readonly #clock = sharedClock()
  readonly #seats: readonly Seat[]
  readonly #captured = new Map<string, Captured>()
  readonly #identities = new Map<string, IdentityCredentials>()
  readonly #materials = new Map<string, ClientTlsMaterial>()
  readonly #keySets = new Map<string, KeySet>()
  readonly #applied = Promise.withResolvers<void>()
  #inventory: (() => Inventory) | null = null
  #version = 0
  /** What workers had counted that are no more. */
  #left: Counters = []

  constructor({ start, workers, log, code = WORKER, onStaleKeys = () => {} }: DataSideOptions) {
    this.#rows = new CountRows(workers)
    this.#endpoints = new EndpointRows(this.#rows)
    const { breakerScopes: scopes, breakerEndpoints: endpoints } = { ...DEFAULT_LIMITS, ...start.limits }
    const breakers = (this.#breakers = breakerMemory(workers, { scopes, endpoints }))
    this.#seats = Array.from({ length: workers }, (_, column) => {
      const own: Start = { ...start, type: 'start', counts: this.#rows.shared, breakers, column }
      return new Seat({
        ...{ start: own, code, log, onStaleKeys },
        whole: () => this.#inventory && { inventory: this.#inventory(), rows: this.#endpoints.all() },
        ahead: () => this.#ahead(),
        also: () => this.#also(),
        onApplied: () => this.#hearApplied(),
        onEnded: (last) => {
          this.#rows.clear(column)
          clearWorker(breakers, column)
          this.#left = addCounters(this.#left, last)
        },
      })
    })
  }

  /** Version of the inventory that all connections are carried by at least; 0 before the first. */
  get appliedVersion(): number {
    const versions = this.#seats.map(({ appliedVersion }) => appliedVersion).filter((version) => version > 0)
    return versions.length === 0 ? 0 : Math.min(...versions)
  }

  /** Takes what changed; `inventory` gives all of it at that version, for a worker that has nothing. */
  change(delta: Delta, inventory: () => Inventory): void {
    const rows = new Map<string, number | null>()
    for (const host of delta.services.gone) this.#endpoints.put(host, [], delta.version, rows)
    for (const service of delta.services.set) {
      this.#endpoints.put(service.host, endpointsOf(service), delta.version, rows)
    }
    this.#version = delta.version
    this.#inventory = inventory
    for (const { outbox } of this.#seats) outbox.change(delta, rows)
  }

  capture(captured: Captured): void {
    this.#captured.set(captured.uid, captured)
    for (const { outbox } of this.#seats) outbox.tell(this.#captureOf(captured))
  }

  /** What pods of an identity show and believe from now on. */
  identify(credentials: IdentityCredentials): void {
    this.#identities.set(credentials.uri, credentials)
    for (const seat of this.#seats) seat.tell({ type: 'identity', credentials })
  }

  /** No pod of the identity is left. */
  forget(uri: string): void {
    this.#identities.delete(uri)
    for (const seat of this.#seats) seat.tell({ type: 'no-identity', uri })
  }

  /** What TLS that rules ask for is made of from now on. */
  equip(material: ClientTlsMaterial): void {
    this.#materials.set(material.name, material)
    for (const seat of this.#seats) seat.tell({ type: 'material', material })
  }

  /** No rule asks for it any more. */
  unequip(name: string): void {
    this.#materials.delete(name)
    for (const seat of this.#seats) seat.tell({ type: 'no-material', name })
  }

  /** What tokens are verified by from now on. */
  trust(keySet: KeySet): void {
    this.#keySets.set(keySet.name, keySet)
    for (const seat of this.#seats) seat.tell({ type: 'keys', keySet })
  }

  /** No rule asks for it any more. */
  distrust(name: string): void {
    this.#keySets.delete(name)
    for (const seat of this.#seats) seat.tell({ type: 'no-keys', name })
  }

  /** `gone`: the pod itself has ended, so what is open of it ends too. */
  release(uid: string, gone: boolean): void {
    this.#captured.delete(uid)
    this.#rows.leave(ownerOf(uid), this.#version + 1) // by then the release has been heard, too
    for (const { outbox } of this.#seats) outbox.tell({ type: 'release', uid, gone })
  }

  /** What pods' connections carried past the proxy, as the kernel counted it: for the series of the two ends. */
  account(flows: readonly Flow[]): void {
    if (flows.length === 0) return
    const seat = this.#seats.find(({ appliedVersion }) => appliedVersion > 0) ?? this.#seats[0]
    seat?.tell({ type: 'flows', flows }) // one of them: they are added up at a scrape
  }

  /** What all workers count now in a row of the shared counts. */
  counted(row: number): number {
    return new Counts(this.#rows.shared, 0).total(row)
  }

  /** The endpoints that the pods of this node do not ask now, for they failed too often. */
  ejectedNow(): readonly Ejection[] {
    return ejectionsIn(this.#breakers, { nowMs: this.#clock(), wallMs: Date.now() })
  }

  /** Resolves once an inventory is in force with a worker. */
  whenApplied(): Promise<void> {
    return this.#applied.promise
  }

  /** What each worker counted, and those before it. `silent`: workers that do not answer, told by their last counters. */
  async scrape(): Promise<{ readonly counters: readonly Counters[]; readonly silent: number }> {
    const told = await Promise.all(this.#seats.map((seat) => seat.scrape()))
    const counters = [this.#left, ...told.map((one) => one.counters), ejectedSeries(this.ejectedNow())]
    return { counters, silent: told.filter(({ isFresh }) => !isFresh).length }
  }

  /** Lets open work end for `graceMs`, then ends the workers. */
  async stop(graceMs: number): Promise<void> {
    await Promise.all(this.#seats.map((seat) => seat.stop(graceMs)))
  }

  *#ahead(): Generator<ToWorker> {
    for (const credentials of this.#identities.values()) yield { type: 'identity', credentials }
    for (const material of this.#materials.values()) yield { type: 'material', material }
    for (const keySet of this.#keySets.values()) yield { type: 'keys', keySet }
  }

  *#also(): Generator<ToWorker> {
    for (const captured of this.#captured.values()) yield this.#captureOf(captured)
  }

  #captureOf(pod: Captured): ToWorker {
    return { type: 'capture', pod, row: this.#rows.take(ownerOf(pod.uid)) }
  }

  #hearApplied(): void {
    this.#applied.resolve()
    // one that has nothing in force yet may have been told of a row long ago
    this.#rows.sweep(Math.min(...this.#seats.map(({ appliedVersion }) => appliedVersion)))
  }
}

/** Uids are no addresses: a pod and an endpoint never share a name. */
function ownerOf(uid: string): string {
  return `pod ${uid}`
}

function endpointsOf({ ports }: Service): readonly string[] {
  return ports.flatMap(({ endpoints }) => endpoints.map(({ address }) => addressText(address)))
}
