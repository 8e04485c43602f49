// Series of the node itself: what is captured, what the kernel counted, which policies are not honoured. Values are read
// at scrape time, nothing is counted here.

import { Counter, Gauge, Registry } from 'prom-client'
import type { Problem } from '../model/policy.ts'

/** What a pod's TCP connections carried, as the kernel counted it and its applications see it. */
export interface PodTraffic {
  readonly namespace: string
  readonly pod: string
  readonly direction: string
  /** `proxy`, `direct` (past it) or `probe`. */
  readonly passage: string
  readonly opened: number
  readonly closed: number
  readonly sentBytes: number
  readonly receivedBytes: number
  /** Segments sent again, of closed connections. */
  readonly retransmits: number
  /** Sum of the last smoothed round-trip times of closed connections, in microseconds. */
  readonly srttUs: number
}

/** What the node says of itself at a scrape. */
export interface NodeFacts {
  readonly snapshotVersion: number
  readonly capturedPods: number
  /** Joined pods of this node that are not captured, by reason. */
  readonly uncaptured: ReadonlyMap<string, number>
  /** Kernel counters by name. */
  readonly kernel: Readonly<Record<string, number>>
  readonly problems: readonly Problem[]
  readonly traffic: readonly PodTraffic[]
  /** Open connections older than the capture of their pod. */
  readonly older: readonly { readonly namespace: string; readonly pod: string; readonly count: number }[]
  /** What keeps the node from capturing as it should. */
  readonly lacks: readonly string[]
}

const TRAFFIC_LABELS = ['namespace', 'pod', 'direction', 'passage']

/** Series of PodTraffic: name, help, value. */
const TRAFFIC: readonly (readonly [string, string, (traffic: PodTraffic) => number])[] = [
  ['connections_opened_total', 'TCP connections of a captured pod’s applications', ({ opened }) => opened],
  ['connections_closed_total', 'Those of them that have ended', ({ closed }) => closed],
  ['sent_bytes_total', 'Bytes that the applications sent, each once', ({ sentBytes }) => sentBytes],
  ['received_bytes_total', 'Bytes that they received', ({ receivedBytes }) => receivedBytes],
  ['retransmitted_segments_total', 'Segments sent again, of connections that ended', ({ retransmits }) => retransmits],
  [
    'closed_srtt_seconds_total',
    'Sum of the last smoothed round-trip times of connections that ended',
    ({ srttUs }) => srttUs / 1e6,
  ],
]

/** Renders the node's series as Prometheus text. */
export async function renderNodeSeries(facts: NodeFacts): Promise<string> {
  const registry = new Registry()
  const gauge = (name: string, help: string, labelNames: string[] = []): Gauge =>
    new Gauge({ name, help, labelNames, registers: [registry] })
  gauge('weft_snapshot_version', 'Version of the snapshot in force').set(facts.snapshotVersion)
  gauge('weft_captured_pods', 'Pods of this node whose traffic is captured').set(facts.capturedPods)
  const uncaptured = gauge('weft_uncaptured_pods', 'Joined pods of this node that are not captured', ['reason'])
  for (const [reason, count] of facts.uncaptured) uncaptured.set({ reason }, count)
  const kernel = gauge('weft_kernel_events', 'What the eBPF programs of this node counted since their maps were made', [
    'event',
  ])
  for (const [event, count] of Object.entries(facts.kernel)) kernel.set({ event }, count)
  for (const [name, help, valueOf] of TRAFFIC) {
    const options = { name: `weft_kernel_tcp_${name}`, help, labelNames: TRAFFIC_LABELS, registers: [registry] }
    const series = new Counter(options)
    for (const traffic of facts.traffic) {
      const { namespace, pod, direction, passage } = traffic
      series.inc({ namespace, pod, direction, passage }, valueOf(traffic))
    }
  }
  const older = gauge(
    'weft_older_connections',
    'Open TCP connections that are older than the capture of their pod: they pass the proxy by',
    ['namespace', 'pod'],
  )
  for (const { namespace, pod, count } of facts.older) older.set({ namespace, pod }, count)
  gauge('weft_degraded', 'Reasons that keep the node from capturing as it should').set(facts.lacks.length)
  const problem = gauge('weft_config_problem', 'Fields of an object that are not honoured, or an object not in force', [
    'kind',
    'namespace',
    'name',
  ])
  for (const { object } of facts.problems) {
    problem.inc({ kind: object.kind, namespace: object.namespace, name: object.name })
  }
  return registry.metrics()
}
