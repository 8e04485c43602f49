// What pods' connections carried past the proxy, as the kernel counted it, for the series of their two ends: a hop that
// was not relayed is an edge of the mesh all the same.

import type { Flow } from '../../kernel/accounts.ts'
import type { Endpoint } from '../../model/service.ts'
import { resolve, type Snapshot } from '../../model/snapshot.ts'
import type { Edges, Pair } from '../../telemetry/edges.ts'

/** Adds flows to the series. Those of pods that the snapshot does not know are told of an unknown one. */
export function accountFlows(flows: readonly Flow[], snapshot: Snapshot, edges: Edges): void {
  for (const flow of flows) {
    const isOutbound = flow.direction === 'outbound'
    for (const { flows: cells } of edges.of(pairOf(flow, snapshot))) {
      cells.opened += flow.opened
      // sent is from callee to caller, and the pod is one or the other
      cells.sentBytes += isOutbound ? flow.receivedBytes : flow.sentBytes
      cells.receivedBytes += isOutbound ? flow.sentBytes : flow.receivedBytes
      cells.close('-', flow.closed)
    }
  }
}

function pairOf({ uid, direction, remote }: Flow, snapshot: Snapshot): Pair {
  const pod = snapshot.workloadByUid.get(uid) ?? null
  const unproved = { principals: { caller: null, callee: null }, isSecured: false }
  const none = {
    caller: null,
    callee: null,
    ...unproved,
    endpoint: null,
    service: null,
    isKept: false,
    protocol: 'tcp',
  } as const
  // who dialled is not known by an address
  if (direction === 'inbound') return { ...none, callee: pod, reporters: 'destination' }
  const outbound = { ...none, caller: pod, reporters: 'source' } as const
  if (remote === null) return outbound
  const target = resolve(snapshot, remote)
  if (target.kind === 'service') return { ...outbound, service: target.service }
  const workload = target.kind === 'workload' ? target.workload : null
  const state = { ready: true, serving: true, terminating: false, locality: null, readySinceMs: null }
  const { uid: of = null, node = null } = workload ?? {}
  const endpoint: Endpoint = { address: remote, workload: of, node, ...state }
  return { ...outbound, callee: workload, endpoint, service: behind(target) }
}

const behind = (target: ReturnType<typeof resolve>): Pair['service'] =>
  target.kind === 'workload' ? (target.behind?.service ?? null) : null
