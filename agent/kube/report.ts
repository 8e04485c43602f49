// Says of every policy object what is to be said of it: the leader's one queue of writes, in turn and never faster than
// it is told. An object that says so already costs nothing; what this replica wrote itself is no reason to write again.

import { setTimeout as sleep } from 'node:timers/promises'
import { conditionsOf, conditionsWith } from '../model/condition.ts'
import { isWarning, type Statement, statementsOf } from '../model/verdict.ts'
import { type KubeClient, KubeError } from './client.ts'
import { tell } from './events.ts'
import type { Judged } from './policies.ts'
import type { ReflectorLog } from './reflector.ts'
import { writeConditions } from './status.ts'

export interface ReportOptions {
  readonly writesPerSecond: number
  /** A warning by Event is said again after so long: the API forgets Events (after an hour, unless told otherwise). */
  readonly repeatMs: number
  readonly instance: string
  /** Who may write at this moment, and how long one write may take: the lease. */
  readonly lease: { readonly deedMs: number; leads(): boolean }
}

/** What was written since the start, and what is waiting. */
export interface ReportCounts {
  readonly statuses: number
  readonly events: number
  readonly failures: number
  readonly pending: number
}

/** A kind without a status subresource is asked again whether it has one after so long. */
const NO_STATUS_MS = 600_000
/** First and longest pause while the API refuses; doubled at each refusal in a row. */
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 30_000
/** How many times within repeatMs it is looked for what is to be said again. */
const LOOKS = 12

/** Thrown within a deed when the lease was lost in its middle. */
class NotLeading extends Error {}

export class Reporter {
  readonly #client: KubeClient
  readonly #options: ReportOptions
  readonly #log: ReflectorLog
  /** By uid, as every table here: bounded by the objects that the cluster has. */
  #judged = new Map<string, Judged>()
  readonly #queue = new Set<string>()
  /** What an object was brought to say, where the API keeps only a part of it: writing that again would never end. */
  readonly #settled = new Map<string, string>()
  /** When each warning was last told by an Event. */
  readonly #told = new Map<string, Map<string, number>>()
  /** Collections without a status subresource, and when that was found. */
  readonly #noStatus = new Map<string, number>()
  readonly #stop = new AbortController()
  #wake = Promise.withResolvers<void>()
  #running: Promise<void> = Promise.resolve()
  #nextMs = 0
  #refusals = 0
  #counts = { statuses: 0, events: 0, failures: 0 }

  constructor(client: KubeClient, options: ReportOptions, log: ReflectorLog) {
    this.#client = client
    this.#options = options
    this.#log = log
  }

  /** Takes what is to be said from now on, of all objects. */
  want(all: readonly Judged[]): void {
    this.#judged = new Map(all.map((judged) => [judged.object.metadata.uid, judged]))
    for (const table of [this.#queue, this.#settled, this.#told]) {
      for (const uid of table.keys()) if (!this.#judged.has(uid)) table.delete(uid)
    }
    this.#lookOver()
  }

  /** Is told that this replica leads, or does no more. What others told meanwhile is not known: it is told anew. */
  lead(leads: boolean): void {
    if (leads) return this.#lookOver()
    this.#told.clear()
  }

  start(): void {
    this.#running = this.#run()
  }

  /** Resolves when no write is on its way any more. */
  async stop(): Promise<void> {
    this.#stop.abort()
    this.#wake.resolve()
    await this.#running
  }

  counts(): ReportCounts {
    return { ...this.#counts, pending: this.#queue.size }
  }

  /** Puts every object into the queue that something is to be said of. */
  #lookOver(): void {
    for (const [uid, judged] of this.#judged) if (this.#isDue(uid, judged)) this.#queue.add(uid)
    if (this.#queue.size > 0) this.#wake.resolve()
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const [uid] = this.#queue
      if (uid === undefined || !this.#options.lease.leads()) {
        await this.#idle()
        continue
      }
      this.#queue.delete(uid)
      const judged = this.#judged.get(uid)
      if (judged === undefined || !this.#isDue(uid, judged)) continue
      await this.#turn()
      await this.#say(uid)
    }
  }

  /** Waits until there is something to do, or it is time to look over what was told long ago. */
  async #idle(): Promise<void> {
    this.#wake = Promise.withResolvers<void>()
    const wake = this.#wake
    const timer = setTimeout(() => {
      this.#lookOver()
      wake.resolve()
    }, this.#options.repeatMs / LOOKS)
    await wake.promise
    clearTimeout(timer)
  }

  /** Waits for the next write's turn. */
  async #turn(): Promise<void> {
    const now = performance.now()
    const turnMs = Math.max(now, this.#nextMs)
    this.#nextMs = turnMs + 1000 / this.#options.writesPerSecond
    if (turnMs > now) await this.#pause(turnMs - now)
  }

  async #say(uid: string): Promise<void> {
    const judged = this.#judged.get(uid) // it may have been judged anew, or be gone, while its turn was waited for
    if (judged === undefined || this.#stop.signal.aborted) return
    try {
      if (this.#hasStatus(judged)) await this.#writeStatus(uid, judged)
      else await this.#tellEvents(uid, judged)
      this.#refusals = 0
    } catch (error) {
      if (error instanceof NotLeading) this.#queue.add(uid)
      else await this.#refused(uid, judged, error)
    }
  }

  async #writeStatus(uid: string, judged: Judged): Promise<void> {
    const { object, path, collection, verdict } = judged
    const statements = statementsOf(verdict)
    const written = await writeConditions(this.#client, { object, path, statements }, () => this.#may())
    if (written.kind === 'no status') {
      this.#noStatus.set(collection, performance.now())
      this.#log.warn({ collection }, 'no status subresource: what is to be said is said by Events')
      this.#lookOver()
    }
    if (written.kind !== 'written') return
    this.#counts.statuses++
    const { generation = 0 } = object.metadata
    const left = conditionsWith(conditionsOf(written.object.status), statements, { generation, now: '' })
    if (left === null) this.#settled.delete(uid)
    else this.#settled.set(uid, keyOf(judged))
  }

  async #tellEvents(uid: string, judged: Judged): Promise<void> {
    const told = this.#told.get(uid) ?? new Map<string, number>()
    this.#told.set(uid, told)
    for (const warning of this.#untold(uid, judged)) {
      const telling = { instance: this.#options.instance, withinMs: this.#may() }
      await tell(this.#client, judged, warning, telling)
      told.set(textOf(warning), performance.now())
      this.#counts.events++
    }
    const texts = new Set(warningsOf(judged).map(textOf))
    for (const text of told.keys()) if (!texts.has(text)) told.delete(text)
  }

  /** Milliseconds that a request may take which is made now. Throws NotLeading where none may be made. */
  #may(): number {
    if (!this.#options.lease.leads() || this.#stop.signal.aborted) throw new NotLeading('the lease is lost')
    return this.#options.lease.deedMs
  }

  /** Trouble of the API stops everything for a while; of one object, that object until it changes. */
  async #refused(uid: string, { path }: Judged, error: unknown): Promise<void> {
    this.#counts.failures++
    const status = error instanceof KubeError ? error.status : 0
    const reason = error instanceof Error ? error.message : String(error)
    const isItsOwn = status === 400 || status === 404 || status === 413 || status === 422
    const waitMs = isItsOwn ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** this.#refusals++, LONGEST_PAUSE_MS)
    this.#log.warn({ path, reason, waitMs }, 'what is to be said of a policy cannot be written')
    const judged = this.#judged.get(uid)
    if (isItsOwn && judged !== undefined) this.#settled.set(uid, keyOf(judged))
    else this.#queue.add(uid)
    if (waitMs > 0) await this.#pause(waitMs)
  }

  #isDue(uid: string, judged: Judged): boolean {
    if (judged.object.metadata.deletionTimestamp !== undefined) return false
    const settled = this.#settled.get(uid)
    if (settled !== undefined && settled === keyOf(judged)) return false
    if (!this.#hasStatus(judged)) return this.#untold(uid, judged).length > 0
    const { status, metadata } = judged.object
    const writing = { generation: metadata.generation ?? 0, now: '' }
    return conditionsWith(conditionsOf(status), statementsOf(judged.verdict), writing) !== null
  }

  #untold(uid: string, judged: Judged): readonly Statement[] {
    const told = this.#told.get(uid)
    const longAgo = performance.now() - this.#options.repeatMs
    return warningsOf(judged).filter((warning) => (told?.get(textOf(warning)) ?? -Infinity) <= longAgo)
  }

  #hasStatus({ hasStatus, collection }: Judged): boolean {
    if (!hasStatus) return false
    const foundMs = this.#noStatus.get(collection)
    return foundMs === undefined || performance.now() - foundMs > NO_STATUS_MS
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined) // aborted: the loop ends
  }
}

const warningsOf = ({ verdict }: Judged): readonly Statement[] => statementsOf(verdict).filter(isWarning)
const textOf = ({ type, message }: Statement): string => `${type} ${message}`
/** What is to be said of an object, in its present generation, as one text. */
const keyOf = ({ object, verdict }: Judged): string =>
  [object.metadata.generation, ...statementsOf(verdict).map((each) => `${each.status} ${textOf(each)}`)].join('\n')
