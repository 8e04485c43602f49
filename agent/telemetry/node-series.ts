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

/** An identity of pods of this node. */
export interface CertificateFacts {
  readonly uri: string
  /** When what is held ends, in milliseconds since 1970; null: nothing is. */
  readonly notAfterMs: number | null
  /** Why the last request failed, or null. */
  readonly failure: string | null
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
  /** How many connections past the proxy were closed at ports that take no plaintext. */
  readonly olderClosed: number
  /** How it stands with each identity of this node's pods. */
  readonly certificates: readonly CertificateFacts[]
  /** What keeps the node from capturing as it should. */
  readonly lacks: readonly string[]
  /** What the CNI plug-in has asked; absent where CNI is off. */
  readonly cni?: readonly CniFacts[]
}

/** Requests of the CNI plug-in that were answered. */
export interface CniFacts {
  readonly command: string
  readonly outcome: string
  readonly count: number
  /** How long all of them took together. */
  readonly seconds: number
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
  new Counter({
    name: 'weft_older_connections_closed_total',
    help: 'Connections past the proxy that were closed at a STRICT port, their grace over',
    registers: [registry],
  }).inc(facts.olderClosed)
  const notAfter = gauge(
    'weft_certificate_not_after_seconds',
    'When the certificate of an identity of this node’s pods ends, in seconds since 1970; 0: there is none',
    ['identity'],
  )
  const failing = gauge('weft_certificate_failing', 'Identities whose last request for a certificate failed')
  for (const { uri, notAfterMs, failure } of facts.certificates) {
    notAfter.set({ identity: uri }, (notAfterMs ?? 0) / 1000)
    if (failure !== null) failing.inc()
  }
  renderCni(facts.cni ?? [], registry)
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

function renderCni(facts: readonly CniFacts[], registry: Registry): void {
  const labelNames = ['command', 'outcome']
  const registers = [registry]
  const help = 'Requests of the CNI plug-in that were answered'
  const requests = new Counter({ name: 'weft_cni_requests_total', help, labelNames, registers })
  const seconds = new Counter({
    name: 'weft_cni_request_seconds_total',
    help: 'How long they took together',
    labelNames,
    registers,
  })
  for (const { command, outcome, ...sums } of facts) {
    requests.inc({ command, outcome }, sums.count)
    seconds.inc({ command, outcome }, sums.seconds)
  }
}
