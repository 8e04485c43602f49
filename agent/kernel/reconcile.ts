// Brings what is captured in line with what is wanted. The plan is pure; the deed can be repeated at any time, and each
// time looks at what is really there: capture() of a pod that is captured mends what it stands on.
import { closeSync } from 'node:fs'
import type { CaptureTerms } from '../model/terms.ts'
import type { Found } from './discover.ts'
import type { Captured, Kernel } from './kernel.ts'

/** A pod of this node that is to be captured. */
export interface Wanted {
  readonly uid: string
  readonly ips: readonly string[]
  readonly terms: CaptureTerms
}

/** How it stands with a wanted pod: captured, or why not (yet). */
export type Standing =
  { readonly captured: true; readonly pod: Captured } | { readonly captured: false; readonly why: string }

/** What is wanted, and what is let go. */
export interface Wish {
  readonly wanted: readonly Wanted[]
  /** UIDs of captured pods that left the mesh and are announced still: they stay as they are. */
  readonly announced: ReadonlySet<string>
  /** UIDs of those that are not any more: what they dial goes direct, what dials them is still taken. */
  readonly leaving: ReadonlySet<string>
  /** Nothing more is to be captured: another agent may do so by now. */
  readonly isOver?: () => boolean
  /** Other pods of this node, by UID: of what an earlier agent captured, theirs is let go. */
  readonly others: readonly string[]
}

export interface Plan {
  /** UIDs. */
  readonly loosen: readonly string[]
  /** UIDs. */
  readonly release: readonly string[]
  /** To be captured, or shown to be captured still. */
  readonly capture: readonly (Wanted & { readonly netns: number })[]
  /** UID -> reason. */
  readonly waiting: ReadonlyMap<string, string>
}

/** Finds pods' network namespaces (discover.ts). Who gets the fds closes them. */
export type Find = (uids: readonly string[]) => ReadonlyMap<string, Found>

/**
 * What to do. A captured pod that has no process for the moment stays captured: its containers restart, and its network
 * namespace lives on.
 */
export function plan(
  { wanted, leaving, announced }: Wish,
  { captured, held }: { readonly captured: ReadonlyMap<string, Captured>; readonly held: readonly string[] },
  found: ReadonlyMap<string, Found>,
): Plan {
  const wantedUids = new Set(wanted.map(({ uid }) => uid))
  const unwanted = held.filter((uid) => !wantedUids.has(uid))
  const capture: (Wanted & { readonly netns: number })[] = []
  const waiting = new Map<string, string>()
  for (const pod of wanted) {
    const place = found.get(pod.uid)
    if (place?.found) capture.push({ ...pod, netns: place.netns })
    else if (!captured.has(pod.uid)) waiting.set(pod.uid, place?.why ?? 'not looked for yet')
  }
  return {
    loosen: unwanted.filter((uid) => leaving.has(uid)),
    release: unwanted.filter((uid) => !leaving.has(uid) && !announced.has(uid)),
    capture,
    waiting,
  }
}

/**
 * Loosens, releases and captures until what is captured is what is wanted, and says how each wanted pod stands. One pod
 * that cannot be captured does not hold up another, and none holds up the event loop for longer than its own capture.
 */
export async function reconcile(kernel: Kernel, wish: Wish, find: Find): Promise<ReadonlyMap<string, Standing>> {
  const strangers = kernel.inherited().length > 0 ? wish.others : []
  const found = find([...wish.wanted.map(({ uid }) => uid), ...strangers])
  const standings = new Map<string, Standing>()
  try {
    const todo = plan(wish, { captured: kernel.captured(), held: kernel.held() }, found)
    for (const uid of todo.loosen) kernel.loosen(uid)
    for (const uid of todo.release) kernel.release(uid)
    disinherit(kernel, strangers, found)
    for (const [uid, why] of todo.waiting) standings.set(uid, { captured: false, why })
    for (const pod of todo.capture) {
      if (wish.isOver?.()) break
      standings.set(pod.uid, capture(kernel, pod))
      await turnOfLoop()
    }
    for (const [uid, pod] of kernel.captured()) {
      if (!standings.has(uid) && !wish.leaving.has(uid) && !wish.announced.has(uid))
        standings.set(uid, { captured: true, pod })
    }
  } finally {
    for (const place of found.values()) if (place.found) closeSync(place.netns)
  }
  return standings
}

function capture(kernel: Kernel, pod: Plan['capture'][number]): Standing {
  try {
    return { captured: true, pod: kernel.capture(pod) }
  } catch (error) {
    return { captured: false, why: (error as Error).message }
  }
}

/** Pods that were captured by an earlier agent and left the mesh while no agent ran. */
function disinherit(kernel: Kernel, uids: readonly string[], found: ReadonlyMap<string, Found>): void {
  const inherited = new Set(kernel.inherited())
  for (const uid of uids) {
    const place = found.get(uid)
    if (!place?.found) continue
    try {
      const cookie = kernel.cookieOf(place.netns)
      if (inherited.has(cookie)) kernel.disinherit(cookie)
    } catch {
      // it stays inherited, and is tried again at the next look
    }
  }
}

const turnOfLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
