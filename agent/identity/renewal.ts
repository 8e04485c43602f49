// When a certificate is renewed, and how long to wait where that fails. Pure.

/** Of half a lifetime, to either side: nodes that started together do not ask together. */
const JITTER = 0.1
const RETRY_FIRST_MS = 1000
/** A certificate that is renewed sooner would be asked for in a loop. */
const RENEW_LEAST_MS = 1000
/** Of a lifetime: over so much of it, or a minute, nodes ask anew when the root by which is signed is another. */
const REPLACE_PART = 0.1
const REPLACE_MOST_MS = 60_000
const RETRY_MOST_MS = 60_000

/** Milliseconds since 1970. */
export interface Lifetime {
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

/** When to ask for the next: at half life, more or less. `random` is from 0 to 1. */
export function renewAtMs({ notBeforeMs, notAfterMs }: Lifetime, random: number): number {
  const half = (notAfterMs - notBeforeMs) / 2
  return notBeforeMs + half * (1 - JITTER + 2 * JITTER * random)
}

/** How long from now to ask for the next, `isReplaced` where another root is the one by which is signed. */
export function renewAfterMs(
  life: Lifetime,
  isReplaced: boolean,
  { nowMs, random }: { readonly nowMs: number; readonly random: number },
): number {
  const due = renewAtMs(life, random) - nowMs
  const spread = Math.min((life.notAfterMs - life.notBeforeMs) * REPLACE_PART, REPLACE_MOST_MS)
  return Math.max(RENEW_LEAST_MS, isReplaced ? Math.min(due, spread * random) : due)
}

/** How long to wait after so many failures in a row, at least one. */
export function retryAfterMs(failures: number): number {
  return Math.min(RETRY_FIRST_MS * 2 ** (failures - 1), RETRY_MOST_MS)
}
