// L4 accounting as the kernel keeps it, made into sums that only grow: what closed connections carried, as the programs
// summed it, and what open ones have carried so far. Pure.
import type { SocketAddress } from '../model/address.ts'
import type { Direction, OpenConnection, Passage, Sum, Tally, TallyKey } from './kernel.ts'

/** Sums of pods that are gone are told for so long: a scraper must have seen the last of them. */
export const GONE_MS = 5 * 60 * 1000

/** What a pod's connections carried since the last reading, past the proxy. */
export interface Flow extends Pick<Sum, 'opened' | 'closed' | 'sentBytes' | 'receivedBytes'> {
  readonly uid: string
  readonly direction: Direction
  /** As Tally.remote. */
  readonly remote: SocketAddress | null
}

/** One pod's sum over all other ends. */
export interface PodSum extends Sum {
  readonly uid: string
  readonly direction: Direction
  readonly passage: Passage
}

const NOTHING: Sum = { opened: 0, closed: 0, sentBytes: 0, receivedBytes: 0, retransmits: 0, srttUs: 0 }

interface Line extends TallyKey {
  sum: Sum
}

interface PodAccount {
  readonly lines: Map<string, Line>
  older: number
  goneAtMs: number | null
}

/** The accounts of a node's captured pods. */
export class Accounts {
  readonly #pods = new Map<string, PodAccount>()

  /**
   * Takes one pod's reading: its tallies first, its open connections after. A connection that closes between the two is in
   * neither until the next reading; as no sum ever falls, it shows as a pause and never twice. Returns what went past the
   * proxy since the last reading.
   */
  read(uid: string, tallies: readonly Tally[], open: readonly OpenConnection[]): Flow[] {
    const account = this.#accountOf(uid)
    const now = new Map<string, Line>()
    const lineOf = (of: TallyKey): Line => {
      const key = keyOf(of)
      const known = now.get(key)
      if (known !== undefined) return known
      const { direction, passage, remote } = of
      const line: Line = { direction, passage, remote, sum: NOTHING }
      now.set(key, line)
      return line
    }
    for (const tally of tallies) lineOf(tally).sum = added(lineOf(tally).sum, tally)
    for (const { tally, sentBytes, receivedBytes } of open) {
      // without its tally it is too young, or found no room: then what it carries is summed once it closes, elsewhere
      if (tally === null || !now.has(keyOf(tally))) continue
      lineOf(tally).sum = added(lineOf(tally).sum, { ...NOTHING, sentBytes, receivedBytes })
    }
    account.older = open.filter(({ tally }) => tally === null).length
    return [...now].flatMap(([key, line]) => {
      const before = account.lines.get(key)?.sum ?? NOTHING
      const sum = greater(before, line.sum)
      account.lines.set(key, { ...line, sum })
      return line.passage === 'direct' ? flowOf(uid, line, before, sum) : []
    })
  }

  /** Open connections older than the pod's capture: they pass the proxy by. As of the last reading. */
  older(uid: string): number {
    return this.#pods.get(uid)?.older ?? 0
  }

  /** The pod is no longer captured: its sums stay for GONE_MS. */
  gone(uid: string, nowMs: number): void {
    const account = this.#pods.get(uid)
    if (account === undefined) return
    account.older = 0
    account.goneAtMs = nowMs
  }

  /** Every pod's sums, and an end to those that were gone for long. */
  sums(nowMs: number): PodSum[] {
    for (const [uid, { goneAtMs }] of this.#pods) {
      if (goneAtMs !== null && nowMs - goneAtMs > GONE_MS) this.#pods.delete(uid)
    }
    return [...this.#pods].flatMap(([uid, { lines }]) => {
      const sums = new Map<string, PodSum>()
      for (const { direction, passage, sum } of lines.values()) {
        const key = `${direction} ${passage}`
        sums.set(key, { uid, direction, passage, ...added(sums.get(key) ?? NOTHING, sum) })
      }
      return [...sums.values()]
    })
  }

  #accountOf(uid: string): PodAccount {
    let account = this.#pods.get(uid)
    // captured anew after a release: the kernel counts from nothing, which a scraper takes for the restart that it is
    if (account === undefined || account.goneAtMs !== null) {
      account = { lines: new Map<string, Line>(), older: 0, goneAtMs: null }
      this.#pods.set(uid, account)
    }
    return account
  }
}

function keyOf({ direction, passage, remote }: TallyKey): string {
  return `${direction} ${passage} ${remote?.ip ?? '*'} ${remote?.port ?? 0}`
}

function combined(a: Sum, b: Sum, how: (x: number, y: number) => number): Sum {
  return {
    opened: how(a.opened, b.opened),
    closed: how(a.closed, b.closed),
    sentBytes: how(a.sentBytes, b.sentBytes),
    receivedBytes: how(a.receivedBytes, b.receivedBytes),
    retransmits: how(a.retransmits, b.retransmits),
    srttUs: how(a.srttUs, b.srttUs),
  }
}

const added = (a: Sum, b: Sum): Sum => combined(a, b, (x, y) => x + y)
const greater = (a: Sum, b: Sum): Sum => combined(a, b, Math.max)

function flowOf(uid: string, { direction, remote }: Line, before: Sum, now: Sum): Flow[] {
  const grown = combined(now, before, (x, y) => x - y)
  const { opened, closed, sentBytes, receivedBytes } = grown
  if (opened + closed + sentBytes + receivedBytes === 0) return []
  return [{ uid, direction, remote, opened, closed, sentBytes, receivedBytes }]
}
