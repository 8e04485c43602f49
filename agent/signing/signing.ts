// The controller's end of certificates: while this replica leads it is the authority of the mesh. All that it knows is
// read anew each time it begins to lead, and forgotten when it does no more: another may have changed it meanwhile.

import type { KubeClient } from '../kube/client.ts'
import { AuthorityInForce, type AuthorityStatus, type SigningLog } from './authority-in-force.ts'
import { Requests } from './requests.ts'

export interface SigningOptions {
  /** Where Secret and ConfigMap are, and the agents. */
  readonly namespace: string
  /** Service account of the agents. */
  readonly agentAccount: string
  readonly certificateSeconds: number
  /** How long agents are given to hear of a new root. */
  readonly settleMs: number
  readonly trustDomain: () => string
  /** Who may write at this moment, and how long one write may take: the lease. */
  readonly lease: { readonly deedMs: number; leads(): boolean }
}

/** How it stands, and what was done since the start. */
export interface SigningStatus {
  /** Null while this replica does not lead. */
  readonly authority: AuthorityStatus | null
  readonly signed: number
  readonly denied: number
  readonly failures: number
  /** Requests that have no answer yet. */
  readonly pending: number
}

interface Session {
  readonly authority: AuthorityInForce
  readonly requests: Requests
}

/** Signs while it leads. */
export class Signing {
  readonly #client: KubeClient
  readonly #options: SigningOptions
  readonly #log: SigningLog
  readonly #counts = { signed: 0, denied: 0, failures: 0 }
  #session: Session | null = null
  #ending: Promise<unknown> = Promise.resolve()
  #isStopped = false

  constructor(client: KubeClient, options: SigningOptions, log: SigningLog) {
    this.#client = client
    this.#options = options
    this.#log = log
  }

  /** Is told that this replica leads, or does no more. */
  lead(leads: boolean): void {
    this.#end()
    if (leads && !this.#isStopped) this.#begin()
  }

  /** Resolves when no write is on its way any more. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#end()
    await this.#ending
  }

  status(): SigningStatus {
    const { authority, requests } = this.#session ?? {}
    return { authority: authority?.status() ?? null, ...this.#counts, pending: requests?.pending ?? 0 }
  }

  #begin(): void {
    const { namespace, agentAccount, certificateSeconds, settleMs, trustDomain, lease } = this.#options
    const may = (): number => {
      if (!lease.leads()) throw new Error('the lease is lost')
      return lease.deedMs
    }
    const authority = new AuthorityInForce(
      this.#client,
      { namespace, settleMs, trustDomain, may },
      { change: () => requests.goOn(), log: this.#log },
    )
    const agentUsername = `system:serviceaccount:${namespace}:${agentAccount}`
    const requests = new Requests(
      this.#client,
      {
        authority: () => authority.current(),
        facts: () => ({ trustDomain: trustDomain(), agentUsername }),
        certificateSeconds,
        may,
      },
      {
        signed: () => this.#counts.signed++,
        denied: () => this.#counts.denied++,
        failed: () => this.#counts.failures++,
        log: this.#log,
      },
    )
    this.#session = { authority, requests }
    authority.start()
    requests.start()
  }

  #end(): void {
    if (this.#session === null) return
    const { authority, requests } = this.#session
    this.#session = null
    this.#ending = Promise.all([this.#ending, authority.stop(), requests.stop()])
  }
}
