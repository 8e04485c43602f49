// Root of the lab's controllers: what kube-controller-manager and kube-scheduler do in a cluster, over the store in process.
import type { Store } from '../api/store.ts'
import { startAccounts } from './accounts.ts'
import { startDeployments } from './deployment.ts'
import { startEndpoints } from './endpoints.ts'
import { systemClock, type Clock, type Log } from './queue.ts'
import { startReplicaSets } from './replicaset.ts'
import { startScheduler } from './scheduler.ts'
import { World } from './world.ts'

export interface ControllerSettings {
  readonly store: Store
  readonly log: Log
  readonly clock?: Clock
}

/** Starts every controller. They stop hearing and writing at once with `stop`. */
export function startControllers({ store, log, clock = systemClock }: ControllerSettings): { stop: () => void } {
  const world = new World(store, clock, log)
  startAccounts(world)
  startScheduler(world)
  startReplicaSets(world)
  startDeployments(world)
  startEndpoints(world)
  return { stop: () => world.stop() }
}
