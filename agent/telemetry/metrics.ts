// Counters of all workers as Prometheus text. This is the only place where prom-client meets the data side's series.

import { AggregatorRegistry } from 'prom-client'
import { BUCKETS, type Counters, type Sample, SERIES, type SeriesName } from './series.ts'

interface Value {
  readonly metricName: string
  readonly labels: Record<string, string | number>
  readonly value: number
}

/**
 * Renders the counters of several workers, equal series added up, in the text exposition format 0.0.4. Series of the
 * table that nobody counted yet are left out.
 */
export async function renderMetrics(counters: readonly Counters[]): Promise<string> {
  const dumps = counters.map((samples) => {
    const byName = new Map<SeriesName, Value[]>()
    for (const sample of samples) {
      const known = byName.get(sample.name)
      if (known === undefined) byName.set(sample.name, valuesOf(sample))
      else known.push(...valuesOf(sample))
    }
    return [...byName].map(([name, values]) => {
      const { kind, help } = SERIES[name]
      return { name, help, type: kind, values, aggregator: 'sum' }
    })
  })
  return AggregatorRegistry.aggregate(dumps).metrics()
}

function valuesOf(sample: Sample): Value[] {
  const { name } = sample
  const labels: Record<string, string | number> = {}
  SERIES[name].labels.forEach((label, index) => (labels[label] = sample.labels[index] ?? ''))
  if ('value' in sample) return [{ metricName: name, labels, value: sample.value }]
  let total = 0
  const values = sample.counts.map((count, index) => {
    total += count
    return { metricName: `${name}_bucket`, labels: { ...labels, le: BUCKETS[index] ?? '+Inf' }, value: total }
  })
  return [
    ...values,
    { metricName: `${name}_sum`, labels, value: sample.sum },
    { metricName: `${name}_count`, labels, value: total },
  ]
}
