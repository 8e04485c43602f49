// Leadership by a Lease of the Kubernetes API: asks, writes with compare-and-swap, and knows at every moment whether it
// may still act. What to do is decided in model/election.ts.
//
//   renewal asked ──── may act ────▶ renewMs ──── a write begun before is over ────▶ durationMs: another may lead
//
// Source: coordination.k8s.io/v1 Lease, and client-go's leader election.

import { setTimeout as sleep } from 'node:timers/promises'
import { type LeaseRecord, nextStep, observe, type Observed, released } from '../model/election.ts'
import { type KubeClient, KubeError } from './client.ts'
import type { KubeObject } from './object.ts'
import type { ReflectorLog } from './reflector.ts'

export interface LeaseTerms {
  readonly namespace: string
  readonly name: string
  /** Unlike that of any other replica, and of this one's earlier lives. */
  readonly identity: string
  /** Whole seconds in milliseconds: the API counts seconds. */
  readonly durationMs: number
  /** How long after a renewal was asked for it may still act; less than durationMs. */
  readonly renewMs: number
  /** How often it looks, as leader and as follower. */
  readonly retryMs: number
}

interface Lease extends KubeObject {
  readonly spec?: {
    readonly holderIdentity?: string | null
    readonly leaseDurationSeconds?: number | null
    readonly acquireTime?: string | null
    readonly renewTime?: string | null
    readonly leaseTransitions?: number | null
  }
}

/** One replica's share in a lease. */
export class Leadership {
  readonly #client: KubeClient
  readonly #terms: LeaseTerms
  readonly #on: { readonly change: (leads: boolean) => void; readonly log: ReflectorLog }
  readonly #stop = new AbortController()
  #lease: Lease | null = null
  #observed: Observed | null = null
  #untilMs = -Infinity
  #told = false
  #end: NodeJS.Timeout | null = null
  #running: Promise<void> = Promise.resolve()
  #failures = 0

  constructor(
    client: KubeClient,
    terms: LeaseTerms,
    on: { readonly change: (leads: boolean) => void; readonly log: ReflectorLog },
  ) {
    this.#client = client
    this.#terms = terms
    this.#on = on
  }

  /** Whether this replica may act at this very moment. */
  leads(): boolean {
    return performance.now() < this.#untilMs
  }

  /** Who holds the lease by the last look; '' where nobody does. */
  holder(): string {
    return this.#observed?.record?.holder ?? ''
  }

  /** Milliseconds that a deed may take which is begun while it leads: it is over before another can lead. */
  get deedMs(): number {
    return this.#terms.durationMs - this.#terms.renewMs
  }

  start(): void {
    this.#running = this.#run()
  }

  /** Leads no more from this moment; resolves when the lease is let go, or cannot be. */
  async stop(): Promise<void> {
    this.#stop.abort()
    this.#extend(-Infinity)
    await this.#running
    if (this.#observed?.record?.holder !== this.#terms.identity) return
    await this.#write(released(this.#observed.record, microTime())).catch((error: unknown) => {
      this.#on.log.warn({ reason: reasonOf(error) }, 'the lease is not let go: it ends by itself')
    })
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      try {
        await this.#look()
        this.#failures = 0
      } catch (error) {
        // once in a row: a cluster that is away is away for many looks
        if (this.#failures++ === 0) this.#on.log.warn({ reason: reasonOf(error) }, 'the lease cannot be kept or read')
      }
      await sleep(this.#terms.retryMs * (0.9 + Math.random() * 0.2), undefined, { signal }).catch(() => undefined)
    }
  }

  /** One look at the lease, and what follows. Throws KubeError; a lease that another wrote meanwhile is no error. */
  async #look(): Promise<void> {
    const { identity, durationMs, renewMs } = this.#terms
    await this.#read()
    if (this.#observed === null || this.#stop.signal.aborted) return
    const askedMs = performance.now()
    const self = { identity, durationSeconds: durationMs / 1000 }
    const step = nextStep(this.#observed, self, { nowMs: askedMs, wallTime: microTime() })
    if (step.kind === 'wait') return this.#extend(-Infinity)
    try {
      await this.#write(step.record)
      if (!this.#stop.signal.aborted) this.#extend(askedMs + renewMs)
    } catch (error) {
      const isOthers = error instanceof KubeError && error.status === 409
      if (!isOthers) throw error
      await this.#read()
      if (this.#observed.record?.holder !== identity) this.#extend(-Infinity)
    }
  }

  async #read(): Promise<void> {
    try {
      this.#lease = (await this.#client.get(this.#path(), this.#askMs)) as Lease
    } catch (error) {
      if (!(error instanceof KubeError && error.status === 404)) throw error
      this.#lease = null
    }
    this.#observed = observe(this.#observed, this.#lease && recordOf(this.#lease), performance.now())
  }

  /** Writes over the lease as it was read; 409 where it is not so any more. */
  async #write(record: LeaseRecord): Promise<void> {
    const { namespace, name } = this.#terms
    const given = this.#lease
    const spec = { ...given?.spec, ...specOf(record) }
    const kind = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' }
    const written = given
      ? await this.#client.replace(this.#path(), { ...given, spec }, this.#askMs)
      : await this.#client.create(this.#collection(), { ...kind, metadata: { namespace, name }, spec }, this.#askMs)
    this.#lease = written as Lease
    this.#observed = observe(this.#observed, recordOf(this.#lease), performance.now())
  }

  /** Sets until when it leads, and tells of a change: of the end at the very moment, whatever the API does meanwhile. */
  #extend(untilMs: number): void {
    this.#untilMs = untilMs
    if (this.#end !== null) clearTimeout(this.#end)
    this.#end = null
    const leads = this.leads()
    if (leads) this.#end = setTimeout(() => this.#extend(-Infinity), untilMs - performance.now())
    if (leads === this.#told) return
    this.#told = leads
    this.#on.change(leads)
  }

  /** One question to the API must leave time for another before leadership is over. */
  get #askMs(): number {
    return this.#terms.renewMs / 2
  }

  #collection(): string {
    return `/apis/coordination.k8s.io/v1/namespaces/${this.#terms.namespace}/leases`
  }

  #path(): string {
    return `${this.#collection()}/${this.#terms.name}`
  }
}

function recordOf({ spec = {} }: Lease): LeaseRecord {
  return {
    holder: spec.holderIdentity ?? '',
    durationSeconds: spec.leaseDurationSeconds ?? 0,
    acquireTime: spec.acquireTime ?? '',
    renewTime: spec.renewTime ?? '',
    transitions: spec.leaseTransitions ?? 0,
  }
}

function specOf({ holder, durationSeconds, acquireTime, renewTime, transitions }: LeaseRecord): Lease['spec'] {
  return {
    holderIdentity: holder,
    leaseDurationSeconds: durationSeconds,
    acquireTime,
    renewTime,
    leaseTransitions: transitions,
  }
}

/** The time of day as a metav1.MicroTime. */
export function microTime(): string {
  return new Date().toISOString().replace('Z', '000Z')
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
