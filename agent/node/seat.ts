// The place of one worker thread: starts it, feeds it, and puts another in its place where it stopped answering.

import { Worker } from 'node:worker_threads'
import { Outbox, type Whole } from './outbox.ts'
import type { Counters, FromWorker, Start, ToWorker } from '../proxy/plane/feed.ts'

export interface SeatLog {
  error(fields: object, message: string): void
}

/** What a seat asks of the data side. */
export interface SeatOptions {
  readonly start: Start
  /** The worker's program. */
  readonly code: URL
  readonly log: SeatLog
  /** Everything there is, or null before the first of it. */
  readonly whole: () => Whole | null
  /** What a worker is told first that has nothing yet: it needs no inventory, and what is newer is told at once. */
  readonly ahead: () => Iterable<ToWorker>
  /** What else it is told, behind the inventory. */
  readonly also: () => Iterable<ToWorker>
  readonly onApplied: () => void
  /** A newer set of keys is wanted. */
  readonly onStaleKeys: (name: string) => void
  /** The worker has ended and counts no more. `last` is what it had counted when it was asked last. */
  readonly onEnded: (last: Counters) => void
}

/**
 * Young objects of a worker, in MB: V8's own bound lets a collection copy 16 MB at once, some 8 ms while a large inventory
 * is read; with this one it takes some 0.7 ms, more often.
 */
const YOUNG_MB = 6
/** A worker that was silent for so long is replaced; one that has yet to load its code gets more time. */
const SILENCE_MS = 2_000
const START_TIMEOUT_MS = 20_000
const WATCH_EVERY_MS = 500
/** A worker that ended sooner than this is replaced only after RESPAWN_WAIT_MS. */
const SHORT_LIFE_MS = 5_000
const RESPAWN_WAIT_MS = 1_000
/** A thread that is to end gets so long: it may be inside a system call. It runs no more code of ours then. */
const END_TIMEOUT_MS = 5_000
/** A scrape waits so long for the worker's counters; then it goes by the last ones. */
const SCRAPE_TIMEOUT_MS = 1_000

export class Seat {
  readonly #options: SeatOptions
  readonly #watch: NodeJS.Timeout
  readonly #scrapes = new Map<number, (counters: Counters | null) => void>()
  #worker: Worker
  #outbox: Outbox
  #appliedVersion = 0
  #last: Counters = []
  #nextScrape = 0
  #heardAt = 0
  #spawnedAt = 0
  #watchedAt = performance.now()
  #isReady = false
  #isStopping = false
  #replacing: Promise<void> | null = null
  #wait: { readonly timer: NodeJS.Timeout; readonly over: () => void } | null = null

  constructor(options: SeatOptions) {
    this.#options = options
    ;({ worker: this.#worker, outbox: this.#outbox } = this.#spawn())
    this.#watch = setInterval(() => this.#replaceIfSilent(), WATCH_EVERY_MS)
  }

  /** Version of the inventory that this worker carries connections by; 0 before the first. */
  get appliedVersion(): number {
    return this.#appliedVersion
  }

  /** Where to say what is told in the order of the versions. */
  get outbox(): Outbox {
    return this.#outbox
  }

  /** Tells at once. */
  tell(message: ToWorker): void {
    this.#worker.postMessage(message)
  }

  /** The worker's counters, and whether they are of now. */
  async scrape(): Promise<{ readonly counters: Counters; readonly isFresh: boolean }> {
    if (this.#replacing !== null) return { counters: this.#last, isFresh: false }
    const id = ++this.#nextScrape
    const { promise, resolve } = Promise.withResolvers<Counters | null>()
    const timer = setTimeout(() => resolve(null), SCRAPE_TIMEOUT_MS)
    this.#scrapes.set(id, resolve)
    this.tell({ type: 'scrape', id })
    const counters = await promise
    clearTimeout(timer)
    this.#scrapes.delete(id)
    if (counters !== null) this.#last = counters
    return { counters: this.#last, isFresh: counters !== null }
  }

  /** Lets open work end for `graceMs`, then ends the worker. */
  async stop(graceMs: number): Promise<void> {
    this.#isStopping = true
    clearInterval(this.#watch)
    if (this.#replacing !== null) {
      this.#wait?.over()
      await this.#replacing // there is no worker to stop
      return
    }
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#worker.once('exit', () => resolve())
    this.tell({ type: 'stop', graceMs })
    const timer = setTimeout(() => void this.#worker.terminate(), graceMs + SILENCE_MS)
    await promise
    clearTimeout(timer)
  }

  #spawn(): { worker: Worker; outbox: Outbox } {
    const { code, start, log, whole, ahead, also } = this.#options
    const worker = new Worker(code, { resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB } })
    const outbox = new Outbox(
      (message) => worker.postMessage(message),
      () => whole() ?? never(),
    )
    this.#heardAt = this.#spawnedAt = performance.now()
    this.#isReady = false
    this.#appliedVersion = 0
    worker.on('message', (message: FromWorker) => {
      if (worker === this.#worker) this.#hear(message) // one that was replaced has nothing to say any more
    })
    worker.on('error', (error: Error) => log.error({ reason: error.message, stack: error.stack }, 'worker failed'))
    worker.on('exit', (exitCode) => {
      if (!this.#isStopping && worker === this.#worker) this.#replace(`it ended with code ${exitCode}`)
    })
    worker.postMessage(start)
    for (const message of ahead()) worker.postMessage(message)
    if (whole() !== null) outbox.begin()
    for (const message of also()) outbox.tell(message)
    return { worker, outbox }
  }

  #hear(message: FromWorker): void {
    this.#heardAt = performance.now()
    const { log } = this.#options
    switch (message.type) {
      case 'next':
        this.#outbox.next()
        break
      case 'applied':
        this.#appliedVersion = message.version
        this.#outbox.settled('applied')
        this.#options.onApplied()
        break
      case 'rejected':
        log.error({ version: message.version, reason: message.why }, 'inventory refused, the one before stays')
        this.#outbox.settled('rejected')
        break
      case 'refused': {
        const { object, why } = message.refusal
        log.error({ version: message.version, object, reason: why }, 'object refused, its last good form stays')
        break
      }
      case 'counters':
        this.#scrapes.get(message.id)?.(message.counters)
        break
      case 'stale-keys':
        this.#options.onStaleKeys(message.name)
        break
      case 'fault':
        log.error({ reason: message.why }, 'fault on the data side')
        break
      case 'ready':
        this.#isReady = true
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
    const isSilent = silentMs > (this.#isReady ? SILENCE_MS : START_TIMEOUT_MS)
    if (isSilent && !wasBusy) this.#replace(`it was silent for ${Math.round(silentMs)} ms`)
  }

  /** Ends the worker and starts another; one that did not live long is waited for, so that a fault does not spin. */
  #replace(reason: string): void {
    if (this.#replacing !== null) return
    const livedMs = performance.now() - this.#spawnedAt
    const waitMs = livedMs < SHORT_LIFE_MS ? RESPAWN_WAIT_MS : 0
    this.#options.log.error({ reason, waitMs }, 'worker replaced')
    this.#replacing = this.#endAndSpawn(waitMs).finally(() => (this.#replacing = null))
  }

  async #endAndSpawn(waitMs: number): Promise<void> {
    const ended = this.#worker.terminate()
    this.#appliedVersion = 0
    await Promise.race([ended, this.#pause(END_TIMEOUT_MS)])
    this.#wait?.over()
    this.#options.onEnded(this.#last)
    this.#last = []
    if (!this.#isStopping) await this.#pause(waitMs)
    if (!this.#isStopping) ({ worker: this.#worker, outbox: this.#outbox } = this.#spawn())
  }

  /** Waits, or until a stop has no time for it. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const over = (): void => {
        clearTimeout(timer)
        this.#wait = null
        resolve()
      }
      const timer = setTimeout(over, ms)
      this.#wait = { timer, over }
    })
  }
}

function never(): never {
  throw new Error('a whole inventory was asked for before there is one')
}
