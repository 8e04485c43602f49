// The scrape configuration that Prometheus' operator makes of the chart's PodMonitor: its own relabelling first, then the template's.
// Source: the operator's API reference, PodMonitorSpec.jobLabel and PodMetricsEndpoint.relabelings.
import { readFile } from 'node:fs/promises'
import { parse } from 'yaml'
import type { ScrapeConfig } from './prometheus.ts'

const PORTS = { 'weft-agent': '15020', 'weft-controller': '15021' } as const

/** What the operator puts before, for a PodMonitor with `jobLabel: app` whose selector is by that label, too. */
function ofTheOperator(name: string): object[] {
  const copied = { namespace: 'namespace', pod_name: 'pod', pod_container_name: 'container', pod_label_app: 'job' }
  return [
    { source_labels: ['__meta_kubernetes_pod_label_app'], regex: name, action: 'keep' },
    ...Object.entries(copied).map(([from, to]) => ({ source_labels: [`__meta_kubernetes_${from}`], target_label: to })),
  ]
}

/** The job of one of the two PodMonitors of the template, its relabelings read as the text that they are. Throws at a line it does not know. */
export async function podMonitorJob(template: string, name: keyof typeof PORTS): Promise<ScrapeConfig> {
  const text = await readFile(template, 'utf8')
  const lines = text.slice(text.indexOf('relabelings:')).split('\n').slice(1)
  const wanted = [true]
  const kept: string[] = []
  for (const line of lines) {
    const condition = /\{\{- if eq \$name "([\w-]+)" \}\}/.exec(line)
    if (condition !== null) wanted.push(condition[1] === name)
    else if (/\{\{- end \}\}/.test(line)) wanted.pop()
    else if (wanted.every(Boolean)) kept.push(line.replace('{{ $port }}', PORTS[name]))
    if (wanted.length === 0) break
  }
  const relabelings = parse(kept.join('\n')) as Record<string, unknown>[]
  const snake = relabelings.map((one) =>
    Object.fromEntries(
      Object.entries(one).map(([key, value]) => [key.replace(/[A-Z]/g, (char) => `_${char.toLowerCase()}`), value]),
    ),
  )
  return {
    job_name: `podMonitor/weft-system/${name}/0`,
    honor_labels: true,
    relabel_configs: [...ofTheOperator(name), ...snake],
  }
}
