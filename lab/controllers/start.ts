// Root of the lab's controllers: what kube-controller-manager and kube-scheduler do in a cluster, over the store in process.
import type { Store } from '../api/store.ts'
import { startAccounts } from './cluster/accounts.ts'
import { startGarbage } from './cluster/garbage.ts'
import { startRootCa } from './cluster/root-ca.ts'
import { startNodes } from './cluster/nodes.ts'
import { startDaemonSets } from './workloads/daemonset.ts'
import { startJobs } from './workloads/job.ts'
import { startStatefulSets } from './workloads/statefulset.ts'
import { startDeployments } from './workloads/deployment.ts'
import { startEndpoints } from './endpoints/endpoints.ts'
import { systemClock, type Clock, type Log } from './world/queue.ts'
import { startReplicaSets } from './workloads/replicaset.ts'
import { startScheduler } from './cluster/scheduler.ts'
import { World } from './world/world.ts'

export interface ControllerSettings {
  readonly store: Store
  readonly log: Log
  readonly clock?: Clock
  /** What the API's certificate is believed by, in PEM, for every namespace; left out: none is told. */
  readonly rootCa?: string
}

/** Starts every controller. They stop hearing and writing at once with `stop`. */
export function startControllers({ store, log, rootCa, clock = systemClock }: ControllerSettings): {
  stop: () => void
} {
  const world = new World(store, clock, log)
  startAccounts(world)
  if (rootCa !== undefined) startRootCa(world, rootCa)
  startScheduler(world)
  startReplicaSets(world)
  startDeployments(world)
  startStatefulSets(world)
  startDaemonSets(world)
  startJobs(world)
  startEndpoints(world)
  startNodes(world)
  startGarbage(world)
  return { stop: () => world.stop() }
}
