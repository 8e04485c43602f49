// Which pods of the node are captured, against which should be: brought in line at every change of the cluster, and on a
// tick while they differ.

import type { Found } from './kernel/discover.ts'
import type { Kernel } from './kernel/kernel.ts'
import { reconcile, type Standing, type Wanted } from './kernel/reconcile.ts'
import type { Workload } from './model/workload.ts'
import type { DataSide } from './workers.ts'

export interface CapturesOptions {
  readonly kernel: Kernel
  readonly data: Pick<DataSide, 'capture' | 'release'>
  /** What captured pods are announced by. */
  readonly agentName: string
  /** Finds pods' network namespaces: findPods of kernel/discover.ts, at the right directory. */
  readonly find: (uids: readonly string[]) => ReadonlyMap<string, Found>
  /** How long to wait before a pod that could not be captured, or announced, is tried again. Milliseconds. */
  readonly retryMs: number
  /** Tells the cluster who has captured the pod; null: nobody. */
  readonly announce: (workload: Workload, agent: string | null) => Promise<void>
  readonly log: {
    info(fields: object, message: string): void
    warn(fields: object, message: string): void
  }
}

/** Keeps captures as they are wanted. All its work is one at a time, in order. */
export class Captures {
  readonly #options: CapturesOptions
  #pods: readonly Workload[] = []
  #standings: ReadonlyMap<string, Standing> = new Map()
  /** What the data side was told: cookie by uid. */
  readonly #told = new Map<string, string>()
  /** Why a pod is not captured, as last logged. */
  readonly #reasons = new Map<string, string>()
  #running: Promise<void> | null = null
  #stale = false
  #stopped = false
  #retry: NodeJS.Timeout | null = null

  constructor(options: CapturesOptions) {
    this.#options = options
  }

  /** Takes the node's pods as they are now. */
  want(localPods: readonly Workload[]): void {
    this.#pods = localPods
    this.#wake()
  }

  /** Joined pods that are not captured, counted by reason. */
  uncaptured(): ReadonlyMap<string, number> {
    const reasons = new Map<string, number>()
    for (const pod of this.#pods) {
      if (!pod.joined) continue
      const reason = this.#reasonAgainst(pod)
      if (reason !== null) reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
    }
    return reasons
  }

  /** Withdraws every announcement. The captures themselves end with the kernel's close. */
  async stop(): Promise<void> {
    this.#stopped = true
    if (this.#retry !== null) clearTimeout(this.#retry)
    await this.#running
    // what was announced a moment ago may not have come back by the watch yet
    const announced = this.#pods.filter(
      ({ uid, captured }) => captured === this.#options.agentName || this.#standings.get(uid)?.captured === true,
    )
    await Promise.all(announced.map((pod) => this.#announce(pod, null)))
  }

  #wake(): void {
    if (this.#stopped) return
    this.#stale = true
    this.#running ??= this.#run().finally(() => (this.#running = null))
  }

  async #run(): Promise<void> {
    while (this.#stale && !this.#stopped) {
      this.#stale = false
      const settled = await this.#bringInLine()
      if (!settled && this.#retry === null && !this.#stopped) {
        this.#retry = setTimeout(() => {
          this.#retry = null
          this.#wake()
        }, this.#options.retryMs)
      }
    }
  }

  /** One comparison and what follows from it. True when nothing is left to try again. */
  async #bringInLine(): Promise<boolean> {
    const pods = this.#pods
    const wanted = pods.flatMap(wantedOf)
    const wantedUids = new Set(wanted.map(({ uid }) => uid))
    // an announcement is withdrawn before the capture ends: callers elsewhere rely on it
    const leaving = pods.filter((pod) => pod.captured === this.#options.agentName && !wantedUids.has(pod.uid))
    const withdrawn = await Promise.all(leaving.map((pod) => this.#announce(pod, null)))
    this.#standings = reconcile(this.#options.kernel, wanted, this.#options.find)
    this.#letGoAllBut(wantedUids)
    this.#tellDataSide()
    const announced = await Promise.all(pods.map((pod) => this.#announceIfCaptured(pod)))
    const isCaptured = wanted.every(({ uid }) => this.#standings.get(uid)?.captured === true)
    return isCaptured && withdrawn.every(Boolean) && announced.every(Boolean)
  }

  /** After the kernel's release: until then connects are turned to listeners that someone must accept on. */
  #letGoAllBut(wanted: ReadonlySet<string>): void {
    for (const uid of [...this.#told.keys()]) {
      if (wanted.has(uid)) continue
      this.#told.delete(uid)
      this.#reasons.delete(uid)
      this.#options.data.release(uid)
      this.#options.log.info({ uid }, 'pod released')
    }
  }

  #tellDataSide(): void {
    for (const [uid, standing] of this.#standings) {
      if (!standing.captured) {
        this.#logOnce(uid, standing.why)
        continue
      }
      const { cookie } = standing.pod
      const told = this.#told.get(uid)
      if (told === cookie) continue
      if (told !== undefined) this.#options.data.release(uid) // its sandbox was made anew
      this.#options.data.capture(standing.pod)
      this.#told.set(uid, cookie)
      this.#reasons.delete(uid)
      this.#options.log.info({ uid, ip: standing.pod.ip }, 'pod captured')
    }
  }

  #logOnce(uid: string, why: string): void {
    if (this.#reasons.get(uid) === why) return
    this.#reasons.set(uid, why)
    this.#options.log.info({ uid, why }, 'pod not captured yet')
  }

  /** True when there is nothing left to announce. */
  async #announceIfCaptured(pod: Workload): Promise<boolean> {
    const { agentName } = this.#options
    if (this.#standings.get(pod.uid)?.captured !== true || pod.captured === agentName) return true
    return this.#announce(pod, agentName)
  }

  async #announce(pod: Workload, agent: string | null): Promise<boolean> {
    try {
      await this.#options.announce(pod, agent)
      return true
    } catch (error) {
      const reason = (error as Error).message
      this.#options.log.warn({ pod: `${pod.namespace}/${pod.name}`, reason }, 'announcement failed')
      return false
    }
  }

  #reasonAgainst(pod: Workload): string | null {
    if (pod.hostNetwork) return 'hostNetwork'
    const standing = this.#standings.get(pod.uid)
    if (standing?.captured === true) return null
    return wantedOf(pod).length === 0 ? 'no IPv4 address yet' : 'no network namespace found yet'
  }
}

/** The pod as something to capture, or nothing: it did not join, shares its node's network, or has no address yet. */
function wantedOf(pod: Workload): Wanted[] {
  const ip = pod.ips.find((candidate) => !candidate.includes(':'))
  return pod.joined && !pod.hostNetwork && ip !== undefined ? [{ uid: pod.uid, ip }] : []
}
