// One agent of a node after another: what this one takes over of the one before, and gives to the next.

import { setTimeout as sleep } from 'node:timers/promises'
import { type Giver, isLived, offerHandOver, stanceAt, takeOver } from '../kernel/hand-over.ts'
import type { Kernel } from '../kernel/kernel.ts'

/** An agent that lives on this node and does not hand over is spoken of after so long, and by who is to stop no more waited for. */
const PATIENCE_MS = 30_000
const POLL_MS = 100
/**
 * How long one that is told to stop waits for the next to take its listeners, where the next is there already. The kubelet
 * kills 30 s later than connections may drain, and the words with the API server need their part of that.
 */
const AWAIT_MS = 20_000
/** How often one that was replaced looks for its successor … */
const LOOK_MS = 1_000
/** … and after how many looks in vain it is taken for gone: one that has just come does not answer at once. */
const LOOKS_IN_VAIN_MOST = 10

export interface SuccessionOptions {
  readonly kernel: Kernel
  /** Where the agents of the node meet: handOverPath of kernel/hand-over.ts. */
  readonly path: string
  readonly log: {
    info(message: string): void
    warn(fields: object, message: string): void
  }
}

export class Succession {
  readonly #options: SuccessionOptions

  constructor(options: SuccessionOptions) {
    this.#options = options
  }

  /** Whether another agent lives on this node. Not to be asked while this one offers. */
  get hasOther(): boolean {
    return isLived(this.#options.path)
  }

  /**
   * Takes the listeners of the agent before, and waits until it has let go: two that capture would be one too many. Returns
   * false where this one was told to stop first; not once it has the listeners, for the one before counts on it from then on.
   */
  async takeOver(ended: Promise<unknown>): Promise<boolean> {
    const { kernel, path, log } = this.#options
    let [isOver, hasTaken] = [false, false]
    void ended.then(() => (isOver = true))
    const askedMs = performance.now()
    let isLogged = false
    const isPatient = (): boolean => performance.now() - askedMs <= PATIENCE_MS
    while ((!isOver || (hasTaken && isPatient())) && kernel.lasting && this.hasOther) {
      try {
        const given = takeOver(path)
        if (given !== null) kernel.adopt(given)
        hasTaken ||= given !== null
      } catch (error) {
        log.warn({ reason: (error as Error).message }, 'the agent before cannot be asked')
      }
      if (!isLogged && !isPatient()) {
        isLogged = true
        log.warn({}, 'an agent lives on this node and does not hand over: waiting for its end')
      }
      await sleep(POLL_MS)
    }
    return hasTaken || !isOver
  }

  /**
   * Offers what is captured to a next agent, until one has it (`taken`) or this one is told to stop (`told`). Told while the
   * next one is there and has not asked yet, it goes on for a while: to end before would leave a gap.
   */
  async hold(ended: Promise<unknown>, isNextThere: () => Promise<boolean>): Promise<'taken' | 'told'> {
    const { promise: taken, resolve } = Promise.withResolvers<'taken'>()
    let isTold = false
    const offer = this.#offer({ isLeaving: () => isTold, taken: () => resolve('taken') })
    const told = ended.then(async () => {
      isTold = true
      if (offer === null || !(await isNextThere())) return
      this.#options.log.info('told to stop: waiting for the next agent to take over')
      await sleep(AWAIT_MS, undefined, { ref: false })
    })
    const why = await Promise.race([taken, told.then(() => 'told' as const)])
    offer?.close()
    return why
  }

  /** Null where it cannot be: the next agent then opens listeners of its own. */
  #offer(giver: Omit<Giver, 'captured'>): ReturnType<typeof offerHandOver> | null {
    const { kernel, path, log } = this.#options
    if (!kernel.lasting) return null
    try {
      return offerHandOver(path, { ...giver, captured: () => kernel.captured().values() })
    } catch (error) {
      log.warn({ reason: (error as Error).message }, 'no hand-over to a next agent')
      return null
    }
  }

  /**
   * Does nothing until this agent is told to stop, or the one that has replaced it is gone or about to go: started anew then, it
   * takes that one's place while it still serves.
   */
  async idle(ended: Promise<unknown>): Promise<void> {
    const { path, log } = this.#options
    log.info('replaced: idle until told to stop')
    const waking = new AbortController()
    const told = ended.then(() => waking.abort())
    for (let inVain = 0; inVain < LOOKS_IN_VAIN_MOST && !waking.signal.aborted;) {
      const stance = stanceAt(path)
      if (stance === 'leaving') break
      inVain = stance === null ? inVain + 1 : 0
      await Promise.race([told, sleep(LOOK_MS, undefined, { signal: waking.signal }).catch(() => undefined)])
    }
    if (!waking.signal.aborted) log.info('the agent that had replaced this one goes or is gone')
  }
}
