// The scheduler: each pending pod to a node that suits it, spreading an owner's pods and the load.
// Source: Kubernetes documentation "Assigning Pods to Nodes". Taints, resources and pod affinity are not looked at.
import {
  controllerOf,
  isDeleting,
  keyOf,
  splitKey,
  type Condition,
  type Node,
  type NodeRequirement,
  type NodeSelectorTerm,
  type Pod,
} from '../world/kinds.ts'
import { conditionOf, isFinished, withCondition } from '../workloads/pods.ts'
import { Index } from '../world/view.ts'
import type { World } from '../world/world.ts'

const COMPONENT = 'default-scheduler'

export interface Load {
  /** Pods on the node that have not ended. */
  readonly pods: (node: string) => number
  /** Those among them of the pod's own controller. */
  readonly siblings: (node: string) => number
}

export type Choice = { readonly node: string } | { readonly node: null; readonly why: string }

/** The node for a pod: of those that suit it, the one with the fewest siblings, then the fewest pods. Pure. */
export function chooseNode(pod: Pod, nodes: readonly Node[], load: Load): Choice {
  const unready = nodes.filter((node) => conditionOf(node, 'Ready')?.status !== 'True')
  const cordoned = nodes.filter((node) => node.spec?.unschedulable)
  const unsuited = nodes.filter((node) => !suits(pod, node))
  const fit = nodes.filter((node) => ![unready, cordoned, unsuited].some((refused) => refused.includes(node)))
  const ranked = fit.map(({ metadata: { name } }) => ({ name, siblings: load.siblings(name), pods: load.pods(name) }))
  ranked.sort((a, b) => a.siblings - b.siblings || a.pods - b.pods || (a.name < b.name ? -1 : 1))
  if (ranked[0]) return { node: ranked[0].name }
  const reasons = [
    [unready, 'were not ready'],
    [cordoned, 'were unschedulable'],
    [unsuited, "didn't match Pod's node affinity/selector"],
  ] as const
  const counts = reasons.filter(([refused]) => refused.length > 0).map(([refused, text]) => `${refused.length} ${text}`)
  const why = [`0/${nodes.length} nodes are available`, counts.join(', ')].filter(Boolean).join(': ')
  return { node: null, why: `${why}.` }
}

/** Whether the node has the labels that the pod's nodeSelector and required node affinity ask for. Pure. */
export function suits({ spec }: { spec: Pick<Pod['spec'], 'nodeSelector' | 'affinity'> }, node: Node): boolean {
  const labels = node.metadata.labels ?? {}
  const wanted = Object.entries(spec.nodeSelector ?? {})
  if (wanted.some(([name, value]) => labels[name] !== value)) return false
  const terms = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms
  return terms === undefined || terms.some((term) => meetsTerm(term, node))
}

function meetsTerm({ matchExpressions = [], matchFields = [] }: NodeSelectorTerm, { metadata }: Node): boolean {
  // An empty term takes no node.
  if (matchExpressions.length + matchFields.length === 0) return false
  return (
    matchExpressions.every((requirement) => meets(requirement, metadata.labels ?? {})) &&
    matchFields.every((requirement) => meets(requirement, { 'metadata.name': metadata.name }))
  )
}

function meets({ key, operator, values = [] }: NodeRequirement, labels: Readonly<Record<string, string>>): boolean {
  const value = labels[key]
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value)
    case 'NotIn':
      return value === undefined || !values.includes(value)
    case 'Exists':
      return value !== undefined
    case 'DoesNotExist':
      return value === undefined
    case 'Gt':
      return Number(value) > Number(values[0])
    case 'Lt':
      return Number(value) < Number(values[0])
    default:
      return false
  }
}

export function startScheduler(world: World): void {
  const queue = world.queue('scheduler', reconcile)
  const waiting = new Set<string>()
  const onNode = new Index<Pod>(({ spec }) => (spec.nodeName ? [spec.nodeName] : []))
  const ofOwner = new Index<Pod>((pod) => {
    const owner = controllerOf(pod)
    return pod.spec.nodeName && owner ? [`${owner.uid}@${pod.spec.nodeName}`] : []
  })

  world.pods.onChange((now, before) => {
    for (const index of [onNode, ofOwner]) index.change(live(now), live(before))
    const key = keyOf((now ?? before)!)
    if (now && isPending(now)) waiting.add(key)
    else waiting.delete(key)
    // Its own failed attempt writes a condition: only a new pod is tried at once, others when a node changes.
    if (now && isPending(now) && !conditionOf(now, 'PodScheduled')) queue.add(key)
  })
  world.nodes.onChange((now, before) => {
    if (now && before && placement(now) === placement(before)) return
    for (const key of waiting) queue.add(key)
  })

  function reconcile(key: string): undefined {
    const [namespace, name] = splitKey(key)
    const pod = world.pods.get(namespace, name)
    if (!pod || !isPending(pod)) return
    const owner = controllerOf(pod)
    const choice = chooseNode(pod, world.nodes.all(), {
      pods: (node) => onNode.size(node),
      siblings: (node) => (owner ? ofOwner.size(`${owner.uid}@${node}`) : 0),
    })
    if (choice.node === null) {
      report(pod, { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: choice.why })
      world.events.record(pod, {
        type: 'Warning',
        reason: 'FailedScheduling',
        message: choice.why,
        component: COMPONENT,
      })
      return
    }
    world.store.modify('pods', namespace, name, (object) => {
      object.spec = { ...(object.spec as object), nodeName: choice.node }
    })
    report(pod, { type: 'PodScheduled', status: 'True' })
    world.events.record(pod, {
      type: 'Normal',
      reason: 'Scheduled',
      message: `Successfully assigned ${namespace}/${name} to ${choice.node}`,
      component: COMPONENT,
    })
  }

  function report({ metadata }: Pod, condition: Condition): void {
    const now = world.pods.get(metadata.namespace ?? '', metadata.name)
    if (!now) return
    const conditions = withCondition(now.status?.conditions, condition, world.time())
    world.writeStatus('pods', now, { ...now.status, conditions })
  }
}

function isPending(pod: Pod): boolean {
  const { nodeName, schedulerName = COMPONENT } = pod.spec
  return !nodeName && schedulerName === COMPONENT && !isDeleting(pod) && !isFinished(pod)
}

function live(pod: Pod | null): Pod | null {
  return pod && !isFinished(pod) ? pod : null
}

/** What of a node matters for scheduling. */
function placement(node: Node): string {
  const { labels = {} } = node.metadata
  return JSON.stringify([conditionOf(node, 'Ready')?.status, node.spec?.unschedulable ?? false, labels])
}
