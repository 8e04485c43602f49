// Reads the kernel's counts of the captured pods' connections on a slow tick, and says what they sum up to. Scrapes are told
// the last reading: a walk over the node's sockets is no price for a request that anybody may send.

import { Accounts, type PodSum } from '../kernel/accounts.ts'
import type { Kernel, OpenConnection, Tally } from '../kernel/kernel.ts'
import type { Workload } from '../model/workload.ts'
import type { StrictGrace } from './strict-grace.ts'
import type { PodTraffic } from '../telemetry/node-series.ts'
import type { DataSide } from './workers.ts'

export interface AccountingOptions {
  readonly data: Pick<DataSide, 'account'>
  readonly everyMs: number
  /** Is shown each captured pod's open connections, and told which pods are captured no more. */
  readonly grace: Pick<StrictGrace, 'look' | 'forget'>
  readonly log: { warn(fields: object, message: string): void }
}

/** Names of pods that are gone are kept as long as their sums; more than these are told as unknown. */
const NAMES_MAX = 4096

/** L4 accounting of a node. */
export class Accounting {
  readonly #options: AccountingOptions
  readonly #accounts = new Accounts()
  readonly #names = new Map<string, { readonly namespace: string; readonly pod: string }>()
  readonly #tick: NodeJS.Timeout
  #kernel: Kernel | null = null
  #isReading = false

  constructor(options: AccountingOptions) {
    this.#options = options
    this.#tick = setInterval(() => void this.#read(), options.everyMs)
  }

  /** The kernel whose pods are read from now on. */
  watch(kernel: Kernel): void {
    this.#kernel = kernel
  }

  /** Takes the names of the node's pods. */
  know(pods: readonly Workload[]): void {
    for (const { uid, namespace, name } of pods) {
      this.#names.delete(uid) // the newest are last
      this.#names.set(uid, { namespace, pod: name })
    }
    for (const uid of this.#names.keys()) {
      if (this.#names.size <= NAMES_MAX) return
      this.#names.delete(uid)
    }
  }

  /** Reads every captured pod, the event loop free in between. One that cannot be read does not hold up another. */
  async #read(): Promise<void> {
    if (this.#isReading) return
    this.#isReading = true
    for (const uid of this.#kernel?.captured().keys() ?? []) {
      try {
        await this.#readPod(uid)
      } catch (error) {
        this.#options.log.warn({ uid, reason: (error as Error).message }, 'a pod’s connections cannot be read')
      }
      await turnOfLoop()
    }
    this.#isReading = false
  }

  async #readPod(uid: string): Promise<void> {
    if (this.#kernel?.captured().has(uid) !== true) return // released meanwhile
    // in this order: see Accounts.read
    const tallies = this.#kernel.tallies(uid)
    const open = this.#kernel.connections(uid)
    this.#take(uid, tallies, open)
    await this.#options.grace.look(uid, open)
  }

  /** Takes what a pod's connections carried at the last: it is being released. */
  readonly close = (uid: string, tallies: readonly Tally[], open: readonly OpenConnection[]): void => {
    this.#take(uid, tallies, open)
    this.#accounts.gone(uid, performance.now())
    this.#options.grace.forget(uid)
  }

  /** Open connections older than the pod's capture, as of the last reading. */
  older(uid: string): number {
    return this.#accounts.older(uid)
  }

  /** What every pod's connections carried, as of the last reading. */
  traffic(): PodTraffic[] {
    return this.#accounts.sums(performance.now()).map(({ uid, ...sum }: PodSum) => ({ ...this.#nameOf(uid), ...sum }))
  }

  /** The pods that have older connections. */
  olderByPod(): { namespace: string; pod: string; count: number }[] {
    const uids = [...(this.#kernel?.captured().keys() ?? [])]
    return uids.map((uid) => ({ ...this.#nameOf(uid), count: this.older(uid) })).filter(({ count }) => count > 0)
  }

  stop(): void {
    clearInterval(this.#tick)
  }

  #take(uid: string, tallies: readonly Tally[], open: readonly OpenConnection[]): void {
    this.#options.data.account(this.#accounts.read(uid, tallies, open))
  }

  #nameOf(uid: string): { readonly namespace: string; readonly pod: string } {
    return this.#names.get(uid) ?? { namespace: 'unknown', pod: 'unknown' }
  }
}

const turnOfLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
