// What an ADD is answered: whether the pod is to be captured before it starts, how long that may take, and what if it
// cannot be. The decision is pure, the deed asks the captures until it is done or the time is over.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Workload } from '../model/workload.ts'
import type { CniAnswer, CniRequest } from './request.ts'

/** What the agent knows that bears on a pod being added. */
export interface Known {
  /** Undefined: the watch has not told of it yet. */
  readonly pod: Workload | undefined
  /** Whether pods of its namespace are fail-closed, as far as the namespace says. */
  readonly isClosedNamespace: boolean
}

/** `pass`: it starts as it is. `capture`: it is captured first; `await`: it is not known yet. */
export type Decision =
  { readonly deed: 'pass' } | { readonly deed: 'capture' | 'await'; readonly onLoss: 'open' | 'closed' }

/** Decides by what is known now. */
export function decide({ pod, isClosedNamespace }: Known): Decision {
  if (pod === undefined) return { deed: 'await', onLoss: isClosedNamespace ? 'closed' : 'open' }
  if (!pod.joined || pod.unfit !== null) return { deed: 'pass' }
  return { deed: 'capture', onLoss: pod.terms.onLoss }
}

/** How an ADD ended: `late` starts and is captured when that can be. */
export type AddOutcome = 'passed' | 'captured' | 'late' | 'refused'

export interface AddingOptions {
  readonly know: (request: CniRequest) => Known
  /** Captures the pod now; returns why that cannot be (yet), or null where the capture is in force. */
  readonly capture: (pod: Workload, request: CniRequest) => string | null
  /** Resolves when something that bears on captures has changed. */
  readonly changed: () => Promise<void>
  /** Whether nobody waits for the answer any more. */
  readonly isOver: () => boolean
  /** How long an ADD may wait, by what the pod gets without an agent. Milliseconds. */
  readonly waitMs: Readonly<Record<'open' | 'closed', number>>
}

/** Looks again after so long where nothing changed that is told: the kernel's reasons pass without a word. */
const RETRY_MS = 200

/** Answers an ADD: at once where the pod did not join, else once it is captured, in a bounded time. */
export async function answerAdd(
  request: CniRequest,
  { know, capture, changed, isOver, waitMs }: AddingOptions,
): Promise<{ readonly outcome: AddOutcome; readonly answer: CniAnswer }> {
  const beganMs = performance.now()
  for (;;) {
    const change = changed()
    const known = know(request)
    const decision = decide(known)
    if (decision.deed === 'pass') return { outcome: 'passed', answer: { ok: true } }
    const why = known.pod === undefined ? 'the cluster has not told of the pod yet' : capture(known.pod, request)
    if (why === null) return { outcome: 'captured', answer: { ok: true } }
    const leftMs = waitMs[decision.onLoss] - (performance.now() - beganMs)
    if (leftMs <= 0 || isOver()) return timedOut(request, decision.onLoss, why)
    await Promise.race([change, sleep(Math.min(leftMs, RETRY_MS))])
  }
}

function timedOut({ namespace, pod }: CniRequest, onLoss: 'open' | 'closed', why: string) {
  if (onLoss === 'open') return { outcome: 'late' as const, answer: { ok: true } as const }
  const error = `pod ${namespace}/${pod} is fail-closed and starts only once it is captured, which cannot be yet: ${why}`
  return { outcome: 'refused' as const, answer: { error } }
}
