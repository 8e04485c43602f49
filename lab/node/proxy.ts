// The kube-proxy stand-in of one node: keeps the nft rules of its network namespace equal to the Services and EndpointSlices.
import type { Frontend } from './balance.ts'
import { nftRules } from './rules.ts'
import { mustRun } from './run.ts'

/** Changes that come within this time of each other make one new rule set. */
export const GATHER_MS = 20
/** Pause after a rule set that nft refused. */
export const RETRY_MS = 1_000

export class ServiceProxy {
  readonly #frontends: () => readonly Frontend[]
  readonly #log: (sentence: string) => void
  #timer: NodeJS.Timeout | null = null
  #inForce = ''

  /** `frontends` is asked for the wanted state each time rules are made. */
  constructor(frontends: () => readonly Frontend[], log: (sentence: string) => void) {
    this.#frontends = frontends
    this.#log = log
  }

  /** Says that services or endpoints changed. */
  changed(afterMs = GATHER_MS): void {
    this.#timer ??= setTimeout(() => {
      void this.#apply().then((again) => {
        this.#timer = null
        if (again > 0) this.changed(again)
      })
    }, afterMs)
  }

  /** Returns after how long to try again, or 0 when all is in force. */
  async #apply(): Promise<number> {
    const wanted = nftRules(this.#frontends())
    if (wanted === this.#inForce) return 0
    try {
      await mustRun('nft', ['-f', '-'], wanted)
      this.#inForce = wanted
      // What changed while nft was at work is found by comparing again.
      return GATHER_MS
    } catch (error) {
      this.#log(`services: ${(error as Error).message}`)
      return RETRY_MS
    }
  }
}
