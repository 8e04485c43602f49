// The data side as the control side holds it: starts the worker thread, feeds it, and replaces one that stopped answering.

import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Flow } from './kernel/accounts.ts'
import type { Captured } from './kernel/kernel.ts'
import type { Inventory } from './model/snapshot.ts'
import type { Counters, FromWorker, Start, ToWorker } from './proxy/plane/feed.ts'

export interface DataSideLog {
  error(fields: object, message: string): void
}

/** A worker that was silent for so long is replaced; one that has yet to load its code gets more time. */
const SILENCE_MS = 2_000
const START_TIMEOUT_MS = 20_000
const WATCH_EVERY_MS = 500
/** A worker that ended sooner than this is replaced only after RESPAWN_WAIT_MS. */
const SHORT_LIFE_MS = 5_000
const RESPAWN_WAIT_MS = 1_000
/** A scrape waits so long for the worker's counters; then it goes without. */
const SCRAPE_TIMEOUT_MS = 1_000

const WORKER = new URL(`./worker${extname(import.meta.filename)}`, import.meta.url)

/** The data side. Whatever it was told last is told again to a worker that takes another's place. */
export class DataSide {
  readonly #start: Start
  readonly #code: URL
  readonly #log: DataSideLog
  readonly #captured = new Map<string, Captured>()
  readonly #scrapes = new Map<number, (counters: Counters | null) => void>()
  readonly #watch: NodeJS.Timeout
  #inventory: Inventory | null = null
  #appliedVersion = 0
  readonly #applied = Promise.withResolvers<void>()
  #nextScrape = 0
  #heardAt = performance.now()
  #spawnedAt = performance.now()
  #watchedAt = performance.now()
  #ready = false
  #respawn: NodeJS.Timeout | null = null
  #worker: Worker
  #stopping = false

  /** `code` is the worker's program. */
  constructor(start: Start, log: DataSideLog, code: URL = WORKER) {
    this.#start = start
    this.#code = code
    this.#log = log
    this.#worker = this.#spawn()
    this.#watch = setInterval(() => this.#replaceIfSilent(), WATCH_EVERY_MS)
  }

  /** Version of the inventory that connections are carried by; 0 before the first. */
  get appliedVersion(): number {
    return this.#appliedVersion
  }

  setInventory(inventory: Inventory): void {
    this.#inventory = inventory
    this.#tell({ type: 'inventory', inventory })
  }

  capture(captured: Captured): void {
    this.#captured.set(captured.uid, captured)
    this.#tell({ type: 'capture', pod: captured })
  }

  /** `gone`: the pod itself has ended, so what is open of it ends too. */
  release(uid: string, gone: boolean): void {
    this.#captured.delete(uid)
    this.#tell({ type: 'release', uid, gone })
  }

  /** What pods' connections carried past the proxy, as the kernel counted it: for the series of the two ends. */
  account(flows: readonly Flow[]): void {
    if (flows.length > 0) this.#tell({ type: 'flows', flows })
  }

  /** Resolves once an inventory is in force. */
  whenApplied(): Promise<void> {
    return this.#applied.promise
  }

  /** The worker's counters, or null where it does not answer in time. */
  scrape(): Promise<Counters | null> {
    const id = ++this.#nextScrape
    const { promise, resolve } = Promise.withResolvers<Counters | null>()
    const give = (counters: Counters | null): void => {
      clearTimeout(timer)
      this.#scrapes.delete(id)
      resolve(counters)
    }
    const timer = setTimeout(() => give(null), SCRAPE_TIMEOUT_MS)
    this.#scrapes.set(id, give)
    this.#tell({ type: 'scrape', id })
    return promise
  }

  /** Lets open work end for `graceMs`, then ends the worker. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true
    clearInterval(this.#watch)
    if (this.#respawn !== null) {
      clearTimeout(this.#respawn) // there is no worker to stop
      return
    }
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#worker.once('exit', () => resolve())
    this.#tell({ type: 'stop', graceMs })
    const timer = setTimeout(() => void this.#worker.terminate(), graceMs + SILENCE_MS)
    await promise
    clearTimeout(timer)
  }

  #spawn(): Worker {
    const worker = new Worker(this.#code)
    this.#heardAt = this.#spawnedAt = performance.now()
    this.#ready = false
    this.#appliedVersion = 0
    worker.on('message', (message: FromWorker) => {
      if (worker === this.#worker) this.#hear(message) // one that was replaced has nothing to say any more
    })
    worker.on('error', (error: Error) =>
      this.#log.error({ reason: error.message, stack: error.stack }, 'worker failed'),
    )
    worker.on('exit', (code) => {
      if (!this.#stopping && worker === this.#worker) this.#replace(`it ended with code ${code}`)
    })
    worker.postMessage(this.#start)
    if (this.#inventory !== null)
      worker.postMessage({ type: 'inventory', inventory: this.#inventory } satisfies ToWorker)
    for (const pod of this.#captured.values()) worker.postMessage({ type: 'capture', pod } satisfies ToWorker)
    return worker
  }

  #tell(message: ToWorker): void {
    this.#worker.postMessage(message)
  }

  #hear(message: FromWorker): void {
    this.#heardAt = performance.now()
    switch (message.type) {
      case 'applied':
        this.#appliedVersion = message.version
        this.#applied.resolve()
        break
      case 'rejected':
        this.#log.error({ version: message.version, reason: message.why }, 'inventory refused, the one before stays')
        break
      case 'counters':
        this.#scrapes.get(message.id)?.(message.counters)
        break
      case 'fault':
        this.#log.error({ reason: message.why }, 'fault on the data side')
        break
      case 'ready':
        this.#ready = true
        break
      case 'heartbeat':
        break
    }
  }

  #replaceIfSilent(): void {
    const now = performance.now()
    const wasBusy = now - this.#watchedAt > 2 * WATCH_EVERY_MS // then it was this thread that did not listen
    this.#watchedAt = now
    const silentMs = now - this.#heardAt
    const isSilent = silentMs > (this.#ready ? SILENCE_MS : START_TIMEOUT_MS)
    if (isSilent && !wasBusy) this.#replace(`it was silent for ${Math.round(silentMs)} ms`)
  }

  /** Ends the worker and starts another; one that did not live long is waited for, so that a fault does not spin. */
  #replace(reason: string): void {
    if (this.#respawn !== null) return
    const livedMs = performance.now() - this.#spawnedAt
    const waitMs = livedMs < SHORT_LIFE_MS ? RESPAWN_WAIT_MS : 0
    this.#log.error({ reason, waitMs }, 'worker replaced')
    void this.#worker.terminate()
    this.#respawn = setTimeout(() => {
      this.#respawn = null
      this.#worker = this.#spawn()
    }, waitMs)
  }
}
