// Tells the cluster which pods are captured, and withdraws the word; what fails is tried again, less and less often.

import type { Workload } from '../model/workload.ts'

export interface AnnouncementsOptions {
  /** What captured pods are announced by. */
  readonly agentName: string
  /** How long to wait before an announcement is tried again, doubled at each failure in a row. Milliseconds. */
  readonly retryMs: number
  /** Tells the cluster who has captured the pod; null: nobody. */
  readonly announce: (workload: Workload, agent: string | null) => Promise<void>
  readonly log: { warn(fields: object, message: string): void }
}

/** Longest wait between two attempts to announce one pod. */
const LONGEST_WAIT_MS = 30_000

/** What the cluster is told of captured pods. */
export class Announcements {
  readonly #options: AnnouncementsOptions
  /** Pods whose announcement failed: how often in a row, and until when they are left alone. */
  readonly #refused = new Map<string, { readonly times: number; readonly untilMs: number }>()

  /** Addresses that pods were announced with by this agent. */
  readonly #addresses = new Map<string, string>()

  constructor(options: AnnouncementsOptions) {
    this.#options = options
  }

  /** Whether the pod's object says that we have captured it, whatever else it says. */
  isOurs(pod: Workload): boolean {
    return pod.captured === this.#options.agentName
  }

  /** Says what is so, where the pod's object says otherwise. Returns as tell(). */
  async bringInLine(pod: Workload, isCaptured: boolean): Promise<number | null> {
    const isSaid = isCaptured ? this.#isWhole(pod) : !this.isOurs(pod)
    return isSaid ? null : this.tell(pod, isCaptured)
  }

  /** Whether it says so in our name, with the right account (callers would demand another's identity), and where it is now. */
  #isWhole(pod: Workload): boolean {
    const told = this.#addresses.get(pod.uid) ?? pod.ips.join()
    return this.isOurs(pod) && pod.announcedAccount === pod.serviceAccount && told === pod.ips.join()
  }

  /** Returns null where it is done, else after how many milliseconds to try again. */
  async tell(pod: Workload, isCaptured: boolean): Promise<number | null> {
    const { uid, namespace, name } = pod
    const { times, untilMs } = this.#refused.get(uid) ?? { times: 0, untilMs: 0 }
    const leftMs = untilMs - performance.now()
    if (leftMs > 0) return leftMs
    try {
      await this.#options.announce(pod, isCaptured ? this.#options.agentName : null)
      this.#refused.delete(uid)
      if (isCaptured) this.#addresses.set(uid, pod.ips.join())
      else this.#addresses.delete(uid)
      return null
    } catch (error) {
      const waitMs = Math.min(this.#options.retryMs * 2 ** times, LONGEST_WAIT_MS)
      this.#refused.set(uid, { times: times + 1, untilMs: performance.now() + waitMs })
      const reason = (error as Error).message
      this.#options.log.warn({ pod: `${namespace}/${name}`, reason, waitMs }, 'announcement failed')
      return waitMs
    }
  }

  /** Waits for nothing any more. */
  hurry(): void {
    this.#refused.clear()
  }

  forgetAllBut(uids: ReadonlySet<string>): void {
    for (const map of [this.#refused, this.#addresses])
      for (const uid of map.keys()) if (!uids.has(uid)) map.delete(uid)
  }
}
