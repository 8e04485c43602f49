// Brings what is captured in line with what is wanted. The plan is pure; the deed can be repeated at any time.
import { closeSync } from 'node:fs'
import type { Found } from './discover.ts'
import type { Captured, Kernel } from './kernel.ts'

/** A pod of this node whose namespace joined. */
export interface Wanted {
  readonly uid: string
  readonly ip: string
}

/** How it stands with a wanted pod: captured, or why not (yet). */
export type Standing =
  { readonly captured: true; readonly pod: Captured } | { readonly captured: false; readonly why: string }

export interface Plan {
  /** UIDs. */
  readonly release: readonly string[]
  /** To be captured, or shown to be captured still. */
  readonly capture: readonly (Wanted & { readonly netns: number })[]
  /** UID -> reason. */
  readonly waiting: ReadonlyMap<string, string>
}

/**
 * What to do. A captured pod that has no process for the moment stays captured: its containers restart, and its network
 * namespace lives on.
 */
export function plan(
  wanted: readonly Wanted[],
  captured: ReadonlyMap<string, Captured>,
  found: ReadonlyMap<string, Found>,
): Plan {
  const ips = new Map(wanted.map((pod) => [pod.uid, pod.ip]))
  const release = [...captured.values()].filter((pod) => ips.get(pod.uid) !== pod.ips[0]).map((pod) => pod.uid)
  const capture: (Wanted & { readonly netns: number })[] = []
  const waiting = new Map<string, string>()
  for (const pod of wanted) {
    const place = found.get(pod.uid)
    if (place?.found) capture.push({ ...pod, netns: place.netns })
    else if (captured.get(pod.uid)?.ips[0] !== pod.ip) waiting.set(pod.uid, place?.why ?? 'not looked for yet')
  }
  return { release, capture, waiting }
}

/**
 * Captures and releases until what is captured is what is wanted, and says how each wanted pod stands. `find` is findPods
 * of discover.ts; the fds it opens are closed here. One pod that cannot be captured does not hold up another.
 */
export function reconcile(
  kernel: Kernel,
  wanted: readonly Wanted[],
  find: (uids: readonly string[]) => ReadonlyMap<string, Found>,
): ReadonlyMap<string, Standing> {
  const found = find(wanted.map((pod) => pod.uid))
  const standings = new Map<string, Standing>()
  try {
    const todo = plan(wanted, kernel.captured(), found)
    for (const uid of todo.release) kernel.release(uid)
    for (const [uid, why] of todo.waiting) standings.set(uid, { captured: false, why })
    for (const pod of todo.capture) {
      try {
        standings.set(pod.uid, { captured: true, pod: kernel.capture(pod) })
      } catch (error) {
        standings.set(pod.uid, { captured: false, why: (error as Error).message })
      }
    }
    for (const [uid, pod] of kernel.captured()) {
      if (!standings.has(uid)) standings.set(uid, { captured: true, pod })
    }
  } finally {
    for (const place of found.values()) if (place.found) closeSync(place.netns)
  }
  return standings
}
