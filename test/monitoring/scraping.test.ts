// A real Prometheus scrapes the agents and the controller of a lab, as a user's would: no warning, rules in force, panels with data.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { V1Pod } from '@kubernetes/client-node'
import { parse } from 'yaml'
import { PROJECT } from '../../lab/state.ts'
import { eventually, TestLab } from '../lab/lab.ts'
import { page, upWithAgents } from '../lab/mesh.ts'
import { podMonitorJob } from './pod-monitor.ts'
import { blockOf, Prometheus, type ScrapeConfig } from './prometheus.ts'
import { readQueries, readRules } from './rules.ts'

const DOCUMENT = join(PROJECT, 'docs/monitoring.md')
const TEMPLATE = join(PROJECT, 'charts/weft/templates/monitoring-podmonitors.yaml')
/** An agent's page may take so long to render and to send, on a machine that does much else. */
const SCRAPE_LIMIT_SECONDS = 2
const CALLS_FOR_MS = 12_000

/** A caller outside the mesh, and a pod that has joined and cannot be captured. */
const MORE = `
---
apiVersion: v1
kind: Namespace
metadata: { name: aside }
---
apiVersion: v1
kind: Pod
metadata: { name: stranger, namespace: aside }
spec: { containers: [{ name: curl, image: docker.io/curlimages/curl:8.10.1, command: [sleep, infinity] }] }
---
apiVersion: v1
kind: Pod
metadata: { name: host, namespace: hello }
spec: { hostNetwork: true, containers: [{ name: main, image: none, command: [sleep, infinity] }] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: no-admin, namespace: hello }
spec: { action: DENY, rules: [{ to: [{ operation: { paths: [/admin] } }] }] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: lost, namespace: hello }
spec: { hosts: [lost.hello.svc.cluster.local], http: [{ route: [{ destination: { host: nowhere.hello.svc.cluster.local } }] }] }
`

/** Panels that have something to show here: the others tell of trouble that this lab does not have. */
const PANELS_WITH_DATA = [
  'Agents that answer',
  'Captured pods',
  'Joined, not captured',
  'Leading controllers',
  'First certificate ends in',
  'Requests',
  'Duration',
  'Calls by how the caller is known',
  'Denied, by policy',
  'Failures by step and reason',
  'Bytes by passage',
  'Connections opened',
  'Connections open in the proxy',
  'Not captured, by reason',
  'Certificates',
  'Lost to telemetry',
]

let lab: TestLab
let pods: readonly V1Pod[]
let prometheus: Prometheus
let job: ScrapeConfig

before(async () => {
  lab = await TestLab.make()
  const hello = await readFile(join(PROJECT, 'examples/hello/hello.yaml'), 'utf8')
  const joined = hello.replace('  name: hello\n---', '  name: hello\n  annotations: { weft.dev/mesh: enabled }\n---')
  await upWithAgents(lab, joined + MORE, [])
  const { items } = await lab.api.get<{ items: V1Pod[] }>('/api/v1/namespaces/weft-system/pods')
  pods = items
  job = (parse(await blockOf(DOCUMENT, 'scrape_configs:')) as { scrape_configs: [ScrapeConfig] }).scrape_configs[0]
  prometheus = await Prometheus.start(lab, { node: 'node-1', pods, scrapes: [job] })
  await calls()
})
after(async () => {
  await (prometheus as Prometheus | undefined)?.end()
  await lab.end()
})

/** Requests for a while, of a caller in the mesh and of one outside; some are denied, some find nobody. */
async function calls(): Promise<void> {
  const once = 'curl -s -m 2 http://hello.hello:5000/hello; curl -s -m 2 http://hello.hello:5000/admin'
  const nobody = 'curl -s -m 2 http://hello.hello:5001/'
  const script = `for i in 1 2 3 4 5 6 7 8; do ${once}; ${nobody}; sleep ${String(CALLS_FOR_MS / 8000)}; done; true`
  const ran = await Promise.all([lab.sh('hello/client', script), lab.sh('aside/stranger', script)])
  for (const { stdout, stderr } of ran) assert.match(stdout, /Hello version/, stderr)
}

test('each agent and each replica of the controller is one target, by node and job, and up', async () => {
  const targets = await eventually('all up', async () => {
    const now = await prometheus.targets()
    return now.length > 0 && now.every(({ health }) => health === 'up') && now
  })
  assert.deepEqual(
    targets
      .map(({ labels: { job: name, node, pod }, scrapeUrl, lastError }) => [name, node, pod, scrapeUrl, lastError])
      .sort(),
    [
      ['weft-agent', 'node-1', undefined, 'http://10.89.0.11:15020/metrics', ''],
      ['weft-agent', 'node-2', undefined, 'http://10.89.0.12:15020/metrics', ''],
      ['weft-controller', 'node-1', 'weft-controller-node-1', 'http://10.89.0.11:15021/metrics', ''],
    ],
  )
})

test('what is asked for as OpenMetrics is answered as the text that it is', async () => {
  const accept = 'application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5'
  const url = `${lab.url}/api/v1/nodes/node-1:15020/proxy/metrics`
  const { headers } = await fetch(url, { headers: { accept }, signal: AbortSignal.timeout(10_000) })
  assert.equal(headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
})

test('every rule loads and is evaluated without an error', async () => {
  type Told = { readonly name: string; readonly health: string; readonly lastError?: string }
  const rules = await eventually('evaluated', async () => {
    const { groups } = await prometheus.ask<{ groups: { rules: Told[] }[] }>('rules')
    const all = groups.flatMap((group) => group.rules)
    return all.every(({ health }) => health !== 'unknown') && all
  })
  assert.deepEqual(
    rules.filter(({ health, lastError = '' }) => health !== 'ok' || lastError !== ''),
    [],
  )
  assert.equal(rules.length, readRules().length)
  const recorded = await prometheus.query('destination_service:istio_requests:rate5m{destination_service_name="hello"}')
  assert.deepEqual(recorded.map(({ metric }) => metric['reporter']).sort(), ['destination', 'source'])
})

test('a healthy mesh raises no alert that says otherwise', async () => {
  const firing = await prometheus.query('ALERTS{severity="critical"}')
  assert.deepEqual(
    firing.map(({ metric }) => metric),
    [],
  )
})

test('every panel’s query is answered, the main ones with data', async () => {
  const shown = new Set<string>()
  for (const { panel, expr } of readQueries()) {
    const result = await prometheus.query(expr).catch((error: unknown) => assert.fail(`${panel}: ${String(error)}`))
    if (result.some(({ value }) => value[1] !== 'NaN')) shown.add(panel)
  }
  assert.deepEqual(
    PANELS_WITH_DATA.filter((panel) => !shown.has(panel)),
    [],
  )
})

test('callers are told apart: by mutual TLS, on one node, in plaintext', async () => {
  const result = await prometheus.query(
    'count by (connection_security_policy, source_workload) (istio_requests_total{reporter="destination",response_code="200"})',
  )
  const told = result.map(
    ({ metric }) => `${metric['source_workload'] ?? ''} ${metric['connection_security_policy'] ?? ''}`,
  )
  assert.ok(told.includes('unknown none'), told.join(', '))
  assert.ok(
    told.some((line) => line.startsWith('client ')),
    told.join(', '),
  )
})

test('a series that speaks of a pod keeps its namespace', async () => {
  const result = await prometheus.query('count by (namespace, pod) (weft_kernel_tcp_connections_opened_total)')
  assert.ok(result.some(({ metric }) => metric['namespace'] === 'hello' && metric['pod'] === 'client'))
  assert.deepEqual(await prometheus.query('{exported_namespace=~".+"}'), [])
})

test('no sample is lost, no scrape is slow, and Prometheus has nothing to warn of', async (t) => {
  const scraped = await prometheus.query('scrape_samples_scraped')
  const seconds = await prometheus.query('max_over_time(scrape_duration_seconds[1m])')
  for (const { metric, value } of scraped) {
    const took = seconds.find(({ metric: other }) => other['instance'] === metric['instance'])
    t.diagnostic(
      `${metric['job'] ?? ''} ${metric['node'] ?? ''}: ${value[1]} samples, at most ${took?.value[1] ?? '?'} s`,
    )
  }
  const { byteLength } = await (await page(lab, 'node-1', 'metrics')).arrayBuffer()
  t.diagnostic(`the page of node-1: ${String(byteLength)} bytes`)
  assert.ok(seconds.every(({ value }) => Number(value[1]) < SCRAPE_LIMIT_SECONDS))
  assert.deepEqual(await prometheus.query('scrape_samples_scraped - scrape_samples_post_metric_relabeling != 0'), [])
  assert.doesNotMatch(prometheus.words(), /level=(warn|error)/)
})

test('by the chart’s PodMonitor an agent and its successor are one target', async () => {
  await prometheus.end()
  const agent = pods.find(({ metadata }) => metadata?.name === 'weft-agent-node-1')
  assert.ok(agent)
  const successor = { ...agent, metadata: { ...agent.metadata, name: 'weft-agent-next' } }
  const scrapes = await Promise.all(
    (['weft-agent', 'weft-controller'] as const).map((name) => podMonitorJob(TEMPLATE, name)),
  )
  prometheus = await Prometheus.start(lab, { node: 'node-1', pods: [...pods, successor], scrapes })
  const targets = await eventually('all up', async () => {
    const now = await prometheus.targets()
    return now.length > 0 && now.every(({ health }) => health === 'up') && now
  })
  assert.deepEqual(
    targets.map(({ labels: { job: name, node, pod, namespace } }) => [name, node, pod, namespace]).sort(),
    [
      ['weft-agent', 'node-1', undefined, 'weft-system'],
      ['weft-agent', 'node-2', undefined, 'weft-system'],
      ['weft-controller', 'node-1', 'weft-controller-node-1', 'weft-system'],
    ],
  )
  assert.doesNotMatch(prometheus.words(), /level=(warn|error)/)
})
