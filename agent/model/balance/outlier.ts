// Which endpoints are not asked for a while because they failed: pure arithmetic, time passed in. It follows Envoy's
// consecutive detectors ("Outlier detection" and the comments of config.cluster.v3.OutlierDetection, version 1.31 and later)
// as Istio sets them up: all enforced, none by success rate, no jitter.

import type { OutlierDetection } from '../traffic-policy.ts'

/**
 * How a try at an endpoint went. A number: the HTTP status that it answered. `connected`: it has a connection to the endpoint,
 * and an answer is yet to come. `carried`: it has a connection, and what comes of it nobody hears (TCP). `failed`: it could
 * not connect, the connection broke before an answer, or no answer came in time.
 */
export type Outcome = number | 'connected' | 'carried' | 'failed'

/** What an outcome is to one of the counts; null: nothing. */
export type Mark = 'failure' | 'success' | null

/** What it is to all of them. */
export interface Marks {
  /** Failures of any kind; where connections' own are told apart, answers alone. */
  readonly any: Mark
  /** Those that a gateway would answer 502, 503 or 504 for. */
  readonly gateway: Mark
  /** Failures of the connection, where they are told apart. */
  readonly local: Mark
}

const NOTHING: Marks = { any: null, gateway: null, local: null }
const ANSWERED: Marks = { any: 'success', gateway: 'success', local: null }
const ERROR: Marks = { any: 'failure', gateway: 'success', local: null }
const GATEWAY_ERROR: Marks = { any: 'failure', gateway: 'failure', local: null }
const CONNECTED: Marks = { any: null, gateway: null, local: 'success' }
const UNCONNECTED: Marks = { any: null, gateway: null, local: 'failure' }

/** 502, 503 and 504. What has no status of its own is one of these to Envoy: 503 for a connection, 504 for a time-out. */
function isGatewayError(status: number): boolean {
  return status >= 502 && status <= 504
}

/** Whether an answer is a failure. */
function isError(codes: readonly number[], status: number): boolean {
  return codes.length === 0 ? status >= 500 && status <= 599 : codes.includes(status)
}

/** What an outcome says to the counts of an endpoint. */
export function marksOf({ codes, splitsLocal }: OutlierDetection, outcome: Outcome): Marks {
  switch (outcome) {
    case 'connected':
      return splitsLocal ? CONNECTED : NOTHING // else the answer is waited for
    case 'carried':
      return splitsLocal ? CONNECTED : ANSWERED
    case 'failed':
      return splitsLocal ? UNCONNECTED : GATEWAY_ERROR
    default:
      if (!isError(codes, outcome)) return ANSWERED
      return isGatewayError(outcome) ? GATEWAY_ERROR : ERROR
  }
}

/** One of the three counts that an endpoint may be ejected by. */
export type Streak = keyof Marks

/** Failures in a row at which an endpoint is ejected; 0: never. */
export function limitOf(rules: OutlierDetection, streak: Streak): number {
  switch (streak) {
    case 'any':
      return rules.consecutive5xx
    case 'gateway':
      return rules.consecutiveGateway
    case 'local':
      return rules.splitsLocal ? rules.consecutiveLocal : 0
  }
}

/**
 * Whether one more of `endpoints` may be ejected where `ejected` are. The share counts the one in question, so it is never
 * above the percentage, and a first ejection has no privilege: with 10 % of two endpoints none is ejected, with 50 % one.
 * (Envoy ejected one whatever the percentage until 1.27; since 1.31 only with `always_eject_one_host`, which Istio does not
 * set.)
 */
export function mayEject({ maxEjectionPercent }: OutlierDetection, ejected: number, endpoints: number): boolean {
  return endpoints > 0 && (100 * (ejected + 1)) / endpoints <= Math.min(100, maxEjectionPercent)
}

/** Envoy's `max_ejection_time`, which Istio does not set. */
const LONGEST_MS = 300_000

function longestMs({ baseEjectionMs }: OutlierDetection): number {
  return Math.max(LONGEST_MS, baseEjectionMs)
}

/** How it stands with an endpoint. */
export interface Standing {
  readonly ejected: boolean
  /** How often it was ejected, less one for each interval at whose end it was not: the base time is multiplied by it. */
  readonly times: number
  /** When it was ejected last. */
  readonly atMs: number
}

/** How long an ejection lasts at least; it ends with the interval in which this is over. */
export function ejectionMs(rules: OutlierDetection, times: number): number {
  return Math.min(rules.baseEjectionMs * times, longestMs(rules))
}

/** An endpoint that is ejected now. Once its time has reached the longest one, it grows no more. */
export function ejectedNow(rules: OutlierDetection, { times }: Standing, nowMs: number): Standing {
  const { baseEjectionMs } = rules
  const grows = baseEjectionMs * times < longestMs(rules) + baseEjectionMs
  return { ejected: true, times: grows ? times + 1 : times, atMs: nowMs }
}

/** The last end of an interval up to now, where one ended at `phaseMs`. */
export function lastCheck({ intervalMs }: OutlierDetection, phaseMs: number, nowMs: number): number {
  return phaseMs + Math.floor((nowMs - phaseMs) / intervalMs) * intervalMs
}

/**
 * How it stands after the ends of intervals since `checkedMs`, which was one, up to now. The first at which the time of an
 * ejection is over takes the endpoint back; each that finds it not ejected makes its next ejection shorter.
 */
export function afterChecks(
  rules: OutlierDetection,
  standing: Standing,
  checkedMs: number,
  nowMs: number,
): { readonly standing: Standing; readonly checkedMs: number } {
  const { intervalMs } = rules
  const lastMs = lastCheck(rules, checkedMs, nowMs)
  const checks = Math.round((lastMs - checkedMs) / intervalMs)
  if (checks < 1) return { standing, checkedMs }
  const { ejected, times, atMs } = standing
  if (!ejected) return { standing: { ...standing, times: Math.max(0, times - checks) }, checkedMs: lastMs }
  const first = Math.max(1, Math.ceil((atMs + ejectionMs(rules, times) - checkedMs) / intervalMs))
  if (first > checks) return { standing, checkedMs: lastMs }
  return { standing: { ejected: false, times: Math.max(0, times - (checks - first)), atMs }, checkedMs: lastMs }
}
