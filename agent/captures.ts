// Which pods of the node are captured, against which should be: brought in line whenever the node's pods change, and on a
// tick, fast while they differ.

import type { Found } from './kernel/discover.ts'
import type { Captured, Kernel } from './kernel/kernel.ts'
import { reconcile, type Standing, type Wanted } from './kernel/reconcile.ts'
import type { Workload } from './model/workload.ts'
import type { PodStatus } from './telemetry/status.ts'
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

/** How often all captures are looked over: a sandbox made anew with its old address shows in no change of the pod. */
const LOOK_OVER_MS = 5_000
/** Longest wait between two attempts to announce one pod; the first is `retryMs`, doubled at each failure in a row. */
const LONGEST_WAIT_MS = 30_000
/** How long a stop waits for the API server: the kubelet kills after 30 s, and open requests need their part of that. */
const FAREWELL_MS = 3_000

/** Keeps captures as they are wanted. All its work is one at a time, in order. */
export class Captures {
  readonly #options: CapturesOptions
  #pods: readonly Workload[] = []
  #standings: ReadonlyMap<string, Standing> = new Map()
  /** What the data side holds, by uid. */
  readonly #told = new Map<string, Captured>()
  /** Why a pod is not captured, as last logged. */
  readonly #reasons = new Map<string, string>()
  /** Pods whose announcement failed: how often in a row, and until when they are left alone. */
  readonly #refused = new Map<string, { readonly times: number; readonly untilMs: number }>()
  #running: Promise<void> | null = null
  #stale = false
  #stopped = false
  #next: NodeJS.Timeout | null = null

  constructor(options: CapturesOptions) {
    this.#options = options
  }

  /** Takes the node's pods as they are now. Cheap where nothing changed that bears on captures. */
  want(localPods: readonly Workload[]): void {
    const isSame = textOf(localPods) === textOf(this.#pods)
    this.#pods = localPods
    if (!isSame) this.#wake()
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

  /** How every joined pod stands. */
  standings(): readonly PodStatus[] {
    return this.#pods
      .filter(({ joined }) => joined)
      .map((pod) => {
        const { namespace, name, uid, ips } = pod
        const reason = this.#reasonAgainst(pod)
        const state = reason === null ? 'captured' : 'uncaptured'
        return { namespace, name, uid, ips, state, reason, onLoss: 'open', olderConnections: 0 }
      })
  }

  /** Withdraws every announcement, then leaves every pod: after it nothing is turned to a data side that drains. */
  async stop(): Promise<void> {
    this.#stopped = true
    if (this.#next !== null) clearTimeout(this.#next)
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const farewell = setTimeout(resolve, FAREWELL_MS)
    await Promise.race([this.#withdrawAll(), late])
    clearTimeout(farewell)
    const { kernel } = this.#options
    for (const uid of kernel.captured().keys()) kernel.release(uid)
  }

  async #withdrawAll(): Promise<void> {
    await this.#running
    this.#refused.clear()
    // what was announced a moment ago may not have come back by the watch yet
    const announced = this.#pods.filter(
      ({ uid, captured }) => captured === this.#options.agentName || this.#isCaptured(uid),
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
      const waitMs = await this.#bringInLine().catch((error: unknown) => {
        this.#options.log.warn({ reason: (error as Error).message }, 'captures cannot be brought in line')
        return LOOK_OVER_MS
      })
      if (this.#stopped) return
      if (this.#next !== null) clearTimeout(this.#next)
      this.#next = setTimeout(() => this.#wake(), waitMs)
    }
  }

  /** One comparison and what follows from it. Returns after how many milliseconds to do it again. */
  async #bringInLine(): Promise<number> {
    const pods = this.#pods
    this.#forgetAllBut(new Set(pods.map(({ uid }) => uid)))
    const wanted = pods.flatMap(wantedOf)
    const wantedUids = new Set(wanted.map(({ uid }) => uid))
    // an announcement is withdrawn before the capture ends, whichever agent of this node made it
    const leaving = pods.filter(({ uid, captured }) => captured !== null && !wantedUids.has(uid))
    const withdrawn = await Promise.all(leaving.map((pod) => this.#announce(pod, null)))
    if (this.#stopped) return LOOK_OVER_MS
    this.#standings = reconcile(this.#options.kernel, wanted, this.#options.find)
    this.#letGo(pods)
    this.#tellDataSide()
    const staying = pods.filter(({ uid }) => wantedUids.has(uid))
    const announced = await Promise.all(staying.map((pod) => this.#announceStanding(pod)))
    const isCaptured = wanted.every(({ uid }) => this.#isCaptured(uid))
    const waits = [...withdrawn, ...announced].filter((ms) => ms !== null)
    return Math.min(LOOK_OVER_MS, ...waits, ...(isCaptured ? [] : [this.#options.retryMs]))
  }

  #isCaptured(uid: string): boolean {
    return this.#standings.get(uid)?.captured === true
  }

  #forgetAllBut(known: ReadonlySet<string>): void {
    for (const map of [this.#reasons, this.#refused]) {
      for (const uid of map.keys()) if (!known.has(uid)) map.delete(uid)
    }
  }

  /** After the kernel's release: until then connects are turned to listeners that someone must accept on. */
  #letGo(pods: readonly Workload[]): void {
    for (const uid of this.#told.keys()) {
      if (this.#isCaptured(uid)) continue
      this.#told.delete(uid)
      this.#reasons.delete(uid)
      const gone = !pods.some((pod) => pod.uid === uid)
      this.#options.data.release(uid, gone)
      this.#options.log.info({ uid, gone }, 'pod released')
    }
  }

  #tellDataSide(): void {
    for (const [uid, standing] of this.#standings) {
      if (!standing.captured) {
        this.#logOnce(uid, standing.why)
        continue
      }
      const told = this.#told.get(uid)
      if (told === standing.pod) continue
      // captured anew: other listeners, and another cookie where its sandbox was made anew
      if (told !== undefined) this.#options.data.release(uid, told.cookie !== standing.pod.cookie)
      this.#options.data.capture(standing.pod)
      this.#told.set(uid, standing.pod)
      this.#reasons.delete(uid)
      this.#options.log.info({ uid, ips: standing.pod.ips }, 'pod captured')
    }
  }

  #logOnce(uid: string, why: string): void {
    if (this.#reasons.get(uid) === why) return
    this.#reasons.set(uid, why)
    this.#options.log.info({ uid, why }, 'pod not captured yet')
  }

  /** Announces a captured pod, and withdraws our word for one that is not captured (any more). Returns as #announce. */
  async #announceStanding(pod: Workload): Promise<number | null> {
    const { agentName } = this.#options
    const isCaptured = this.#isCaptured(pod.uid)
    if (isCaptured === (pod.captured === agentName)) return null
    return this.#announce(pod, isCaptured ? agentName : null)
  }

  /** Returns null where it is done, else after how many milliseconds to try again. */
  async #announce(pod: Workload, agent: string | null): Promise<number | null> {
    const { uid, namespace, name } = pod
    const { times, untilMs } = this.#refused.get(uid) ?? { times: 0, untilMs: 0 }
    const leftMs = untilMs - performance.now()
    if (leftMs > 0) return leftMs
    try {
      await this.#options.announce(pod, agent)
      this.#refused.delete(uid)
      return null
    } catch (error) {
      const waitMs = Math.min(this.#options.retryMs * 2 ** times, LONGEST_WAIT_MS)
      this.#refused.set(uid, { times: times + 1, untilMs: performance.now() + waitMs })
      const reason = (error as Error).message
      this.#options.log.warn({ pod: `${namespace}/${name}`, reason, waitMs }, 'announcement failed')
      return waitMs
    }
  }

  #reasonAgainst(pod: Workload): string | null {
    if (pod.hostNetwork) return 'hostNetwork'
    if (wantedOf(pod).length === 0) return 'no IPv4 address yet'
    const standing = this.#standings.get(pod.uid)
    if (standing === undefined) return 'not looked for yet'
    return standing.captured ? null : standing.why
  }
}

/** All that bears on captures, to be compared. */
function textOf(pods: readonly Workload[]): string {
  return JSON.stringify(
    pods.map(({ uid, ips, joined, hostNetwork, captured }) => [uid, ips, joined, hostNetwork, captured]),
  )
}

/** The pod as something to capture, or nothing: it did not join, shares its node's network, or has no address yet. */
function wantedOf(pod: Workload): Wanted[] {
  const ip = pod.ips.find((candidate) => !candidate.includes(':'))
  return pod.joined && !pod.hostNetwork && ip !== undefined ? [{ uid: pod.uid, ip }] : []
}
