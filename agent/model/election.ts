// Who leads among replicas that share one lease: the decision, from what was seen of it. Pure. The clock of whoever wrote
// the lease is never believed: a lease is over when it stood unchanged, by the own clock, for as long as it says.

/** A lease as it was read (coordination.k8s.io/v1 LeaseSpec). */
export interface LeaseRecord {
  /** '' where nobody holds it. */
  readonly holder: string
  readonly durationSeconds: number
  /** When the holder took it and last renewed it, by the holder's clock: told on, never compared with ours. */
  readonly acquireTime: string
  readonly renewTime: string
  /** How often it went from one holder to another. */
  readonly transitions: number
}

/** The lease, and since when it has been seen to stand so, in milliseconds of a clock that never goes back. */
export interface Observed {
  /** Null where there is no lease. */
  readonly record: LeaseRecord | null
  readonly sinceMs: number
}

/** Who decides: its identity, unlike any other's and unlike its own of an earlier life, and how long it asks for. */
export interface Candidate {
  readonly identity: string
  readonly durationSeconds: number
}

export type Step =
  | { readonly kind: 'create' | 'take' | 'renew'; readonly record: LeaseRecord }
  /** Another holds it; at `untilMs` its lease is over if it is not renewed. */
  | { readonly kind: 'wait'; readonly holder: string; readonly untilMs: number }

/** What is seen after another look: a lease that did not change has stood since it was first seen so. */
export function observe(before: Observed | null, record: LeaseRecord | null, nowMs: number): Observed {
  return before !== null && sameRecord(before.record, record) ? before : { record, sinceMs: nowMs }
}

/** What to do about a lease. `wallTime` is the time of day to write into it, as a metav1.MicroTime. */
export function nextStep(
  { record, sinceMs }: Observed,
  { identity, durationSeconds }: Candidate,
  { nowMs, wallTime }: { readonly nowMs: number; readonly wallTime: string },
): Step {
  const own = { holder: identity, durationSeconds, acquireTime: wallTime, renewTime: wallTime, transitions: 0 }
  if (record === null) return { kind: 'create', record: own }
  const { holder, acquireTime, transitions } = record
  if (holder === identity) return { kind: 'renew', record: { ...own, acquireTime, transitions } }
  const untilMs = sinceMs + record.durationSeconds * 1000
  if (holder !== '' && nowMs < untilMs) return { kind: 'wait', holder, untilMs }
  return { kind: 'take', record: { ...own, transitions: transitions + 1 } }
}

/** The lease as its holder leaves it, so that the next one need not wait for its end. */
export function released(record: LeaseRecord, wallTime: string): LeaseRecord {
  return { ...record, holder: '', durationSeconds: 1, acquireTime: wallTime, renewTime: wallTime }
}

function sameRecord(one: LeaseRecord | null, other: LeaseRecord | null): boolean {
  if (one === null || other === null) return one === other
  return (
    one.holder === other.holder &&
    one.durationSeconds === other.durationSeconds &&
    one.acquireTime === other.acquireTime &&
    one.renewTime === other.renewTime &&
    one.transitions === other.transitions
  )
}
