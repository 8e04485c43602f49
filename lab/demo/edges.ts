// Who calls whom, from the agents' own counters: the standard Istio metrics, two readings, their difference.
import type { Sample } from './exposition.ts'

/** All agents' samples at one time. */
export interface Reading {
  readonly atMs: number
  readonly samples: readonly Sample[]
}

/** One line of the graph: a workload calling a version of a service. */
export interface Edge {
  readonly caller: string
  readonly callee: string
  /** Empty where no endpoint was chosen: an aborted request never left the caller's node. */
  readonly version: string
  readonly requests: number
  readonly perSecond: number
  /** Share of answers that were no error (2xx, 3xx), 0 to 1. */
  readonly fine: number
  /** Median duration in milliseconds, interpolated in its bucket; null without answers. */
  readonly medianMs: number | null
}

const requestsTotal = 'istio_requests_total'
const durationBucket = 'istio_request_duration_milliseconds_bucket'

interface Sums {
  readonly caller: string
  readonly callee: string
  readonly version: string
  requests: number
  fine: number
  readonly buckets: Map<number, number>
}

/** The edges of `namespace` as its callers reported them between two readings, busiest caller chain first by name. */
export function edgesBetween(before: Reading, after: Reading, namespace: string): Edge[] {
  const earlier = new Map(before.samples.map((sample) => [keyOf(sample), sample.value]))
  const sums = new Map<string, Sums>()
  for (const sample of after.samples) {
    const { name, labels } = sample
    if (name !== requestsTotal && name !== durationBucket) continue
    if (labels['reporter'] !== 'source' || labels['destination_service_namespace'] !== namespace) continue
    const known = earlier.get(keyOf(sample)) ?? 0
    // A counter that went back belongs to an agent that started anew.
    const grown = sample.value >= known ? sample.value - known : sample.value
    if (grown > 0) add(edgeOf(sums, labels), sample, grown)
  }
  const seconds = Math.max((after.atMs - before.atMs) / 1000, 0.001)
  return [...sums.values()].map((sum) => finished(sum, seconds)).sort(byName)
}

/** How many requests a reading counts in all, for the labels given (a label's value must be equal). */
export function requestsIn(samples: readonly Sample[], labels: Readonly<Record<string, string>>): number {
  const fits = (sample: Sample): boolean =>
    Object.entries(labels).every(([name, value]) => sample.labels[name] === value)
  return samples
    .filter((sample) => sample.name === requestsTotal && fits(sample))
    .reduce((sum, { value }) => sum + value, 0)
}

function edgeOf(sums: Map<string, Sums>, labels: Sample['labels']): Sums {
  const named = (label: string): string => (labels[label] === 'unknown' ? '' : (labels[label] ?? ''))
  const caller = named('source_workload')
  const callee = named('destination_service_name')
  const version = named('destination_version')
  const key = JSON.stringify([caller, callee, version])
  const edge = sums.get(key) ?? { caller, callee, version, requests: 0, fine: 0, buckets: new Map<number, number>() }
  sums.set(key, edge)
  return edge
}

function add(edge: Sums, { name, labels }: Sample, grown: number): void {
  if (name === requestsTotal) {
    edge.requests += grown
    if (/^[23]/.test(labels['response_code'] ?? '')) edge.fine += grown
    return
  }
  const bound = labels['le'] === '+Inf' ? Infinity : Number(labels['le'])
  edge.buckets.set(bound, (edge.buckets.get(bound) ?? 0) + grown)
}

function finished({ caller, callee, version, requests, fine, buckets }: Sums, seconds: number): Edge {
  return {
    caller,
    callee,
    version,
    requests,
    perSecond: requests / seconds,
    fine: requests === 0 ? 1 : fine / requests,
    medianMs: median(buckets),
  }
}

/** The median of a cumulative histogram, linear inside its bucket, as Prometheus' histogram_quantile does. */
function median(buckets: ReadonlyMap<number, number>): number | null {
  const sorted = [...buckets].sort(([one], [other]) => one - other)
  const total = sorted.at(-1)?.[1] ?? 0
  if (total === 0) return null
  let [from, below] = [0, 0]
  for (const [bound, count] of sorted) {
    if (count >= total / 2) {
      if (bound === Infinity) return from
      return count === below ? bound : from + ((bound - from) * (total / 2 - below)) / (count - below)
    }
    ;[from, below] = [bound, count]
  }
  return from
}

const keyOf = ({ name, labels }: Sample): string => `${name}${JSON.stringify(Object.entries(labels).sort())}`

const byName = (one: Edge, other: Edge): number =>
  one.callee === other.callee ? one.version.localeCompare(other.version) : one.callee.localeCompare(other.callee)
