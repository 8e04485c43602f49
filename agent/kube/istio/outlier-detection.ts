// When an endpoint is not asked for a while.

import type { OutlierDetection } from '../../model/traffic-policy.ts'
import type { GivenOutliers } from '../istio.ts'
import { Rejected } from '../translate.ts'
import { duration, optional, percent } from './checked.ts'

/** Istio's defaults, of which Envoy's are a part. */
const FAILURES = 5
const INTERVAL_MS = 10_000
const EJECTION_MS = 30_000
const EJECTED_PERCENT = 10

export function outlierDetection(given: GivenOutliers, path: string): OutlierDetection {
  const { consecutiveErrors: old = 0, consecutiveLocalOriginFailures: local } = given
  const splitsLocal = given.splitExternalLocalOriginErrors ?? false
  if (local && !splitsLocal) {
    throw new Rejected(`${path}.consecutiveLocalOriginFailures`, 'needs splitExternalLocalOriginErrors')
  }
  if (old < 0) throw new Rejected(`${path}.consecutiveErrors`, 'must not be negative')
  const ejected = percent(given.maxEjectionPercent ?? 0, `${path}.maxEjectionPercent`)
  return {
    // the older field counts gateway errors, and nothing else (github.com/istio/api/pull/617)
    consecutive5xx: given.consecutive5xxErrors ?? (old > 0 ? 0 : FAILURES),
    consecutiveGateway: given.consecutiveGatewayErrors ?? old,
    consecutiveLocal: local ?? FAILURES,
    splitsLocal,
    codes: statusCodes(given.outlierDetectionHttpErrorCodes ?? [], `${path}.outlierDetectionHttpErrorCodes`),
    intervalMs: optional(given.interval, `${path}.interval`, duration) ?? INTERVAL_MS,
    baseEjectionMs: optional(given.baseEjectionTime, `${path}.baseEjectionTime`, duration) ?? EJECTION_MS,
    maxEjectionPercent: ejected || EJECTED_PERCENT, // 0 is what an absent one is
    minHealthPercent: percent(given.minHealthPercent ?? 0, `${path}.minHealthPercent`),
  }
}

function statusCodes(given: unknown, path: string): readonly number[] {
  if (!Array.isArray(given)) throw new Rejected(path, 'must be array')
  return given.map((code: unknown, index) => {
    if (typeof code === 'number' && Number.isInteger(code) && code >= 100 && code <= 599) return code
    throw new Rejected(`${path}[${index}]`, 'must be a status from 100 to 599')
  })
}
