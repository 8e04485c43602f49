// How much may be under way to a host at once: pure arithmetic (Envoy, "Circuit breaking").

import type { ConnectionPool, OutlierDetection, RetryBudget } from '../traffic-policy.ts'

/** What is bounded, as the metrics name it. `ejections`: endpoints that may not be asked at once. */
export const LIMITS = ['connections', 'pending', 'requests', 'retries', 'retry_budget', 'ejections'] as const
export type Limit = (typeof LIMITS)[number]

/** A policy's say about bounds and ejections. */
export interface Bounding {
  readonly scope: string
  readonly pool: ConnectionPool
  readonly outliers: OutlierDetection | null
  readonly retryBudget: RetryBudget | null
}

/** Whether the policy bounds or ejects anything that is counted for the whole node. */
export function isBounding({ scope, pool, outliers, retryBudget }: Bounding): boolean {
  if (scope === '') return false
  const { maxConnections, maxPending, maxRequests, maxRetries } = pool
  return [maxConnections, maxPending, maxRequests, maxRetries, outliers, retryBudget].some((said) => said !== null)
}

/** Retries that a budget lets be under way, of so many requests that count: a share of them, and some in any case. */
export function retriesWithin({ percent, minConcurrency }: RetryBudget, requests: number): number {
  return Math.max(Math.floor((percent / 100) * requests), minConcurrency)
}
