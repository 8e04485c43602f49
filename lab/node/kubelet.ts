// The kubelet stand-in of one node: registers the Node, gives each pod that is bound to it a life, and ends it on deletion.
import { readFileSync } from 'node:fs'
import { availableParallelism, release, totalmem } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { V1Node, V1Pod } from '@kubernetes/client-node'
import { isMirror } from '../mesh/mirror-pod.ts'
import { ApiError, keepWatching } from './api.ts'
import { podCidr } from './network.ts'
import { PodLife } from './pod/life.ts'
import type { NodeParts } from './pod/parts.ts'
import { rfcSeconds } from './pod/container.ts'

/** Pods that a node says it takes, as a kubelet does unless told otherwise. The scheduler does not count them. */
export const MAX_PODS = 110

/** Creates the Node object, or renews its status where it is there already. `index` is the node's number (1..10). */
export async function registerNode(node: NodeParts, index: number): Promise<void> {
  const labels = {
    'kubernetes.io/hostname': node.name,
    'kubernetes.io/os': 'linux',
    'kubernetes.io/arch': process.arch === 'x64' ? 'amd64' : process.arch,
  }
  const cidr = podCidr(index)
  const object = {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: node.name, labels },
    spec: { podCIDR: cidr, podCIDRs: [cidr] },
  }
  await node.api.create('/api/v1/nodes', object).catch((error: unknown) => {
    if (!(error instanceof ApiError && error.code === 409)) throw error
  })
  await node.api.patch(`/api/v1/nodes/${node.name}/status`, { status: nodeStatus(node) })
}

function nodeStatus(node: NodeParts): object {
  const now = rfcSeconds()
  const condition = (type: string, status: string, reason: string, message: string): object => ({
    ...{ type, status, reason, message },
    ...{ lastHeartbeatTime: now, lastTransitionTime: now },
  })
  const room = {
    cpu: String(availableParallelism()),
    memory: `${String(Math.floor(totalmem() / 1024))}Ki`,
    pods: String(MAX_PODS),
  }
  return {
    capacity: room,
    allocatable: room,
    addresses: [
      { type: 'InternalIP', address: node.address },
      { type: 'Hostname', address: node.name },
    ],
    conditions: [
      condition('MemoryPressure', 'False', 'KubeletHasSufficientMemory', 'kubelet has sufficient memory available'),
      condition('DiskPressure', 'False', 'KubeletHasNoDiskPressure', 'kubelet has no disk pressure'),
      condition('PIDPressure', 'False', 'KubeletHasSufficientPID', 'kubelet has sufficient PID available'),
      condition('Ready', 'True', 'KubeletReady', 'kubelet is posting ready status'),
    ],
    nodeInfo: {
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      operatingSystem: 'linux',
      kernelVersion: release(),
      osImage: osName(),
      containerRuntimeVersion: 'weft-lab://1',
      kubeletVersion: 'v1.32.0',
      kubeProxyVersion: '',
      machineID: node.labId,
      systemUUID: `${node.labId}-${node.name}`,
      bootID: node.labId,
    },
  }
}

function osName(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'Linux'
  } catch {
    return 'Linux'
  }
}

/** Heartbeats, as often as a kubelet's. */
export const LEASE_RENEW_MS = 10_000
const LEASE_SECONDS = 40

/**
 * Renews the node's Lease until the signal is aborted. A machine that slept is taken for silent; `restored` is called when
 * its Node was made ready again.
 */
export async function keepLease(node: NodeParts, restored: () => void, signal: AbortSignal): Promise<void> {
  const leases = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases'
  while (!signal.aborted) {
    const renewTime = new Date().toISOString().replace('Z', '000Z')
    const spec = { holderIdentity: node.name, leaseDurationSeconds: LEASE_SECONDS, renewTime }
    try {
      const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: node.name }, spec }
      await node.api.patch(`${leases}/${node.name}`, { spec }).catch((error: unknown) => {
        if (error instanceof ApiError && error.code === 404) return node.api.create(leases, lease)
        throw error
      })
      const { status } = await node.api.get<V1Node>(`/api/v1/nodes/${node.name}`)
      if (!status?.conditions?.some((each) => each.type === 'Ready' && each.status === 'True')) {
        await node.api.patch(`/api/v1/nodes/${node.name}/status`, { status: nodeStatus(node) })
        restored()
      }
    } catch (error) {
      node.log(`heartbeat: ${(error as Error).message}`)
    }
    await sleep(LEASE_RENEW_MS, undefined, { signal }).catch(() => undefined)
  }
}

/** Follows the pods bound to this node until the signal is aborted. */
export async function keepPods(node: NodeParts, signal: AbortSignal): Promise<void> {
  const lives = new Map<string, PodLife>()
  const restored = (): void => {
    for (const life of lives.values()) life.report()
  }
  void keepLease(node, restored, signal)
  const end = (life: PodLife, graceMs: number, byApi: boolean): void => {
    life
      .terminate(graceMs, byApi)
      .catch((error: unknown) => {
        node.log(`pod ${life.uid}: cannot end: ${(error as Error).message}`)
      })
      .finally(() => lives.delete(life.uid))
  }
  const put = (pod: V1Pod): void => {
    if (isMirror(pod)) return // it runs already: whoever runs it says how it is
    const uid = pod.metadata?.uid ?? ''
    let life = lives.get(uid)
    if (!life) {
      if (!pod.metadata?.deletionTimestamp && isOver(pod)) return
      life = new PodLife(pod, node)
      lives.set(uid, life)
    }
    life.update(pod)
    if (pod.metadata?.deletionTimestamp) end(life, graceMsOf(pod), true)
  }
  const gone = (pod: V1Pod): void => {
    const life = lives.get(pod.metadata?.uid ?? '')
    if (life) end(life, 0, false)
  }
  const failed = (error: Error): void => {
    node.log(`watching pods: ${error.message}`)
  }
  const path = `/api/v1/pods?fieldSelector=${encodeURIComponent(`spec.nodeName=${node.name}`)}`
  await keepWatching<V1Pod>(node.api, { path, put, gone, failed }, signal)
}

const isOver = (pod: V1Pod): boolean => pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed'
const graceMsOf = (pod: V1Pod): number =>
  (pod.metadata?.deletionGracePeriodSeconds ?? pod.spec?.terminationGracePeriodSeconds ?? 30) * 1000
