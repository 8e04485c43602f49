// Closes what reaches captured pods in plaintext past the proxy, at ports that take none, once its grace is over. Looks
// whenever the pods' connections are read for the accounts: a walk of its own over the node's sockets would cost as much
// again.

import { type Kernel, KernelError, type OpenConnection } from '../kernel/kernel.ts'
import { addressText } from '../model/address.ts'
import type { PeerModes } from '../model/peer-authentication.ts'
import { type Evidence, type Graces, graceStep, NO_GRACES, suspects } from '../model/strict-grace.ts'
import type { Workload } from '../model/workload.ts'

export interface StrictGraceOptions {
  readonly kernel: Pick<Kernel, 'captured' | 'listeningPorts' | 'localEnds' | 'reset'>
  /** How long a connection may go on, in milliseconds; 0: for ever. */
  readonly graceMs: number
  /** What a pod takes at its ports, now. */
  readonly modesOf: (pod: Workload) => PeerModes
  readonly nowMs: () => number
  readonly log: {
    info(fields: object, message: string): void
    warn(fields: object, message: string): void
  }
}

/** Connections that are reset in one turn of the event loop: some milliseconds. */
const BATCH = 1024
/** What a kernel refuses by, or whoever set the agent's rights, and will again. */
const LASTING: ReadonlySet<string> = new Set(['EOPNOTSUPP', 'EPERM'])
/** Who has refused so is asked again after so long. */
export const REFUSED_MS = 10 * 60 * 1000

/** The graces of a node's captured pods. */
export class StrictGrace {
  readonly #options: StrictGraceOptions
  #pods: ReadonlyMap<string, Workload> = new Map()
  readonly #graces = new Map<string, Graces>()
  /** Connections whose grace is over and that are still there, by pod. */
  readonly #left = new Map<string, number>()
  #refused: { readonly code: string; readonly atMs: number } | null = null
  #closed = 0

  constructor(options: StrictGraceOptions) {
    this.#options = options
  }

  /** Takes the node's pods as they are now. */
  know(pods: readonly Workload[]): void {
    this.#pods = new Map(pods.map((pod) => [pod.uid, pod]))
  }

  /** Looks at a captured pod's open connections, and closes those whose grace is over. Throws KernelError. */
  async look(uid: string, open: readonly OpenConnection[]): Promise<void> {
    const pod = this.#pods.get(uid)
    // one that leaves is about to take plaintext from everybody
    const isHeld = this.#options.graceMs > 0 && pod?.joined === true
    const { excludeInboundPorts = [] } = pod?.terms ?? {}
    const among = isHeld ? suspects(open, { modes: this.#options.modesOf(pod), excludeInboundPorts }) : []
    if (among.length === 0) return this.forget(uid)
    const { nowMs, graceMs } = this.#options
    const evidence = this.#evidenceFor(uid, among)
    const times = { nowMs: nowMs(), graceMs }
    const { graces, due } = graceStep(this.#graces.get(uid) ?? NO_GRACES, among, evidence, times)
    this.#graces.set(uid, graces)
    await this.#close(pod as Workload, due)
  }

  /** The pod is captured no more, or has nothing to be closed. */
  forget(uid: string): void {
    this.#graces.delete(uid)
    this.#left.delete(uid)
  }

  /** Connections that were closed so. */
  get closed(): number {
    return this.#closed
  }

  /** What keeps connections from being closed, a sentence. */
  get lacks(): readonly string[] {
    const count = [...this.#left.values()].reduce((sum, left) => sum + left, 0)
    if (this.#refused === null || count === 0) return []
    const why = this.#refused.code === 'EOPNOTSUPP' ? 'this kernel cannot close them' : this.#refused.code
    return [`${count} connections pass the proxy by in plaintext at STRICT ports: ${why}`]
  }

  #evidenceFor(uid: string, among: readonly OpenConnection[]): Evidence {
    const { kernel } = this.#options
    const dialling = new Set(among.map(({ remote }) => remote.ip))
    const ends = [...kernel.captured()]
      .filter(([other, { ips }]) => other !== uid && ips.some((ip) => dialling.has(ip)))
      .flatMap(([other]) => kernel.localEnds(other))
    return { listening: kernel.listeningPorts(uid), proved: new Set(ends.map(addressText)) }
  }

  #isRefusing(): boolean {
    if (this.#refused === null || !LASTING.has(this.#refused.code)) return false
    return this.#options.nowMs() - this.#refused.atMs < REFUSED_MS
  }

  async #close(pod: Workload, due: readonly bigint[]): Promise<void> {
    const { uid, namespace, name } = pod
    const { kernel, nowMs, log } = this.#options
    this.#left.set(uid, due.length)
    if (due.length === 0 || this.#isRefusing()) return
    let count = 0
    try {
      for (let at = 0; at < due.length; at += BATCH) {
        if (at > 0) await turnOfLoop()
        count += kernel.reset(uid, due.slice(at, at + BATCH))
      }
      this.#left.delete(uid)
      this.#refused = null
    } catch (error) {
      if (!(error instanceof KernelError)) throw error
      const { code } = error
      this.#left.set(uid, due.length - count)
      if (this.#refused?.code !== code)
        log.warn({ reason: error.message }, 'connections past the proxy cannot be closed')
      this.#refused = { code, atMs: nowMs() }
    }
    this.#closed += count
    if (count > 0) log.info({ namespace, pod: name, count }, 'plaintext past the proxy closed: its grace is over')
  }
}

const turnOfLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
