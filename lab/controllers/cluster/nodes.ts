// Nodes that went silent are marked so, and so are their pods; pods of nodes that are gone are removed.
// Source: Kubernetes documentation "Nodes: heartbeats", "Pod Lifecycle: garbage collection".
import type { Node, Pod } from '../world/kinds.ts'
import { conditionOf, isReady, withCondition } from '../workloads/pods.ts'
import type { World } from '../world/world.ts'

/** As kube-controller-manager's --node-monitor-grace-period. */
export const SILENCE_LIMIT_MS = 40_000
/** How long pods wait for a node that does not exist (any more), as its pod garbage collector does. */
export const NODELESS_LIMIT_MS = 40_000
const LEASES = 'kube-node-lease'

export function startNodes(world: World): void {
  const queue = world.queue('node', reconcile)
  const missingSince = new Map<string, number>()

  world.nodes.onChange((now, before) => queue.add((now ?? before)!.metadata.name))
  world.leases.onChange((now) => now?.metadata.namespace === LEASES && queue.add(now.metadata.name))
  world.pods.onChange((now) => {
    const name = now?.spec.nodeName
    if (name && !world.nodes.get('', name)) queue.add(name)
  })

  function reconcile(name: string): number | undefined {
    const node = world.nodes.get('', name)
    if (!node) return removeNodeless(name)
    missingSince.delete(name)
    const leftMs = silenceLeftMs(world.leases.get(LEASES, name)?.spec?.renewTime, world.clock.now())
    if (leftMs === undefined || leftMs > 0) return leftMs
    if (conditionOf(node, 'Ready')?.status !== 'Unknown') markSilent(node)
    for (const pod of world.podsOnNode.get(name)) if (isReady(pod)) markUnready(pod)
    return undefined
  }

  function removeNodeless(name: string): number | undefined {
    const pods = world.podsOnNode.get(name)
    if (pods.length === 0) return void missingSince.delete(name)
    const since = missingSince.get(name) ?? world.clock.now()
    missingSince.set(name, since)
    const leftMs = since + NODELESS_LIMIT_MS - world.clock.now()
    if (leftMs > 0) return leftMs
    for (const { metadata } of pods) {
      world.store.delete('pods', metadata.namespace ?? '', metadata.name, { gracePeriodSeconds: 0 })
    }
    missingSince.delete(name)
    return undefined
  }

  function markSilent(node: Node): void {
    const conditions = withCondition(
      node.status?.conditions,
      {
        type: 'Ready',
        status: 'Unknown',
        reason: 'NodeStatusUnknown',
        message: 'Kubelet stopped posting node status.',
      },
      world.time(),
    )
    world.writeStatus('nodes', node, { ...node.status, conditions })
    world.events.record(node, {
      type: 'Normal',
      reason: 'NodeNotReady',
      message: `Node ${node.metadata.name} status is now: NodeNotReady`,
      component: 'node-controller',
    })
  }

  function markUnready(pod: Pod): void {
    const conditions = withCondition(pod.status?.conditions, { type: 'Ready', status: 'False' }, world.time())
    world.writeStatus('pods', pod, { ...pod.status, conditions })
  }
}

/** Milliseconds until a node counts as silent; undefined for one that never renewed a Lease: it is taken at its word. */
export function silenceLeftMs(renewTime: string | undefined, now: number): number | undefined {
  const renewed = Date.parse(renewTime ?? '')
  return Number.isNaN(renewed) ? undefined : renewed + SILENCE_LIMIT_MS - now
}
