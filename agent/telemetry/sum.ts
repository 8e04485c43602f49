// Adds up the counters of workers that are no more, so that what they counted is not taken back.

import { type Counters, type Sample, SERIES } from './series.ts'

/** Series kept of workers that are no more; beyond, all of them are let go. */
const SERIES_MAX = 50_000

/** The sum of two dumps, series by series. Gauges are left out: what was open with a worker has ended with it. */
export function addCounters(one: Counters, other: Counters): Counters {
  const sums = new Map<string, Sample>()
  for (const sample of [...one, ...other]) {
    if (SERIES[sample.name].kind === 'gauge') continue
    const key = `${sample.name}\n${sample.labels.join('\n')}`
    const known = sums.get(key)
    sums.set(key, known === undefined ? sample : sumOf(known, sample))
  }
  return sums.size > SERIES_MAX ? [] : [...sums.values()]
}

function sumOf(a: Sample, b: Sample): Sample {
  if ('value' in a || 'value' in b) {
    return { name: a.name, labels: a.labels, value: ('value' in a ? a.value : 0) + ('value' in b ? b.value : 0) }
  }
  const counts = a.counts.map((count, index) => count + (b.counts[index] ?? 0))
  return { name: a.name, labels: a.labels, counts, sum: a.sum + b.sum }
}
