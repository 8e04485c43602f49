// Series of the node itself: what is captured, what the kernel counted, which policies are not honoured. Values are read
// at scrape time, nothing is counted here.

import { Gauge, Registry } from 'prom-client'
import type { Problem } from '../model/policy.ts'

/** What the node says of itself at a scrape. */
export interface NodeFacts {
  readonly snapshotVersion: number
  readonly capturedPods: number
  /** Joined pods of this node that are not captured, by reason. */
  readonly uncaptured: ReadonlyMap<string, number>
  /** Kernel counters by name. */
  readonly kernel: Readonly<Record<string, number>>
  readonly problems: readonly Problem[]
}

/** Renders the node's series as Prometheus text. */
export async function renderNodeSeries(facts: NodeFacts): Promise<string> {
  const registry = new Registry()
  const gauge = (name: string, help: string, labelNames: string[] = []): Gauge =>
    new Gauge({ name, help, labelNames, registers: [registry] })
  gauge('weft_snapshot_version', 'Version of the snapshot in force').set(facts.snapshotVersion)
  gauge('weft_captured_pods', 'Pods of this node whose traffic is captured').set(facts.capturedPods)
  const uncaptured = gauge('weft_uncaptured_pods', 'Joined pods of this node that are not captured', ['reason'])
  for (const [reason, count] of facts.uncaptured) uncaptured.set({ reason }, count)
  const kernel = gauge('weft_kernel_events', 'What the eBPF programs of this node counted since they were loaded', [
    'event',
  ])
  for (const [event, count] of Object.entries(facts.kernel)) kernel.set({ event }, count)
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
